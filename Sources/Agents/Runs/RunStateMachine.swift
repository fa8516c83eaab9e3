/// Where a run stands.
public enum RunStatus: String, CaseIterable, Sendable {
    /// Waits for a worker.
    case queued
    /// A worker has begun it; after a crash or a shutdown it stays `running` until the next worker goes on.
    case running
    /// Waits for a person and holds no worker.
    case waiting
    case succeeded
    case failed
    case cancelled
    /// Took longer than it was allowed to.
    case expired

    /// Nothing happens to the run by itself: it has ended, or waits for a person.
    public var isAtRest: Bool { isFinal || self == .waiting }

    public var isFinal: Bool {
        switch self {
        case .queued, .running, .waiting: false
        case .succeeded, .failed, .cancelled, .expired: true
        }
    }
}

/// What a run may do next. Pure: it says what to store, a `RunStore` stores it.
///
/// ```mermaid
/// stateDiagram-v2
///     [*] --> queued
///     queued --> running: begin
///     running --> running: begin again, after a crash or a shutdown
///     running --> waiting: wait, for a person
///     waiting --> queued: resume
///     running --> succeeded: succeed
///     running --> failed: fail
///     running --> expired: expire
///     queued --> cancelled: cancel
///     running --> cancelled: cancel
///     waiting --> cancelled: cancel
///     succeeded --> [*]
///     failed --> [*]
///     expired --> [*]
///     cancelled --> [*]
/// ```
public enum RunStateMachine {
    public enum Event: CaseIterable, Sendable {
        case begin
        case wait
        case resume
        case succeed
        case fail
        case expire
        case cancel
    }

    /// The status after `event`, or `nil` where the event is not allowed.
    public static func status(after event: Event, in status: RunStatus) -> RunStatus? {
        switch (status, event) {
        case (.queued, .begin), (.running, .begin): .running
        case (.running, .wait): .waiting
        case (.waiting, .resume): .queued
        case (.running, .succeed): .succeeded
        case (.running, .fail): .failed
        case (.running, .expire): .expired
        case (.queued, .cancel), (.running, .cancel), (.waiting, .cancel): .cancelled
        default: nil
        }
    }

    /// The statuses from which `event` leads to `target`: what a stored transition checks.
    public static func sources(of target: RunStatus) -> [RunStatus] {
        RunStatus.allCases.filter { source in
            Event.allCases.contains { status(after: $0, in: source) == target }
        }
    }
}
