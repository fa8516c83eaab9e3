import Domain
import Foundation

/// A queue as operators see it.
public struct QueueSummary: Hashable, Sendable {
    public let kind: JobKind
    /// Since when nothing is claimed from it.
    public let pausedAt: Timestamp?
    /// How many jobs of one tenant may be at work at one time, unless its share says otherwise; `nil` for any number.
    public let tenantConcurrency: Int?
    /// Jobs by state; of the final ones only dead letters.
    public let depths: [QueueDepth]

    public init(kind: JobKind, pausedAt: Timestamp?, tenantConcurrency: Int?, depths: [QueueDepth]) {
        self.kind = kind
        self.pausedAt = pausedAt
        self.tenantConcurrency = tenantConcurrency
        self.depths = depths
    }
}

/// What a tenant has of a queue.
public struct QueueShare: Hashable, Sendable {
    public static let weights = 1...1000
    public static let concurrencies = 1...100_000

    public let tenant: TenantID
    /// Turns to another tenant's one.
    public let weight: Int
    /// Jobs at work at one time; `nil` for what the queue says.
    public let concurrency: Int?

    public init(tenant: TenantID, weight: Int, concurrency: Int?) {
        self.tenant = tenant
        self.weight = weight
        self.concurrency = concurrency
    }
}

/// A job as operators see it.
public struct JobRecord: Hashable, Sendable {
    public let id: JobID
    public let tenant: TenantID
    public let kind: JobKind
    public let subject: UUID
    public let payload: JSONValue
    public let state: JobState
    public let priority: JobPriority
    public let attempt: Int
    public let maximumAttempts: Int
    public let lastError: String?
    /// Who holds it.
    public let worker: String?
    public let createdAt: Timestamp
    /// When it became, or becomes, available.
    public let runAt: Timestamp
    /// When it was last started.
    public let startedAt: Timestamp?
    public let finishedAt: Timestamp?

    public init(
        id: JobID, tenant: TenantID, kind: JobKind, subject: UUID, payload: JSONValue, state: JobState,
        priority: JobPriority, attempt: Int, maximumAttempts: Int, lastError: String?, worker: String?,
        createdAt: Timestamp, runAt: Timestamp, startedAt: Timestamp?, finishedAt: Timestamp?
    ) {
        self.id = id
        self.tenant = tenant
        self.kind = kind
        self.subject = subject
        self.payload = payload
        self.state = state
        self.priority = priority
        self.attempt = attempt
        self.maximumAttempts = maximumAttempts
        self.lastError = lastError
        self.worker = worker
        self.createdAt = createdAt
        self.runAt = runAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }
}

/// What an operator changes of a job that is not at work.
public struct JobEdit: Hashable, Sendable {
    public static let attempts = 1...1000
    public static let maximumPayloadBytes = 64 * 1024

    public var payload: JSONValue?
    public var priority: JobPriority?
    public var maximumAttempts: Int?

    public init(payload: JSONValue? = nil, priority: JobPriority? = nil, maximumAttempts: Int? = nil) {
        self.payload = payload
        self.priority = priority
        self.maximumAttempts = maximumAttempts
    }
}

/// What operators see of the queues and do to them, for all tenants.
public protocol QueueStore: Sendable {
    /// Makes the queues known, so that they are listed before their first job.
    func register(_ kinds: [JobKind]) async throws

    func queues() async throws -> [QueueSummary]

    /// Pauses a queue, or resumes it. What is at work goes on. Answers false for an unknown queue.
    func setPaused(_ kind: JobKind, _ isPaused: Bool) async throws -> Bool

    /// Bounds the jobs of one tenant that are at work at one time. Answers false for an unknown queue.
    func setTenantConcurrency(_ kind: JobKind, _ bound: Int?) async throws -> Bool

    func shares(_ kind: JobKind) async throws -> [QueueShare]

    /// Sets a tenant's share; it holds for what becomes available from now on.
    ///
    /// - Throws: `StorageError.foreignKeyViolation` for an unknown queue or tenant.
    func setShare(_ kind: JobKind, _ share: QueueShare) async throws

    /// Jobs in one state, the last enqueued first.
    func jobs(_ kind: JobKind, in state: JobState, page: PageRequest) async throws -> Page<JobRecord>

    func job(_ id: JobID) async throws -> JobRecord?

    /// Has a job done now, or once more when it has ended in failure. Answers false when its state does not allow it.
    func requeue(_ id: JobID) async throws -> Bool

    /// Gives up a job that waits: the next worker tells its subject, and discards it. Answers false when its state does not
    /// allow it.
    func giveUp(_ id: JobID) async throws -> Bool

    /// Changes a job that is not at work and not done. Answers false when its state does not allow it.
    func edit(_ id: JobID, _ edit: JobEdit) async throws -> Bool
}
