import Domain
import Models

/// What is known of a run's progress, and from it what to do next and what the model is told. Pure: the same rows always
/// give the same plan, so a run goes on after a crash where it stopped.
struct RunPlan {
    enum Next: Equatable {
        case callModel(index: Int)
        case callTool(ToolCallRecord)
        /// The call was settled by a person while its step was open: its result joins the log.
        case recordResult(ToolCallRecord)
        case finish(text: String)
        /// The run has used up its steps.
        case stop
        /// A person has to decide about this call.
        case wait(ToolCallRecord)
    }

    var steps: [RunStep]
    var toolCalls: [ToolCallRecord]
    let stepLimit: Int

    init(steps: [RunStep], toolCalls: [ToolCallRecord], stepLimit: Int) {
        self.steps = steps
        self.toolCalls = toolCalls
        self.stepLimit = stepLimit
    }

    /// The step that was begun and not finished.
    var openStep: RunStep? { steps.last { $0.status == .started } }

    private var nextIndex: Int { openStep?.index ?? (steps.last?.index ?? 0) + 1 }

    var next: Next {
        if let waiting = toolCalls.first(where: { $0.state == .unknown }) { return .wait(waiting) }
        if let open = openStep {
            guard let call = toolCalls.first(where: { $0.id == open.toolCall }) else { return .callModel(index: open.index) }
            return call.state.isFinal ? .recordResult(call) : .callTool(call)
        }
        if nextIndex > stepLimit, !isAnswered { return .stop }
        if let call = toolCalls.first(where: { !$0.state.isFinal }) { return .callTool(call) }
        if isAnswered { return .finish(text: lastTurn?.text ?? "") }
        return .callModel(index: nextIndex)
    }

    private var lastTurn: ModelTurn? { steps.last { $0.kind == .model && $0.status == .finished }?.output }

    /// Whether the last thing the model said asked for nothing.
    private var isAnswered: Bool { lastTurn.map(\.toolCalls.isEmpty) ?? false }

    /// A step at the next place: of `toolCall`, or of the model when there is none.
    func newStep(toolCall: String?, id: StepID, at time: Timestamp) -> RunStep {
        RunStep(
            id: id, index: nextIndex, kind: toolCall == nil ? .model : .tool, toolCall: toolCall, startedAt: time)
    }

    // MARK: What the model is told

    func messages(instructions: String?, history: [SessionMessage], prompt: String) -> [ChatMessage] {
        var messages: [ChatMessage] = instructions.map { [.system($0)] } ?? []
        for message in history {
            messages.append(message.role == .user ? .user(message.text) : .assistant(text: message.text, toolCalls: []))
        }
        messages.append(.user(prompt))
        for step in steps where step.kind == .model && step.status == .finished {
            guard let turn = step.output else { continue }
            let calls = turn.toolCalls.compactMap { id in toolCalls.first { $0.id == id } }
            messages.append(
                .assistant(
                    text: turn.text,
                    toolCalls: calls.map { ToolCall(id: $0.id, name: $0.name, arguments: $0.arguments) }))
            messages += calls.map { .tool(callID: $0.id, name: $0.name, content: $0.result ?? "") }
        }
        return messages
    }
}
