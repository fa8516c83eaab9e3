import Domain
import Logging
import Metrics
import Models
import Queue

/// How a tool call came out.
private struct ToolOutcome: Sendable {
    let state: ToolCallState
    let content: String
    var citations: JSONValue?

    static func failed(_ message: String) -> ToolOutcome {
        ToolOutcome(state: .failed, content: JSONValue.object(["error": .string(message)]).text)
    }
}

extension RunLoop {
    /// Makes one tool call; answers a status when the run now waits for a person.
    mutating func callTool(_ call: ToolCallRecord) async throws -> RunStatus? {
        let isIdempotent = executor.tools[call.name]?.definition.isIdempotent ?? false
        guard ToolCallStateMachine.recovery(of: call.state, isIdempotent: isIdempotent) == .dispatch else {
            return try await wait(for: call)
        }
        guard let tool = executor.tools[call.name], run.options.tools.contains(call.name) else {
            let known = run.options.tools.joined(separator: ", ")
            return try await refuse(call, "There is no tool named '\(call.name)'. Tools: \(known).")
        }
        let definition = tool.definition
        guard let arguments = try? JSONValue(parsing: call.arguments.isEmpty ? "{}" : call.arguments) else {
            return try await refuse(call, "The arguments are not valid JSON.")
        }
        let violations = definition.parameters.violations(of: arguments)
        guard violations.isEmpty else {
            return try await refuse(call, "The arguments do not fit: \(violations.map(\.description).joined(separator: "; ")).")
        }
        guard try await executor.authorizer.isAllowed(run.principal, scope: definition.scope) else {
            return try await refuse(call, "Whoever started this run is not allowed to use '\(call.name)' (any more).")
        }
        let attempt = call.attempt + 1
        guard attempt <= executor.configuration.maximumStepAttempts else {
            return try await fail(.internalError, "The tool '\(call.name)' was called \(call.attempt) times and never ended.")
        }
        guard context.remainingLease() > executor.configuration.minimumLease else { throw CancellationError() }
        let step = try await beginStep(
            toolCall: call.id,
            [.toolCallMoved(id: call.id, from: call.state, to: .dispatching, attempt: attempt, result: nil)])
        move(call.id, to: .dispatching, attempt: attempt)
        guard context.remainingLease() > .zero else {
            try await withdraw(call, attempt: attempt)
            throw CancellationError()
        }
        let outcome = try await dispatch(tool, arguments, call, step: step)
        try await settle(call.id, attempt: attempt, from: .dispatching, outcome)
        return nil
    }

    /// Nothing was sent: the intent is taken back, so that the next worker may send it.
    private func withdraw(_ call: ToolCallRecord, attempt: Int) async throws {
        try await recorder.commit(
            [],
            [.toolCallMoved(id: call.id, from: .dispatching, to: .requested, attempt: attempt - 1, result: nil)])
    }

    /// Calls the tool's code within its bounds. What goes wrong becomes a result that the model can read.
    private func dispatch(
        _ tool: any Tool, _ arguments: JSONValue, _ call: ToolCallRecord, step: RunStep
    ) async throws -> ToolOutcome {
        let definition = tool.definition
        let context = ToolContext(
            run: run.id, principal: run.principal, trace: run.trace, toolCallID: call.id,
            idempotencyKey: "\(run.id)/\(step.id)/\(call.id)", collection: run.options.collection)
        let started = ContinuousClock.now
        // Only the tool's own errors become a result; a lost fence, a cancellation or trouble with the store do not.
        let result: Result<ToolOutput, any Error> = try await recorder.attending {
            do {
                return .success(try await Self.within(definition.timeout) { try await tool.call(arguments, context: context) })
            } catch is CancellationError where Task.isCancelled {
                throw CancellationError()
            } catch {
                return .failure(error)
            }
        }
        let outcome: ToolOutcome
        switch result {
        case .success(let output):
            let content = Self.bounded(output.content, bytes: definition.maximumOutputBytes)
            outcome = ToolOutcome(state: .succeeded, content: content, citations: output.citations)
        case .failure(let failure as ToolFailure):
            outcome = .failed(failure.message)
        case .failure(let error):
            logger.error("A tool broke.", metadata: ["tool": "\(call.name)", "error": "\(error)"])
            outcome = .failed("The tool failed unexpectedly.")
        }
        let dimensions = [("tool", call.name), ("outcome", outcome.state.rawValue)]
        Counter(label: "sba_tool_calls_total", dimensions: dimensions).increment()
        Recorder(label: "sba_tool_call_duration_ms", dimensions: [("tool", call.name)])
            .record((ContinuousClock.now - started).milliseconds)
        return outcome
    }

    /// Runs `call` for at most `timeout`.
    private static func within(
        _ timeout: Duration, _ call: @escaping @Sendable () async throws -> ToolOutput
    ) async throws -> ToolOutput {
        try await withThrowingTaskGroup(of: ToolOutput.self) { group in
            group.addTask { try await call() }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw ToolFailure("The tool did not answer within \(timeout). It may have acted all the same.")
            }
            defer { group.cancelAll() }
            guard let output = try await group.next() else { throw CancellationError() }
            return output
        }
    }

    private static func bounded(_ content: String, bytes: Int) -> String {
        guard content.utf8.count > bytes else { return content }
        return String(decoding: content.utf8.prefix(bytes), as: UTF8.self)
            + "\n[cut: the result was longer than the \(bytes) bytes that are allowed]"
    }

    /// Answers the model that the call was not made, without a dispatch.
    private mutating func refuse(_ call: ToolCallRecord, _ message: String) async throws -> RunStatus? {
        _ = try await beginStep(toolCall: call.id)
        try await settle(call.id, attempt: call.attempt, from: call.state, .failed(message))
        return nil
    }

    /// Puts the result that a person gave into the log.
    mutating func recordResult(_ call: ToolCallRecord) async throws {
        _ = try await beginStep(toolCall: call.id)
        try await closeToolStep(ToolOutcome(state: call.state, content: call.result ?? ""), call.id, [])
    }

    private mutating func settle(
        _ id: String, attempt: Int, from: ToolCallState, _ outcome: ToolOutcome
    ) async throws {
        move(id, to: outcome.state, attempt: attempt, result: outcome.content)
        try await closeToolStep(
            outcome, id,
            [.toolCallMoved(id: id, from: from, to: outcome.state, attempt: attempt, result: outcome.content)])
    }

    private mutating func closeToolStep(_ outcome: ToolOutcome, _ id: String, _ effects: [RunEffect]) async throws {
        guard let index = plan.steps.lastIndex(where: { $0.status == .started }) else { return }
        plan.steps[index].status = .finished
        let name = plan.toolCalls.first { $0.id == id }?.name ?? ""
        var events: [RunEvent] = [
            .toolCallResult(messageID: newID(), toolCallID: id, content: outcome.content)
        ]
        if let citations = outcome.citations {
            events.append(.custom(name: .citations, value: ["toolCallId": .string(id), "citations": citations]))
        }
        events.append(.stepFinished(name: plan.steps[index].name))
        try await recorder.commit(
            events, effects + [.stepFinished(plan.steps[index].id, output: nil, StepUse(name: name))])
    }

    private mutating func move(_ id: String, to state: ToolCallState, attempt: Int, result: String? = nil) {
        guard let index = plan.toolCalls.firstIndex(where: { $0.id == id }) else { return }
        plan.toolCalls[index].state = state
        plan.toolCalls[index].attempt = attempt
        plan.toolCalls[index].result = result ?? plan.toolCalls[index].result
    }
}
