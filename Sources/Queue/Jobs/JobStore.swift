import Domain

/// A write came from a worker whose lease has passed to another: nothing of it was stored.
public struct FenceLost: Error, Hashable, Sendable {
    public init() {}
}

/// What a worker asks of one queue.
public struct JobClaim: Hashable, Sendable {
    public let kind: JobKind
    /// At most this many jobs.
    public let limit: Int
    /// Jobs whose start tag is less are passed over; `nil` looks at all. A hint that saves walking over what was claimed
    /// before.
    public var floor: Int64?
    /// The highest start tag that the worker has claimed, when it is time to tell the queue.
    public var virtualTime: Int64?
    /// Takes only what is available, and that only where no tenant is bounded: less to ask of a queue that is busy.
    public var isBrief: Bool

    public init(kind: JobKind, limit: Int, floor: Int64? = nil, virtualTime: Int64? = nil, isBrief: Bool = false) {
        self.kind = kind
        self.limit = limit
        self.floor = floor
        self.virtualTime = virtualTime
        self.isBrief = isBrief
    }
}

/// Holds jobs durably.
///
/// Every call is atomic. A call that takes a lease changes nothing and throws `FenceLost` when the lease's token is no
/// longer the job's, or the job is not executing. Repeating a successful `fail` or `release` throws `FenceLost`. No two
/// unexpired leases of one job exist at a time. Leases are timed by the store's own clock, whatever a process's says.
///
/// Within a queue, tenants take turns (start-time fair queueing, P. Goyal et al., 1996): a job gets its place, the start
/// tag, when it becomes available, behind its tenant's other jobs and no later than that. What a tenant has waiting does
/// not delay another's first. A tenant's weight says how many turns it has to another's one.
public protocol JobStore: Sendable {
    /// Stores jobs, and answers the ids of those that are stored: all but those that a unique one keeps away. Repeating it
    /// with the same ids changes nothing.
    func enqueue(tenant: TenantID, _ jobs: [NewJob]) async throws -> Set<JobID>

    /// Leases jobs that are available, in the order of their start tags, from queues that are not paused, and no more of a
    /// tenant than may be at work at one time. Jobs whose time has come become available first.
    ///
    /// - Parameter worker: names the process, for people.
    func claim(_ claims: [JobClaim], lease: Duration, worker: String) async throws -> [JobLease]

    /// Extends the leases; answers those that were still held.
    func renew(_ leases: [JobLease], lease: Duration) async throws -> Set<JobLease>

    /// Marks jobs as done; answers those that were still held. Of the others nothing is changed.
    func complete(_ leases: [JobLease]) async throws -> Set<JobLease>

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
    /// Since when the oldest of them has been in this state, or for which time it waits.
    public let oldest: Timestamp

    public init(kind: JobKind, state: JobState, count: Int, oldest: Timestamp) {
        self.kind = kind
        self.state = state
        self.count = count
        self.oldest = oldest
    }
}
