import Domain

/// Where a job stands.
public enum JobState: String, CaseIterable, Sendable {
    /// Waits for its time.
    case scheduled
    /// Waits for a worker.
    case available
    /// Held by a worker under a lease.
    case executing
    /// Failed and waits for its time to try again.
    case retryable
    case completed
    /// Failed for the last time: a dead letter.
    case discarded
    case cancelled

    public var isFinal: Bool { self == .completed || self == .discarded || self == .cancelled }
}

/// What a job may do next. Pure: it says what to store, a `JobStore` stores it.
///
/// ```mermaid
/// stateDiagram-v2
///     [*] --> available
///     [*] --> scheduled: with a delay
///     scheduled --> available: due, or requeue
///     retryable --> available: due, or requeue
///     available --> executing: claim
///     executing --> completed: complete
///     executing --> retryable: fail, attempts left
///     executing --> discarded: fail, last attempt
///     executing --> available: release (shutdown) or rescue (lease ran out)
///     scheduled --> cancelled: cancel
///     available --> cancelled: cancel
///     retryable --> cancelled: cancel
///     executing --> cancelled: cancel
///     scheduled --> available: give up, no attempts left
///     available --> available: give up, no attempts left
///     retryable --> available: give up, no attempts left
///     discarded --> available: requeue
///     cancelled --> available: requeue
///     completed --> [*]
///     discarded --> [*]
///     cancelled --> [*]
/// ```
public struct JobStateMachine: Hashable, Sendable {
    public enum Event: Hashable, CaseIterable, Sendable {
        /// Its time has come.
        case due
        case claim
        case complete
        case fail
        case release
        case rescue
        case cancel
        /// A person gives it up: the next worker to claim it finds no attempt left, tells its subject and discards it.
        case giveUp
        /// A person has it done now, or once more.
        case requeue
    }

    public let state: JobState
    /// Starts so far.
    public let attempt: Int
    public let maximumAttempts: Int

    public init(state: JobState = .available, attempt: Int = 0, maximumAttempts: Int) {
        self.state = state
        self.attempt = attempt
        self.maximumAttempts = maximumAttempts
    }

    /// The machine after `event`, or `nil` where the event is not allowed.
    ///
    /// A released or rescued job gets its attempt back only by release: a crash counts, a shutdown does not. One that is
    /// requeued after its end has all its attempts again.
    public func after(_ event: Event) -> JobStateMachine? {
        switch (state, event) {
        case (.scheduled, .due), (.retryable, .due): moved(.available)
        case (.available, .claim): moved(.executing, attempt: attempt + 1)
        case (.executing, .complete): moved(.completed)
        case (.executing, .fail): moved(attempt < maximumAttempts ? .retryable : .discarded)
        case (.executing, .release): moved(.available, attempt: attempt - 1)
        case (.executing, .rescue): moved(.available)
        case (.scheduled, .cancel), (.available, .cancel), (.retryable, .cancel), (.executing, .cancel): moved(.cancelled)
        case (.scheduled, .giveUp), (.available, .giveUp), (.retryable, .giveUp): moved(.available, attempt: maximumAttempts)
        case (.scheduled, .requeue), (.retryable, .requeue): moved(.available)
        case (.discarded, .requeue), (.cancelled, .requeue): moved(.available, attempt: 0)
        default: nil
        }
    }

    /// The states in which the event is allowed.
    public static func sources(of event: Event) -> [JobState] {
        JobState.allCases.filter { JobStateMachine(state: $0, maximumAttempts: 1).after(event) != nil }
    }

    private func moved(_ state: JobState, attempt: Int? = nil) -> JobStateMachine {
        JobStateMachine(state: state, attempt: attempt ?? self.attempt, maximumAttempts: maximumAttempts)
    }
}

/// How long to wait before the next try: exponential, capped, with jitter over its upper half
/// (M. Brooker, "Exponential Backoff And Jitter", 2015).
public struct Backoff: Sendable {
    public let base: Duration
    public let cap: Duration

    public init(base: Duration = .seconds(1), cap: Duration = .seconds(60)) {
        self.base = base
        self.cap = cap
    }

    /// The wait after failure number `attempt` (from 1). `random` is from 0 up to 1; half the wait is never jittered
    /// away, so that retries do not bunch at once.
    public func delay(attempt: Int, random: Double) -> Duration {
        let exponent = min(max(attempt, 1) - 1, 20)
        let ceiling = min(cap, base * (1 << exponent))
        return ceiling * (0.5 + random / 2)
    }
}
