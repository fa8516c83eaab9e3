import Domain
import Foundation
import Logging
import Models
import Queue

/// One worker's turn at a run: model, tools, model, … until the run ends or waits for a person.
struct RunLoop {
    let executor: RunExecutor
    let context: JobContext
    let run: Run
    let history: [SessionMessage]
    let recorder: RunRecorder
    let logger: Logger
    var plan: RunPlan
    /// The run is marked as running by the first commit of this turn.
    private var beginning: [RunEffect]
    private let wasCancelled: Bool

    init(executor: RunExecutor, context: JobContext, snapshot: RunSnapshot, recorder: RunRecorder, logger: Logger) {
        self.executor = executor
        self.context = context
        run = snapshot.run
        history = snapshot.history
        self.recorder = recorder
        self.logger = logger
        plan = RunPlan(
            steps: snapshot.steps, toolCalls: snapshot.toolCalls, stepLimit: snapshot.run.options.stepLimit)
        beginning = [.status(.running)]
        wasCancelled = snapshot.isCancelRequested
    }

    /// Works until the run leaves this worker; answers its status then.
    ///
    /// - Throws: `FenceLost`, `CancellationError`, or trouble with the store: the job goes to another worker.
    mutating func run() async throws -> RunStatus {
        do {
            if wasCancelled { throw RunInterruption.cancelled }
            while true {
                try await recorder.checkDeadline()
                switch plan.next {
                case .callModel(let index):
                    if let status = try await callModel(index: index) { return status }
                case .callTool(let call):
                    if let status = try await callTool(call) { return status }
                case .recordResult(let call): try await recordResult(call)
                case .finish(let text): return try await finish([], [], text: text)
                case .wait(let call): return try await wait(for: call)
                case .stop:
                    return try await fail(
                        .stepLimit,
                        "The run used all its \(plan.stepLimit) steps without an answer. Raise options.stepLimit.")
                }
            }
        } catch RunInterruption.cancelled {
            return try await end(.cancelled, [.runFinished(outcome: .cancelled)])
        } catch RunInterruption.expired {
            let message = "The run took longer than its \(run.options.timeout.components.seconds) seconds."
            return try await end(.expired, [.runError(code: .runExpired, message: message)], .runExpired, message)
        } catch let error as Problem {
            return try await fail(error.code, error.detail)
        }
    }

    /// Takes the effects that mark the run as begun, once.
    private mutating func takeBeginning() -> [RunEffect] {
        defer { beginning = [] }
        return beginning
    }

    /// Makes the ids of messages and tool calls.
    var newID: @Sendable () -> String {
        { [ambient = executor.ambient] in "\(Identifier<Void>(ambient.makeID()))" }
    }

    // MARK: Model

    /// Calls the model; answers a status when that ended the run.
    private mutating func callModel(index: Int) async throws -> RunStatus? {
        let resolved = try executor.models.resolve(run.options.model)
        let tools = run.options.tools.compactMap { executor.tools[$0]?.definition }
        let request = ChatRequest(
            model: resolved.name,
            messages: plan.messages(instructions: run.options.instructions, history: history, prompt: run.prompt),
            tools: tools.map {
                ToolDeclaration(name: $0.name, description: $0.description, parameters: $0.parameters.json)
            },
            maximumTokens: executor.configuration.maximumTokens, trace: run.trace)
        let step = try await beginStep(toolCall: nil)
        guard step.attempt <= executor.configuration.maximumStepAttempts else {
            return try await fail(.internalError, "Step \(step.name) was begun \(step.attempt - 1) times and never ended.")
        }
        var streamAttempt = 1
        while true {
            let answer = AnswerStreamBox(AnswerStream(makeID: newID))
            do {
                let completion = try await ask(resolved.model, request, answer)
                return try await finishModelStep(completion, answer.value)
            } catch let error as ModelError {
                await recorder.dropPending()
                // A model that never began to answer was asked again by its provider's own retries.
                let isLast = streamAttempt >= executor.configuration.maximumStreamAttempts
                guard error.isRetryable, answer.hasBegun, !isLast else {
                    return try await fail(error.code, error.message)
                }
                logger.warning("The model's answer broke off; asking again.", metadata: ["error": "\(error.message)"])
                streamAttempt += 1
                try await restartStep()
            }
        }
    }

    /// Streams one answer into the log.
    private func ask(
        _ model: any ChatModel, _ request: ChatRequest, _ answer: AnswerStreamBox
    ) async throws -> ChatCompletion {
        try await recorder.attending { [recorder] in
            try await model.complete(request) { delta in
                let events = answer.take(delta)
                if !events.isEmpty { try await recorder.stream(events) }
            }
        }
    }

