import Domain

/// Where a job stands.
public enum JobState: String, CaseIterable, Sendable {
    /// Waits for a worker.
    case available
    /// Held by a worker under a lease.
    case executing
    /// Failed and waits for its time to try again.
    case retryable
    case completed
    /// Failed for the last time.
    case discarded
    case cancelled

    public var isFinal: Bool { self == .completed || self == .discarded || self == .cancelled }
}

/// What a job may do next. Pure: it says what to store, a `JobStore` stores it.
///
/// ```mermaid
/// stateDiagram-v2
///     [*] --> available
///     available --> executing: claim
///     retryable --> executing: claim, when due
///     executing --> completed: complete
///     executing --> retryable: fail, attempts left
///     executing --> discarded: fail, last attempt
///     executing --> available: release (shutdown) or rescue (lease ran out)
///     available --> cancelled: cancel
///     retryable --> cancelled: cancel
///     executing --> cancelled: cancel
///     completed --> [*]
///     discarded --> [*]
///     cancelled --> [*]
/// ```
public struct JobStateMachine: Hashable, Sendable {
    public enum Event: Hashable, Sendable {
        case claim
        case complete
        case fail
        case release
        case rescue
        case cancel
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
    /// A released or rescued job gets its attempt back only by release: a crash counts, a shutdown does not.
    public func after(_ event: Event) -> JobStateMachine? {
        switch (state, event) {
        case (.available, .claim), (.retryable, .claim): moved(.executing, attempt: attempt + 1)
        case (.executing, .complete): moved(.completed)
        case (.executing, .fail): moved(attempt < maximumAttempts ? .retryable : .discarded)
        case (.executing, .release): moved(.available, attempt: attempt - 1)
        case (.executing, .rescue): moved(.available)
        case (.available, .cancel), (.retryable, .cancel), (.executing, .cancel): moved(.cancelled)
        default: nil
        }
    }

    private func moved(_ state: JobState, attempt: Int? = nil) -> JobStateMachine {
        JobStateMachine(state: state, attempt: attempt ?? self.attempt, maximumAttempts: maximumAttempts)
    }
}

/// How long to wait before the next try: exponential, capped, with full jitter
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
