import Domain
import Foundation
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

    public func setPaused(_ kind: JobKind, _ isPaused: Bool) async throws -> Bool {
        // Pausing again does not change since when.
        let time = isPaused ? "coalesce(paused_at, current_micros())" : "NULL"
        return try await change("UPDATE job_queues SET paused_at = \(time) WHERE kind = ?1", [.text(kind.rawValue)])
    }

    public func setTenantConcurrency(_ kind: JobKind, _ bound: Int?) async throws -> Bool {
        try await change(
            "UPDATE job_queues SET tenant_concurrency = ?2 WHERE kind = ?1",
            [.text(kind.rawValue), .int(bound.map { Int64($0) })])
    }

    private func change(_ sql: String, _ arguments: [SQLValue], function: StaticString = #function) async throws -> Bool {
        let batch = Batch(.system, [SQLStatement(sql, arguments)], isRepeatable: true, function: function)
        return try await engine.write(batch)[0].changes == 1
    }

    public func shares(_ kind: JobKind) async throws -> [QueueShare] {
        let select = SQLStatement(
            "SELECT tenant_id, weight, concurrency FROM job_shares WHERE kind = ?1 ORDER BY tenant_id", [.text(kind.rawValue)])
        return try await engine.read(Batch(.system, [select]))[0].rows.map { row in
            QueueShare(tenant: row.id(0), weight: Int(row.int(1)), concurrency: row.optionalInt(2).map { Int($0) })
        }
    }

    public func setShare(_ kind: JobKind, _ share: QueueShare) async throws {
        let upsert = SQLStatement(
            """
            INSERT INTO job_shares (kind, tenant_id, weight, concurrency) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (kind, tenant_id) DO UPDATE SET weight = excluded.weight, concurrency = excluded.concurrency
            """,
            [.text(kind.rawValue), .id(share.tenant), .int(share.weight), .int(share.concurrency.map { Int64($0) })])
        _ = try await engine.write(Batch(.system, [upsert], isRepeatable: true))
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
    public func jobs(_ kind: JobKind, in state: JobState, page: PageRequest) async throws -> Page<JobRecord> {
        var arguments: [SQLValue] = [.text(kind.rawValue), .int(page.limit + 1)]
        var conditions = "kind = ?1 AND state = '\(state.rawValue)'"
        for states in Self.indexed where states.contains(state) { conditions += " AND state IN (\(JobRepository.list(states)))" }
        if let cursor = page.cursor {
            arguments.append(.uuid(cursor.after))
            conditions += " AND id < ?3"
        }
        let select = SQLStatement(
            "SELECT \(Self.columns) FROM jobs WHERE \(conditions) ORDER BY id DESC LIMIT ?2", arguments)
        let rows = try await engine.read(Batch(.system, [select]))[0].rows
        return Page(fetched: rows.map(Self.record), limit: page.limit) { $0.id.uuid }
    }

    public func job(_ id: JobID) async throws -> JobRecord? {
        let select = SQLStatement("SELECT \(Self.columns) FROM jobs WHERE id = ?1", [.id(id)])
        return try await engine.read(Batch(.system, [select]))[0].rows.first.map(Self.record)
    }

    private static func sources(of event: JobStateMachine.Event) -> String {
        JobRepository.list(JobStateMachine.sources(of: event))
    }

    public func requeue(_ id: JobID) async throws -> Bool {
        try await change(
            """
            UPDATE jobs SET state = 'available', run_at = current_micros(), start_tag = \(JobRepository.ownStartTag),
                attempt = CASE WHEN state IN ('discarded', 'cancelled') THEN 0 ELSE attempt END, finished_at = NULL
            WHERE id = ?1 AND state IN (\(Self.sources(of: .requeue)))
            """,
            [.id(id)])
    }

    public func giveUp(_ id: JobID) async throws -> Bool {
        try await change(
            """
            UPDATE jobs SET state = 'available', run_at = current_micros(), attempt = maximum_attempts
            WHERE id = ?1 AND state IN (\(Self.sources(of: .giveUp)))
            """,
            [.id(id)])
    }

    public func edit(_ id: JobID, _ edit: JobEdit) async throws -> Bool {
        try await change(
            """
            UPDATE jobs SET payload = coalesce(?2, payload), priority = coalesce(?3, priority),
                maximum_attempts = coalesce(?4, maximum_attempts)
            WHERE id = ?1 AND state NOT IN ('executing', 'completed')
            """,
            [
                .id(id), .json(edit.payload?.text), .int(edit.priority.map { Int64($0.rawValue) }),
                .int(edit.maximumAttempts.map { Int64($0) }),
            ])
    }
}