    /// Stores what the model said; answers a status when it said its last.
    private mutating func finishModelStep(_ completion: ChatCompletion, _ answer: AnswerStream) async throws -> RunStatus? {
        var answer = answer
        guard let index = plan.steps.lastIndex(where: { $0.status == .started }) else { return nil }
        let now = executor.ambient.now()
        let closing = answer.finish()
        let turn = ModelTurn(text: completion.text, toolCalls: answer.toolCalls.map(\.id))
        let calls = answer.toolCalls.enumerated().map { ordinal, call in
            ToolCallRecord(
                id: call.id, step: plan.steps[index].id, ordinal: ordinal, name: call.name, arguments: call.arguments,
                createdAt: now)
        }
        plan.steps[index].status = .finished
        plan.steps[index].output = turn
        plan.toolCalls += calls
        let events = closing + [.stepFinished(name: plan.steps[index].name)]
        let effects: [RunEffect] =
            [
                .stepFinished(
                    plan.steps[index].id, output: turn,
                    StepUse(
                        name: run.options.model, inputTokens: completion.usage?.input ?? 0,
                        outputTokens: completion.usage?.output ?? 0))
            ] + calls.map { .toolCallRequested($0) }
        guard !calls.isEmpty else { return try await finish(events, effects, text: completion.text) }
        try await recorder.commit(events, effects)
        return nil
    }

    // MARK: Steps

    /// Opens a step, or goes on with the one that an earlier worker left open: the log names a step once.
    mutating func beginStep(toolCall: String?, _ more: [RunEffect] = []) async throws -> RunStep {
        if let open = plan.openStep {
            if beginning.isEmpty {
                try await recorder.commit([], more)
            } else {
                try await restartStep(more)
            }
            return plan.openStep ?? open
        }
        let id = StepID(executor.ambient.makeID())
        let step = plan.newStep(toolCall: toolCall, id: id, at: executor.ambient.now())
        plan.steps.append(step)
        try await recorder.commit(
            [.stepStarted(name: step.name)], takeBeginning() + [.stepStarted(step)] + more)
        return step
    }

    /// Begins another attempt of the open step; what the last one streamed is marked as not counting.
    private mutating func restartStep(_ more: [RunEffect] = []) async throws {
        guard let index = plan.steps.lastIndex(where: { $0.status == .started }) else { return }
        plan.steps[index].attempt += 1
        let step = plan.steps[index]
        try await recorder.commit(
            await recorder.open.discarding,
            takeBeginning() + [.stepRestarted(step.id, attempt: step.attempt)] + more)
    }

    // MARK: Ends

    private mutating func finish(_ events: [RunEvent], _ effects: [RunEffect], text: String) async throws -> RunStatus {
        let answered = RunEffect.answered(messageID: executor.ambient.makeID(), text: text)
        try await recorder.commitLast(
            events + [.runFinished(outcome: .success)],
            takeBeginning() + effects + [answered, .status(.succeeded, output: text)])
        return .succeeded
    }

    mutating func fail(_ code: ErrorCode, _ message: String) async throws -> RunStatus {
        try await end(.failed, [.runError(code: code, message: message)], code, message)
    }

    private mutating func end(
        _ status: RunStatus, _ events: [RunEvent], _ code: ErrorCode? = nil, _ message: String = ""
    ) async throws -> RunStatus {
        await recorder.dropPending()
        let open = await recorder.open
        let failure = code.map { Run.Failure(code: $0.rawValue, message: message) }
        try await recorder.commitLast(
            open.closing + events,
            takeBeginning() + [.unfinishedAbandoned, .status(status, failure: failure)])
        return status
    }

    /// Gives the run to a person: nobody knows whether the call happened.
    mutating func wait(for call: ToolCallRecord) async throws -> RunStatus {
        let value: JSONValue = [
            "reason": "tool_outcome_unknown", "toolCallId": .string(call.id), "toolCallName": .string(call.name),
            "attempt": .int(Int64(call.attempt)),
        ]
        let moved: [RunEffect] =
            call.state == .unknown
            ? []
            : [.toolCallMoved(id: call.id, from: call.state, to: .unknown, attempt: call.attempt, result: nil)]
        let isCancelled = try await recorder.commitLast(
            [.custom(name: .waiting, value: value)], takeBeginning() + moved + [.status(.waiting)])
        guard isCancelled else { return .waiting }
        try await recorder.cancelWaiting()
        return .cancelled
    }
}
