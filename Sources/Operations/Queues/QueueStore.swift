import Accounts
import Domain
import Queue

/// What operators see of the queues and do to them, for all tenants. Each change is noted in the audit log by a row of the
/// same transaction.
public protocol QueueStore: Sendable {
    /// Makes the queues known, so that they are listed before their first job.
    func register(_ kinds: [JobKind]) async throws

    func queues() async throws -> [QueueSummary]

    /// Pauses or resumes a queue, and bounds tenants in it. What is at work goes on.
    ///
    /// - Throws: `Problem` with `not_found` for an unknown queue.
    func changeQueue(_ kind: JobKind, _ change: QueueChange, audit: AuditEntry) async throws

    /// The shares that were set, by tenant.
    func shares(_ kind: JobKind, page: PageRequest) async throws -> Page<QueueShare>

    /// Sets a tenant's share; it holds for what becomes available from now on.
    ///
    /// - Throws: `Problem` with `not_found` for an unknown queue or tenant.
    func setShare(_ kind: JobKind, _ share: QueueShare, audit: AuditEntry) async throws

    /// Takes a tenant's share away: what holds for everybody holds for it again.
    ///
    /// - Throws: `Problem` with `not_found` when it has none.
    func removeShare(_ kind: JobKind, of tenant: TenantID, audit: AuditEntry) async throws

    /// Jobs in one state, the last enqueued first. That they were read is noted.
    func jobs(_ kind: JobKind, in state: JobState, page: PageRequest, reading: AuditEntry) async throws -> Page<JobRecord>

    /// - Parameter reading: notes that the job was read, where somebody reads it.
    func job(_ id: JobID, reading: AuditEntry?) async throws -> JobRecord?

    /// Has a job done now, or once more when it has ended in failure.
    ///
    /// - Throws: `JobStateForbids`.
    func requeue(_ id: JobID, audit: AuditEntry) async throws

    /// Gives up a job that waits: the next worker tells its subject, and discards it.
    ///
    /// - Throws: `JobStateForbids`.
    func giveUp(_ id: JobID, audit: AuditEntry) async throws

    /// Changes a job that is not at work and not done.
    ///
    /// - Throws: `JobStateForbids`.
    func edit(_ id: JobID, _ edit: JobEdit, audit: AuditEntry) async throws
}

/// The state of a job does not allow what was asked; nothing was changed.
public struct JobStateForbids: Error, Hashable, Sendable {
    public init() {}
}

extension Problem {
    /// No process has made a queue of this name known.
    public static let noSuchQueue = Problem(.notFound, "There is no such queue. GET /api/queues lists them.")
}
