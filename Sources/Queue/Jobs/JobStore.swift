import Domain

/// A write came from a worker whose lease has passed to another: nothing of it was stored.
public struct FenceLost: Error, Hashable, Sendable {
    public init() {}
}

/// Holds jobs durably.
///
/// Every call is atomic. A call that takes a lease changes nothing and throws `FenceLost` when the lease's token is no
/// longer the job's, or the job is not executing. Repeating a successful `complete`, `fail` or `release` throws `FenceLost`.
/// No two unexpired leases of one job exist at a time. Claims go in order of enqueueing.
public protocol JobStore: Sendable {
    /// Makes a job available. Repeating it with the same id changes nothing.
    func enqueue(tenant: TenantID, _ job: NewJob) async throws

    /// Leases up to `limit` jobs that are available, or retryable and due, oldest first.
    func claim(kinds: [JobKind], limit: Int, lease: Duration) async throws -> [JobLease]

    /// Extends the leases; answers those that were still held.
    func renew(_ leases: [JobLease], lease: Duration) async throws -> Set<JobLease>

    func complete(_ lease: JobLease) async throws

    /// Stores a failure: retryable after `delay`, or discarded when the attempts are used up.
    func fail(_ lease: JobLease, error: String, delay: Duration) async throws

    /// Hands an unfinished job back, at once available to others; the attempt does not count.
    func release(_ lease: JobLease) async throws

    /// Makes jobs available whose lease has run out, or, with `all`, every executing one: for the process that alone
    /// holds the database and has just started. Answers how many.
    func rescue(all: Bool) async throws -> Int

    /// How many jobs of each kind are in each unfinished state.
    func depths() async throws -> [QueueDepth]
}

/// One row of `JobStore.depths`.
public struct QueueDepth: Hashable, Sendable {
    public let kind: JobKind
    public let state: JobState
    public let count: Int

    public init(kind: JobKind, state: JobState, count: Int) {
        self.kind = kind
        self.state = state
        self.count = count
    }
}
