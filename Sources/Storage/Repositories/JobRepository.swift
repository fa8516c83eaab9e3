import Domain
import Foundation
import Queue

/// Jobs in the `jobs` table.
public struct JobRepository: JobStore {
    let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    // MARK: Claiming

    static let leaseColumns = "id, tenant_id, kind, subject, payload, attempt, maximum_attempts, token, start_tag"

    static func lease(_ row: SQLRow) -> JobLease {
        JobLease(
            job: row.id(0), tenant: row.id(1), kind: JobKind(rawValue: row.text(2)), subject: row.uuid(3),
            payload: row.json(4), attempt: Int(row.int(5)), maximumAttempts: Int(row.int(6)), token: row.int(7),
            startTag: row.int(8))
    }

    /// What a claim changes; `?3` is the lease in microseconds, `?4` the worker.
    static let claimChanges = """
        state = 'executing', attempt = attempt + 1, token = token + 1, started_at = current_micros(),
        lease_until = current_micros() + ?3, worker = ?4
        """

    /// Whether the queue `?1` is open.
    static let isOpen = "(SELECT paused_at FROM job_queues WHERE kind = ?1) IS NULL"

    /// Whether the queue `?1` bounds how many jobs of a tenant are at work.
    static let isBounded = """
        ((SELECT tenant_concurrency FROM job_queues WHERE kind = ?1) IS NOT NULL
            OR (SELECT 1 FROM job_shares WHERE kind = ?1 AND concurrency IS NOT NULL LIMIT 1) IS NOT NULL)
        """

    /// The tenants that have jobs waiting in the queue `?1`, each found by one step in an index; ends with a null.
    static let waitingTenants = """
        WITH RECURSIVE waiting (tenant_id) AS (
            SELECT (SELECT tenant_id FROM jobs WHERE kind = ?1 AND state = 'available' ORDER BY tenant_id LIMIT 1)
            UNION ALL
            SELECT (
                SELECT tenant_id FROM jobs WHERE kind = ?1 AND state = 'available' AND tenant_id > waiting.tenant_id
                ORDER BY tenant_id LIMIT 1
            ) FROM waiting WHERE waiting.tenant_id IS NOT NULL
        )
        """

    /// How many more jobs of `waiting.tenant_id` may be claimed from the queue `?1`, of at most `?2`.
    static let allowance = """
        coalesce(
            (SELECT concurrency FROM job_shares WHERE kind = ?1 AND tenant_id = waiting.tenant_id),
            (SELECT tenant_concurrency FROM job_queues WHERE kind = ?1), ?2
        ) - (
            SELECT count(*) FROM jobs e
            WHERE e.tenant_id = waiting.tenant_id AND e.kind = ?1 AND e.state = 'executing'
        )
        """

    public func claim(_ claims: [JobClaim], lease: Duration, worker: String) async throws -> [JobLease] {
        let claims = claims.filter { $0.limit > 0 }.sorted { $0.kind.rawValue < $1.kind.rawValue }
        guard !claims.isEmpty else { return [] }
        var statements: [SQLStatement] = []
        var places: [Int] = []
        for claim in claims {
            let kind = SQLValue.text(claim.kind.rawValue)
            if let time = claim.virtualTime {
                statements.append(
                    SQLStatement(
                        "UPDATE job_queues SET virtual_time = ?2 WHERE kind = ?1 AND virtual_time < ?2", [kind, .int(time)]))
            }
            let arguments = [kind, .int(claim.limit), .int(lease.microseconds), .text(worker)]
            let claimed = SQLStatement(engine.dialect.claimJobs, arguments + [.int(claim.floor ?? 0)])
            if claim.isBrief {
                places.append(statements.count)
                statements.append(claimed)
                continue
            }
            statements.append(Self.stage(claim.kind))
            if let lock = engine.dialect.lockBoundedQueue { statements.append(SQLStatement(lock, [kind])) }
            places += [statements.count, statements.count + 1]
            statements += [claimed, SQLStatement(engine.dialect.claimBoundedJobs, arguments)]
        }
        let answers = try await engine.write(Batch(.system, statements))
        let leases: [JobLease] = places.flatMap { place in answers[place].rows.map(Self.lease) }
        return leases.sorted { left, right in
            left.startTag == right.startTag ? left.job.uuid < right.job.uuid : left.startTag < right.startTag
        }
    }

    // MARK: Leases

    /// Whether a job is at work, for statements that find it by its id or subject. Put like this it keeps PostgreSQL from
    /// going by the index of all that is at work, where what has ended lies dead while some transaction stays open.
    static let isExecuting = "state IN ('executing', '')"

