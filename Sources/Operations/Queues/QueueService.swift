import Accounts
import Domain
import Queue

/// Lets operators see and steer the queues of all tenants.
public struct QueueService: Sendable {
    private let store: any QueueStore
    private let instead: [JobKind: String]
    /// Notified when a job became available.
    private let available: Signal
    private let ambient: Ambient

    /// - Parameters:
    ///   - instead: what to do in place of retrying a job that has ended, for kinds whose subject ends with it.
    ///   - available: notified when a job became available.
    public init(store: any QueueStore, instead: [JobKind: String] = [:], available: Signal, ambient: Ambient = .system) {
        self.store = store
        self.instead = instead
        self.available = available
        self.ambient = ambient
    }

    /// Every queue that a process has made known.
    public func queues() async throws -> [QueueSummary] { try await store.queues() }

    /// - Throws: `Problem` with `not_found`.
    public func queue(_ kind: JobKind) async throws -> QueueSummary {
        guard let queue = try await store.queues().first(where: { $0.kind == kind }) else { throw Problem.noSuchQueue }
        return queue
    }

    /// Pauses or resumes a queue for every process, and bounds how many jobs of one tenant are at work at one time.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func change(_ kind: JobKind, _ change: QueueChange, requester: Requester) async throws -> QueueSummary {
        guard !change.isEmpty else { return try await queue(kind) }
        try await store.changeQueue(
            kind, change, audit: entry(.queueChanged, "queue/\(kind.rawValue)", change.details, requester))
        available.notify()
        return try await queue(kind)
    }

    /// - Throws: `Problem` with `not_found`.
    public func shares(_ kind: JobKind, page: PageRequest) async throws -> Page<QueueShare> {
        _ = try await queue(kind)
        return try await store.shares(kind, page: page)
    }

    /// Sets a tenant's share of a queue.
    public func setShare(_ kind: JobKind, _ share: QueueShare, requester: Requester) async throws {
        let details: JSONValue = [
            "tenantId": .string("\(share.tenant)"), "weight": .int(Int64(share.weight)),
            "concurrency": JSONValue(share.concurrency),
        ]
        try await store.setShare(kind, share, audit: entry(.queueChanged, "queue/\(kind.rawValue)", details, requester))
        available.notify()
    }

    /// Takes a tenant's share of a queue away: what holds for everybody holds for it again.
    ///
    /// - Throws: `Problem` with `not_found` when it has none.
    public func removeShare(_ kind: JobKind, of tenant: TenantID, requester: Requester) async throws {
        let details: JSONValue = ["tenantId": .string("\(tenant)"), "removed": true]
        try await store.removeShare(
            kind, of: tenant, audit: entry(.queueChanged, "queue/\(kind.rawValue)", details, requester))
        available.notify()
    }

    // MARK: Jobs

    /// Jobs of a queue in one state, the last enqueued first.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func jobs(
        _ kind: JobKind, in state: JobState, page: PageRequest, requester: Requester
    ) async throws -> Page<JobRecord> {
        _ = try await queue(kind)
        let reading = entry(.platformRead, "queue/\(kind.rawValue)", ["what": "jobs"], requester)
        return try await store.jobs(kind, in: state, page: page, reading: reading)
    }

    /// - Throws: `Problem` with `not_found`.
    public func job(_ id: JobID, requester: Requester) async throws -> JobRecord {
        try await found(id, reading: entry(.platformRead, "job/\(id)", [:], requester))
    }

    private func found(_ id: JobID, reading: AuditEntry?) async throws -> JobRecord {
        guard let job = try await store.job(id, reading: reading) else { throw Problem(.notFound, "There is no such job.") }
        return job
    }

    /// Has a job done now, or once more when it has ended in failure.
    ///
    /// - Throws: `Problem` with `not_found` or `job_state_forbids`.
    public func requeue(_ id: JobID, requester: Requester) async throws -> JobRecord {
        try await changing(id, "retry", [:], requester) { job, audit in
            if job.state == .discarded || job.state == .cancelled, let instead = instead[job.kind] {
                throw Problem(.jobStateForbids, instead)
            }
            try await store.requeue(id, audit: audit)
        }
    }

    /// Gives up a job that waits.
    ///
    /// - Throws: `Problem` with `not_found` or `job_state_forbids`.
    public func giveUp(_ id: JobID, requester: Requester) async throws -> JobRecord {
        try await changing(id, "discard", [:], requester) { try await store.giveUp(id, audit: $1) }
    }

    /// Changes a job that is not at work and not done.
    ///
    /// - Throws: `Problem` with `not_found` or `job_state_forbids`.
    public func edit(_ id: JobID, _ edit: JobEdit, requester: Requester) async throws -> JobRecord {
        guard !edit.isEmpty else { return try await job(id, requester: requester) }
        return try await changing(id, "edit", edit.details, requester) { try await store.edit(id, edit, audit: $1) }
    }

    private func changing(
        _ id: JobID, _ what: String, _ details: [String: JSONValue], _ requester: Requester,
        _ change: (JobRecord, AuditEntry) async throws -> Void
    ) async throws -> JobRecord {
        let before = try await found(id, reading: nil)
        do {
            let details = details.merging(["change": .string(what)]) { $1 }
            try await change(before, entry(.jobChanged, "job/\(id)", .object(details), requester))
        } catch is JobStateForbids {
            throw Problem(.jobStateForbids, "A job that is \(before.state.rawValue) does not allow this.")
        }
        available.notify()
        return try await found(id, reading: nil)
    }

    private func entry(
        _ action: AuditAction, _ target: String, _ details: JSONValue, _ requester: Requester
    ) -> AuditEntry {
        AuditEntry(
            id: AuditID(ambient.makeID()), tenant: nil, requester: requester, action: action, target: target, details: details,
            time: ambient.now())
    }
}
