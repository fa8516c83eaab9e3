import Domain

/// How a handler left its job.
public enum JobOutcome: Sendable {
    /// Done; the worker marks the job completed.
    case completed
    /// Done, and the handler has already moved the job in a transaction of its own.
    case settled
}

/// What a running job knows of its lease.
public struct JobContext: Sendable {
    public let lease: JobLease
    /// What is left of the lease on this machine's monotonic clock; negative once it is over.
    public let remainingLease: @Sendable () -> Duration

    public init(lease: JobLease, remainingLease: @escaping @Sendable () -> Duration) {
        self.lease = lease
        self.remainingLease = remainingLease
    }
}

/// How the jobs of one kind are worked on.
public struct JobPolicy: Sendable {
    /// Jobs at work at one time in one process. Each kind has its own, so that none keeps another from working.
    public var slots: Int
    /// How long one attempt may take; `nil` where the handler bounds itself.
    public var timeout: Duration?
    /// Between attempts.
    public var backoff: Backoff

    public init(slots: Int = 16, timeout: Duration? = nil, backoff: Backoff = Backoff()) {
        self.slots = slots
        self.timeout = timeout
        self.backoff = backoff
    }
}

/// Runs the jobs of one kind.
public protocol JobHandler: Sendable {
    var kind: JobKind { get }
    var policy: JobPolicy { get }

    /// Does the job. Cancelled when the lease is lost, the time is over or the process shuts down: leave no half-done write
    /// behind, throw `CancellationError`, and the job goes to another worker. Any other error is a failure and is retried.
    func handle(_ context: JobContext) async throws -> JobOutcome

    /// The job failed for the last time, every attempt crashed, or a person gave it up: tell its subject, which would wait
    /// for ever. The lease is still held; the worker discards the job afterwards.
    func giveUp(_ lease: JobLease, reason: String) async throws
}
