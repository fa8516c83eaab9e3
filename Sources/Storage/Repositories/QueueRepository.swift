import Accounts
import Domain
import Foundation
import Operations
import Queue

/// Queues and their jobs as operators see them, of all tenants.
public struct QueueRepository: QueueStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    // MARK: Queues

    public func register(_ kinds: [JobKind]) async throws {
        let inserts = kinds.map { kind in
            SQLStatement("INSERT INTO job_queues (kind) VALUES (?1) ON CONFLICT (kind) DO NOTHING", [.text(kind.rawValue)])
        }
        _ = try await engine.write(Batch(.system, inserts, isRepeatable: true))
    }

    public func queues() async throws -> [QueueSummary] {
        let select = SQLStatement("SELECT kind, paused_at, tenant_concurrency FROM job_queues ORDER BY kind")
        let answers = try await engine.read(Batch(.system, [select] + JobRepository.depths))
        let depths = Dictionary(grouping: answers[1...].flatMap(\.rows).map(JobRepository.depth), by: \.kind)
        return answers[0].rows.map { row in
            let kind = JobKind(rawValue: row.text(0))
            return QueueSummary(
                kind: kind, pausedAt: row.optionalTime(1), tenantConcurrency: row.optionalInt(2).map { Int($0) },
                depths: depths[kind] ?? [])
        }
    }

    public func changeQueue(_ kind: JobKind, _ change: QueueChange, audit: AuditEntry) async throws {
        // Pausing again does not change since when.
        try await self.change(
            """
            UPDATE job_queues SET
                paused_at = CASE WHEN ?2 IS NULL THEN paused_at WHEN ?2 THEN coalesce(paused_at, current_micros()) END,
                tenant_concurrency = CASE WHEN ?3 THEN ?4 ELSE tenant_concurrency END
            WHERE kind = ?1
            """,
            [
                .text(kind.rawValue), .bool(change.isPaused), .bool(change.tenantConcurrency != nil),
                .int((change.tenantConcurrency ?? nil).map { Int64($0) }),
            ], otherwise: Problem.noSuchQueue, audit)
    }

    /// Changes one row, and notes that it was.
    private func change(
        _ sql: String, _ arguments: [SQLValue], otherwise error: any Error, _ audit: AuditEntry,
        function: StaticString = #function
    ) async throws {
        let change = SQLStatement(sql, arguments, expect: .rows(1, otherwise: error))
        _ = try await engine.write(Batch(.system, [change, audit.insert], function: function))
    }

    public func shares(_ kind: JobKind, page: PageRequest) async throws -> Page<QueueShare> {
        var arguments: [SQLValue] = [.text(kind.rawValue), .int(page.limit + 1)]
        var conditions = "kind = ?1"
        if let cursor = page.cursor {
            arguments.append(.uuid(cursor.after))
            conditions += " AND tenant_id < ?3"
        }
        let select = SQLStatement(
            "SELECT tenant_id, weight, concurrency FROM job_shares WHERE \(conditions) ORDER BY tenant_id DESC LIMIT ?2",
            arguments)
        let rows = try await engine.read(Batch(.system, [select]))[0].rows.map { row in
            QueueShare(tenant: row.id(0), weight: Int(row.int(1)), concurrency: row.optionalInt(2).map { Int($0) })
        }
        return Page(fetched: rows, limit: page.limit) { $0.tenant.uuid }
    }

    public func setShare(_ kind: JobKind, _ share: QueueShare, audit: AuditEntry) async throws {
        do {
            try await change(
                """
                INSERT INTO job_shares (kind, tenant_id, weight, concurrency) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (kind, tenant_id) DO UPDATE SET weight = excluded.weight, concurrency = excluded.concurrency
                """,
                [.text(kind.rawValue), .id(share.tenant), .int(share.weight), .int(share.concurrency.map { Int64($0) })],
                otherwise: Problem.noSuchQueue, audit)
        } catch StorageError.foreignKeyViolation {
            throw Problem(.notFound, "There is no such queue or tenant.")
        }
    }

    public func removeShare(_ kind: JobKind, of tenant: TenantID, audit: AuditEntry) async throws {
        try await change(
            "DELETE FROM job_shares WHERE kind = ?1 AND tenant_id = ?2", [.text(kind.rawValue), .id(tenant)],
            otherwise: Problem(.notFound, "The tenant has no share of its own in this queue."), audit)
    }

    // MARK: Jobs

    private static let columns = """
        id, tenant_id, kind, subject, payload, state, priority, attempt, maximum_attempts, last_error, worker, created_at,
        run_at, started_at, finished_at
        """

    private static func record(_ row: SQLRow) -> JobRecord {
        JobRecord(
            id: row.id(0), tenant: row.id(1), kind: JobKind(rawValue: row.text(2)), subject: row.uuid(3), payload: row.json(4),
            state: row.value(5), priority: JobPriority(rawValue: Int(row.int(6))) ?? .normal, attempt: Int(row.int(7)),
            maximumAttempts: Int(row.int(8)), lastError: row.optionalText(9), worker: row.optionalText(10),
            createdAt: row.time(11), runAt: row.time(12), startedAt: row.optionalTime(13), finishedAt: row.optionalTime(14))
    }

    /// States that share an index.
    private static let indexed: [[JobState]] = [[.scheduled, .retryable], [.discarded, .cancelled]]

    /// The states are written out as in the condition of their index, so that this is found. What is done has none: all
    /// jobs are looked through, the last first.
    public func jobs(_ kind: JobKind, in state: JobState, page: PageRequest, reading: AuditEntry) async throws -> Page<JobRecord>
    {
        var arguments: [SQLValue] = [.text(kind.rawValue), .int(page.limit + 1)]
        var conditions = "kind = ?1 AND state = '\(state.rawValue)'"
        for states in Self.indexed where states.contains(state) { conditions += " AND state IN (\(JobRepository.list(states)))" }
        if let cursor = page.cursor {
            arguments.append(.uuid(cursor.after))
            conditions += " AND id < ?3"
        }
        let select = SQLStatement(
            "SELECT \(Self.columns) FROM jobs WHERE \(conditions) ORDER BY id DESC LIMIT ?2", arguments)
        let rows = try await engine.write(Batch(.system, [select, reading.insert]))[0].rows
        return Page(fetched: rows.map(Self.record), limit: page.limit) { $0.id.uuid }
    }

    public func job(_ id: JobID, reading: AuditEntry?) async throws -> JobRecord? {
        let select = SQLStatement("SELECT \(Self.columns) FROM jobs WHERE id = ?1", [.id(id)])
        let answers =
            if let reading { try await engine.write(Batch(.system, [select, reading.insert])) } else {
                try await engine.read(Batch(.system, [select]))
            }
        return answers[0].rows.first.map(Self.record)
    }

    private static func sources(of event: JobStateMachine.Event) -> String {
        JobRepository.list(JobStateMachine.sources(of: event))
    }

    public func requeue(_ id: JobID, audit: AuditEntry) async throws {
        try await change(
            """
            UPDATE jobs SET state = 'available', run_at = current_micros(), start_tag = \(JobRepository.ownStartTag),
                attempt = CASE WHEN state IN ('discarded', 'cancelled') THEN 0 ELSE attempt END, finished_at = NULL
            WHERE id = ?1 AND state IN (\(Self.sources(of: .requeue)))
            """,
            [.id(id)], otherwise: JobStateForbids(), audit)
    }

    public func giveUp(_ id: JobID, audit: AuditEntry) async throws {
        try await change(
            """
            UPDATE jobs SET state = 'available', run_at = current_micros(), attempt = maximum_attempts
            WHERE id = ?1 AND state IN (\(Self.sources(of: .giveUp)))
            """,
            [.id(id)], otherwise: JobStateForbids(), audit)
    }

    public func edit(_ id: JobID, _ edit: JobEdit, audit: AuditEntry) async throws {
        try await change(
            """
            UPDATE jobs SET payload = coalesce(?2, payload), priority = coalesce(?3, priority),
                maximum_attempts = coalesce(?4, maximum_attempts)
            WHERE id = ?1 AND state NOT IN ('executing', 'completed')
            """,
            [
                .id(id), .json(edit.payload?.text), .int(edit.priority.map { Int64($0.rawValue) }),
                .int(edit.maximumAttempts.map { Int64($0) }),
            ], otherwise: JobStateForbids(), audit)
    }
}
