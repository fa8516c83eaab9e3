import Domain
import Foundation
import Queue

/// Jobs in the `jobs` table.
public struct JobRepository: JobStore {
    private let engine: any SQLEngine
    private let ambient: Ambient

    public init(engine: any SQLEngine, ambient: Ambient = .system) {
        self.engine = engine
        self.ambient = ambient
    }

    static let leaseColumns = "id, tenant_id, kind, subject, attempt, maximum_attempts, token"

    static func lease(_ row: SQLRow) -> JobLease {
        JobLease(
            job: row.id(0), tenant: row.id(1), kind: JobKind(rawValue: row.text(2)), subject: row.uuid(3),
            attempt: Int(row.int(4)), maximumAttempts: Int(row.int(5)), token: row.int(6))
    }

    /// The statement that makes a job available, for the batch of whoever needs it done.
    static func insert(tenant: TenantID, _ job: NewJob, at time: Timestamp) -> SQLStatement {
        SQLStatement(
            """
            INSERT INTO jobs (
                id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, created_at
            ) VALUES (?1, ?2, ?3, ?4, 'available', 0, ?5, 0, ?6, ?6)
            ON CONFLICT (id) DO NOTHING
            """,
            [
                .id(job.id), .id(tenant), .text(job.kind.rawValue), .uuid(job.subject), .int(job.maximumAttempts),
                .time(time),
            ])
    }

    /// A job that a lease holds; `?1` to `?4` are its `place`.
    private static let held = "tenant_id = ?1 AND subject = ?2 AND id = ?3 AND token = ?4 AND state = 'executing'"

    private static func place(of lease: JobLease) -> [SQLValue] {
        [.id(lease.tenant), .uuid(lease.subject), .id(lease.job), .int(lease.token)]
    }

    /// The statement that completes a leased job, for the batch of whoever did it.
    static func completion(of lease: JobLease, at time: Timestamp) -> SQLStatement {
        SQLStatement(
            """
            UPDATE jobs SET state = 'completed', finished_at = ?5, lease_until = NULL WHERE \(held)
            """,
            place(of: lease) + [.time(time)], expect: .rows(1, otherwise: FenceLost()))
    }

    public func enqueue(tenant: TenantID, _ job: NewJob) async throws {
        let insert = Self.insert(tenant: tenant, job, at: ambient.now())
        _ = try await engine.write(Batch(.tenant(tenant), [insert], isRepeatable: true))
    }

    public func claim(kinds: [JobKind], limit: Int, lease: Duration) async throws -> [JobLease] {
        guard !kinds.isEmpty, limit > 0 else { return [] }
        let now = ambient.now()
        let answers = try await engine.write(
            Batch(
                .system,
                [
                    SQLStatement(
                        engine.dialect.claimJobs(kindCount: kinds.count),
                        [.time(now), .time(now.adding(lease)), .int(limit)] + kinds.map { .text($0.rawValue) })
                ]))
        return answers[0].rows.map(Self.lease).sorted { $0.job.uuid.uuidString < $1.job.uuid.uuidString }
    }

    public func renew(_ leases: [JobLease], lease: Duration) async throws -> Set<JobLease> {
        let until = ambient.now().adding(lease)
        let statements = leases.map { lease in
            SQLStatement(
                "UPDATE jobs SET lease_until = ?3 WHERE id = ?1 AND token = ?2 AND state = 'executing'",
                [.id(lease.job), .int(lease.token), .time(until)])
        }
        let answers = try await engine.write(Batch(.system, statements, isRepeatable: true))
        return Set(zip(leases, answers).filter { $1.changes == 1 }.map(\.0))
    }

    public func complete(_ lease: JobLease) async throws {
        _ = try await engine.write(Batch(.tenant(lease.tenant), [Self.completion(of: lease, at: ambient.now())]))
    }

    public func fail(_ lease: JobLease, error: String, delay: Duration) async throws {
        let machine = JobStateMachine(
            state: .executing, attempt: lease.attempt, maximumAttempts: lease.maximumAttempts)
        let state = machine.after(.fail)?.state ?? .discarded
        let now = ambient.now()
        try await move(
            lease, to: state, attempt: lease.attempt, runAt: now.adding(delay), error: error,
            finishedAt: state.isFinal ? now : nil)
    }

    public func release(_ lease: JobLease) async throws {
        try await move(
            lease, to: .available, attempt: lease.attempt - 1, runAt: ambient.now(), error: nil, finishedAt: nil)
    }

    private func move(
        _ lease: JobLease, to state: JobState, attempt: Int, runAt: Timestamp, error: String?, finishedAt: Timestamp?,
        function: StaticString = #function
    ) async throws {
        _ = try await engine.write(
            Batch(
                .tenant(lease.tenant),
                [
                    SQLStatement(
                        """
                        UPDATE jobs
                        SET state = ?5, attempt = ?6, run_at = ?7, last_error = ?8, finished_at = ?9, lease_until = NULL
                        WHERE \(Self.held)
                        """,
                        Self.place(of: lease) + [
                            .text(state.rawValue), .int(attempt), .time(runAt), .text(error), .int(finishedAt?.microseconds),
                        ],
                        expect: .rows(1, otherwise: FenceLost()))
                ],
                function: function))
    }

    public func rescue(all: Bool) async throws -> Int {
        let now = ambient.now()
        let answers = try await engine.write(
            Batch(
                .system,
                [
                    SQLStatement(
                        """
                        UPDATE jobs SET state = 'available', run_at = ?1, lease_until = NULL, token = token + 1
                        WHERE state = 'executing' AND (lease_until < ?1 OR ?2)
                        """,
                        [.time(now), .bool(all)])
                ],
                isRepeatable: true))
        return answers[0].changes
    }

    public func depths() async throws -> [QueueDepth] {
        let answers = try await engine.read(
            Batch(
                .system,
                [
                    SQLStatement(
                        """
                        SELECT kind, state, count(*) FROM jobs
                        WHERE state IN ('available', 'retryable') GROUP BY kind, state
                        """),
                    SQLStatement("SELECT kind, state, count(*) FROM jobs WHERE state = 'executing' GROUP BY kind, state"),
                ]))
        return answers.flatMap(\.rows).map { row in
            QueueDepth(kind: JobKind(rawValue: row.text(0)), state: row.value(1), count: Int(row.int(2)))
        }
    }
}