    /// Changes the jobs that leases hold, each found by its id. Of two leases of a job only the newer can hold it.
    private func each(_ leases: [JobLease], set: String, _ arguments: [SQLValue] = []) -> SQLStatement {
        let newest = Dictionary(leases.map { ($0.job, $0) }) { $0.token > $1.token ? $0 : $1 }.values
        let held = Bucket(rows: newest.map { [.id($0.job), .int($0.token)] }, after: arguments.count)
        return SQLStatement(
            "UPDATE jobs SET \(set) \(engine.dialect.whereHeld(held.places)) RETURNING id, token", arguments + held.arguments)
    }

    private static func met(_ leases: [JobLease], _ answers: [ResultSet]) -> Set<JobLease> {
        let met = Set(answers[0].rows.map { "\($0.id(0) as JobID) \($0.int(1))" })
        return Set(leases.filter { met.contains("\($0.job) \($0.token)") })
    }

    public func renew(_ leases: [JobLease], lease: Duration) async throws -> Set<JobLease> {
        guard !leases.isEmpty else { return [] }
        let renewal = each(leases, set: "lease_until = current_micros() + ?1", [.int(lease.microseconds)])
        return Self.met(leases, try await engine.write(Batch(.upkeep, [renewal], isRepeatable: true)))
    }

    private static let completed = """
        state = 'completed', finished_at = current_micros(), lease_until = NULL, worker = NULL
        """

    public func complete(_ leases: [JobLease]) async throws -> Set<JobLease> {
        guard !leases.isEmpty else { return [] }
        return Self.met(leases, try await engine.write(Batch(.system, [each(leases, set: Self.completed)])))
    }

    /// A job that a lease holds; `?1` to `?4` are its `place`.
    private static let held = "tenant_id = ?1 AND subject = ?2 AND id = ?3 AND token = ?4 AND \(isExecuting)"

    private static func place(of lease: JobLease) -> [SQLValue] {
        [.id(lease.tenant), .uuid(lease.subject), .id(lease.job), .int(lease.token)]
    }

    /// The statement that completes a leased job, for the batch of whoever did it.
    static func completion(of lease: JobLease) -> SQLStatement {
        SQLStatement(
            "UPDATE jobs SET \(completed) WHERE \(held)", place(of: lease), expect: .rows(1, otherwise: FenceLost()))
    }

    public func fail(_ lease: JobLease, error: String, delay: Duration) async throws {
        let machine = JobStateMachine(state: .executing, attempt: lease.attempt, maximumAttempts: lease.maximumAttempts)
        let state = machine.after(.fail)?.state ?? .discarded
        let time = state.isFinal ? "finished_at = current_micros()" : "run_at = current_micros() + ?6"
        try await move(
            lease, "state = ?5, \(time), last_error = ?7",
            [.text(state.rawValue), .int(delay.microseconds), .text(String(error.prefix(Self.maximumErrorCharacters)))])
    }

    private static let maximumErrorCharacters = 4000

    /// Back to the place it had.
    public func release(_ lease: JobLease) async throws {
        try await move(lease, "state = 'available', attempt = attempt - 1, run_at = current_micros()", [])
    }

    private func move(
        _ lease: JobLease, _ changes: String, _ arguments: [SQLValue], function: StaticString = #function
    ) async throws {
        let move = SQLStatement(
            "UPDATE jobs SET \(changes), lease_until = NULL, worker = NULL WHERE \(Self.held)",
            Self.place(of: lease) + arguments, expect: .rows(1, otherwise: FenceLost()))
        _ = try await engine.write(Batch(.tenant(lease.tenant), [move], function: function))
    }

    public func rescue(all: Bool) async throws -> Int {
        let rescue = SQLStatement(
            """
            UPDATE jobs SET state = 'available', run_at = current_micros(), lease_until = NULL, worker = NULL, token = token + 1
            WHERE state = 'executing' AND (lease_until < current_micros() OR ?1)
            """,
            [.bool(all)])
        return try await engine.write(Batch(.upkeep, [rescue], isRepeatable: true))[0].changes
    }

    // MARK: Counting

    /// Each by the index of its states, whose conditions are its own.
    static let depths = [
        "state = 'available'", "state IN ('scheduled', 'retryable')", "state = 'executing'",
        "state IN ('discarded', 'cancelled') AND state = 'discarded'",
    ].map { states in
        SQLStatement(
            """
            SELECT kind, state, count(*), min(\(states.contains("executing") ? "started_at" : "run_at")) FROM jobs
            WHERE \(states) GROUP BY kind, state
            """)
    }

    static func depth(_ row: SQLRow) -> QueueDepth {
        QueueDepth(kind: JobKind(rawValue: row.text(0)), state: row.value(1), count: Int(row.int(2)), oldest: row.time(3))
    }

    public func depths() async throws -> [QueueDepth] {
        try await engine.read(Batch(.system, Self.depths.dropLast())).flatMap(\.rows).map(Self.depth)
    }
}
