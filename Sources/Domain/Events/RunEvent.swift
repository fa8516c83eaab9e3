/// What can stand in a run's log: the events of the AG-UI protocol (docs.ag-ui.com/concepts/events) that we write.
public enum RunEvent: Hashable, Sendable {
    case runStarted
    case stepStarted(name: String)
    case stepFinished(name: String)
    case textMessageStart(messageID: String)
    case textMessageContent(messageID: String, delta: String)
    case textMessageEnd(messageID: String)
    case toolCallStart(toolCallID: String, toolName: String, parentMessageID: String)
    case toolCallArguments(toolCallID: String, delta: String)
    case toolCallEnd(toolCallID: String)
    case toolCallResult(messageID: String, toolCallID: String, content: String)
    /// A notice of ours; the name starts with `sba.`.
    case custom(name: CustomName, value: JSONValue)
    case runFinished(outcome: Outcome)
    case runError(code: ErrorCode, message: String)

    public enum CustomName: String, CaseIterable, Sendable {
        /// The attempt whose message and tool-call ids it lists was cut short; its content does not count.
        case attemptDiscarded = "sba.attempt_discarded"
        /// The passages that a knowledge search found, numbered as the answer cites them.
        case citations = "sba.citations"
        /// The run waits for a person; the stream stays open.
        case waiting = "sba.waiting"
        /// A person has answered; the run goes on.
        case resumed = "sba.resumed"
    }

    public enum Outcome: String, Sendable {
        case success
        case cancelled
    }

    /// The version of AG-UI that the events follow.
    static let protocolVersion = "1.0"

    /// AG-UI's `type`.
    public var type: String {
        switch self {
        case .runStarted: "RUN_STARTED"
        case .stepStarted: "STEP_STARTED"
        case .stepFinished: "STEP_FINISHED"
        case .textMessageStart: "TEXT_MESSAGE_START"
        case .textMessageContent: "TEXT_MESSAGE_CONTENT"
        case .textMessageEnd: "TEXT_MESSAGE_END"
        case .toolCallStart: "TOOL_CALL_START"
        case .toolCallArguments: "TOOL_CALL_ARGS"
        case .toolCallEnd: "TOOL_CALL_END"
        case .toolCallResult: "TOOL_CALL_RESULT"
        case .custom: "CUSTOM"
        case .runFinished: "RUN_FINISHED"
        case .runError: "RUN_ERROR"
        }
    }

    /// The members besides `type` and the envelope (`seq`, `runId`, `threadId`, `timestamp`).
    public var fields: [String: JSONValue] {
        switch self {
        case .runStarted: ["protocolVersion": .string(Self.protocolVersion)]
        case .stepStarted(let name), .stepFinished(let name): ["stepName": .string(name)]
        case .textMessageStart(let id): ["messageId": .string(id), "role": "assistant"]
        case .textMessageContent(let id, let delta): ["messageId": .string(id), "delta": .string(delta)]
        case .textMessageEnd(let id): ["messageId": .string(id)]
        case .toolCallStart(let id, let name, let parent):
            ["toolCallId": .string(id), "toolCallName": .string(name), "parentMessageId": .string(parent)]
        case .toolCallArguments(let id, let delta): ["toolCallId": .string(id), "delta": .string(delta)]
        case .toolCallEnd(let id): ["toolCallId": .string(id)]
        case .toolCallResult(let message, let id, let content):
            ["messageId": .string(message), "toolCallId": .string(id), "content": .string(content), "role": "tool"]
        case .custom(let name, let value): ["name": .string(name.rawValue), "value": value]
        case .runFinished(let outcome): ["outcome": ["type": .string(outcome.rawValue)]]
        case .runError(let code, let message): ["code": .string(code.rawValue), "message": .string(message)]
        }
    }

    /// Whether the log ends here.
    public var isTerminal: Bool {
        switch self {
        case .runFinished, .runError: true
        default: false
        }
    }
}
