/// Where a tool call stands.
public enum ToolCallState: String, CaseIterable, Sendable {
    /// The model asked for it; nothing was sent.
    case requested
    /// The intent to send it is stored: from here on it may have happened.
    case dispatching
    /// It was dispatched and nobody knows whether it happened; a person decides.
    case unknown
    case succeeded
    case failed
    /// The run ended before the call did.
    case cancelled

    public var isFinal: Bool { self == .succeeded || self == .failed || self == .cancelled }
}

/// What a tool call may do next, and what becomes of one whose worker died.
///
/// ```mermaid
/// stateDiagram-v2
///     [*] --> requested
///     requested --> dispatching: dispatch
///     requested --> failed: refuse (bad arguments, not allowed)
///     dispatching --> requested: withdraw (the lease was too short, nothing was sent)
///     dispatching --> succeeded: succeed
///     dispatching --> failed: fail
///     dispatching --> dispatching: dispatch again after a crash, idempotent tools only
///     dispatching --> unknown: lose, other tools
///     unknown --> requested: retry, decided by a person
///     unknown --> succeeded: succeed, decided by a person
///     unknown --> failed: fail, decided by a person
///     requested --> cancelled: cancel
///     dispatching --> cancelled: cancel
///     unknown --> cancelled: cancel
///     succeeded --> [*]
///     failed --> [*]
///     cancelled --> [*]
/// ```
public enum ToolCallStateMachine {
    public enum Event: CaseIterable, Sendable {
        case dispatch
        case refuse
        case withdraw
        case succeed
        case fail
        case lose
        case retry
        case cancel
    }

    /// The state after `event`, or `nil` where the event is not allowed.
    public static func state(after event: Event, in state: ToolCallState) -> ToolCallState? {
        switch (state, event) {
        case (.requested, .dispatch), (.dispatching, .dispatch): .dispatching
        case (.requested, .refuse): .failed
        case (.dispatching, .withdraw), (.unknown, .retry): .requested
        case (.dispatching, .succeed), (.unknown, .succeed): .succeeded
        case (.dispatching, .fail), (.unknown, .fail): .failed
        case (.dispatching, .lose): .unknown
        case (.requested, .cancel), (.dispatching, .cancel), (.unknown, .cancel): .cancelled
        default: nil
        }
    }

    /// What a new worker does with a call that it finds: the whole promise of at most one dispatch.
    public static func recovery(of state: ToolCallState, isIdempotent: Bool) -> Event? {
        switch state {
        case .requested: .dispatch
        case .dispatching: isIdempotent ? .dispatch : .lose
        case .unknown, .succeeded, .failed, .cancelled: nil
        }
    }
}
