import Domain
import Foundation
import Queue

/// Storing jobs, and giving them their place in the queue.
extension JobRepository {
    /// What one job of a tenant of weight 1 moves the tenant's next start tag by: divisible by small weights.
    private static let turn = 1_000_000

    /// Jobs that one statement stores.
    private static let maximumTogether = 500

    /// How far a queue has come: the highest start tag that was claimed, as it was noted last.
    ///
    /// Outside of the subquery `coalesce` would keep the bound out of the index: under row level security PostgreSQL takes it
    /// for something that may leak rows.
    private static func virtualTime(kind: String) -> String {
        "(SELECT coalesce(max(virtual_time), 0) FROM job_queues WHERE kind = \(kind))"
    }

    private static func step(kind: String, tenant: String) -> String {
        """
        (\(turn) / coalesce((SELECT weight FROM job_shares WHERE kind = \(kind) AND tenant_id = \(tenant)), 1))
        """
    }

    /// The start tag of a job that becomes available now, as SQL: a step behind the tenant's last that waits with this
    /// priority or a higher one, and else where the queue has come to. Jobs that are stored at the same time by
    /// transactions that do not see each other may get the same tag, which costs nobody more than their number.
    ///
    /// - Parameters:
    ///   - priority: of the job; `nil` where it is the number in the column `own`.
    private static func startTag(kind: String, tenant: String, priority: JobPriority?, own: String = "") -> String {
        let ahead = JobPriority.allCases.filter { $0.rawValue <= priority?.rawValue ?? .max }.map { one in
            """
            SELECT max(a.start_tag) AS tag FROM jobs a
            WHERE a.kind = \(kind) AND a.tenant_id = \(tenant) AND a.state = 'available' AND a.priority = \(one.rawValue)
                AND a.start_tag >= \(virtualTime(kind: kind))\(priority == nil ? " AND \(one.rawValue) <= \(own)" : "")
            """
        }
        return """
            coalesce(
                (SELECT max(ahead.tag) FROM (\(ahead.joined(separator: " UNION ALL "))) AS ahead)
                    + \(step(kind: kind, tenant: tenant)),
                \(virtualTime(kind: kind)))
            """
    }

    /// Holds only while a run's token does.
    struct RunFence {
        let run: RunID
        let token: Int64
        let lost: any Error
    }

    /// The statements that store jobs, for the batch of whoever needs them done.
    static func inserts(tenant: TenantID, _ jobs: [NewJob], fence: RunFence? = nil) -> [SQLStatement] {
        let groups = Dictionary(grouping: jobs) { [$0.kind.rawValue, $0.priority.name] }.values
        return jobs.compactMap { $0.uniqueness == nil ? nil : forgetOld($0, tenant: tenant) }
            + groups.flatMap { group in
                stride(from: 0, to: group.count, by: maximumTogether).map { start in
                    insert(tenant: tenant, Array(group[start..<min(start + maximumTogether, group.count)]), fence)
                }
            }
    }

    /// One that has ended, and whose window is over, keeps nobody away any more.
    private static func forgetOld(_ job: NewJob, tenant: TenantID) -> SQLStatement {
        SQLStatement(
            """
            UPDATE jobs SET unique_key = NULL
            WHERE tenant_id = ?1 AND kind = ?2 AND unique_key = ?3 AND unique_until <= current_micros()
                AND state IN (\(list(JobState.allCases.filter(\.isFinal))))
            """,
            [.id(tenant), .text(job.kind.rawValue), .text(job.uniqueness?.key)])
    }

    /// Jobs of one kind and priority. Those after the first come a step later each.
    private static func insert(tenant: TenantID, _ jobs: [NewJob], _ fence: RunFence?) -> SQLStatement {
        var arguments: [SQLValue] = [
            .id(tenant), .text(jobs[0].kind.rawValue), .int(jobs[0].priority.rawValue),
        ]
        func bind(_ value: SQLValue) -> String {
            arguments.append(value)
            return "?\(arguments.count)"
        }
        let rows = jobs.enumerated().map { place, job in
            let values: [SQLValue] = [
                .id(job.id), .uuid(job.subject), .json(job.payload.text), .int(job.maximumAttempts),
                .int(job.delay.microseconds), .text(job.uniqueness?.key), .int(job.uniqueness?.window.microseconds), .int(place),
            ]
            return "(\(values.map(bind).joined(separator: ", ")))"
        }
        var condition = "true"
        if let fence {
            condition = """
                EXISTS (
                    SELECT 1 FROM run_heads
                    WHERE tenant_id = ?1 AND run_id = \(bind(.id(fence.run))) AND token = \(bind(.int(fence.token)))
                )
                """
        }
        return SQLStatement(
            """
            INSERT INTO jobs (
                id, tenant_id, kind, subject, payload, state, priority, start_tag, attempt, maximum_attempts, token, run_at,
                unique_key, unique_until, created_at
            )
            SELECT n.column1, ?1, ?2, n.column2, n.column3, CASE WHEN n.column5 > 0 THEN 'scheduled' ELSE 'available' END, ?3,
                \(startTag(kind: "?2", tenant: "?1", priority: jobs[0].priority)) + n.column8 * \(step(kind: "?2", tenant: "?1")),
                0, n.column4, 0, current_micros() + n.column5, n.column6, current_micros() + n.column7, current_micros()
            FROM (VALUES \(rows.joined(separator: ", "))) AS n
            WHERE \(condition)
            ON CONFLICT DO NOTHING
            """,
            arguments, expect: fence.map { .rows(jobs.count, otherwise: $0.lost) } ?? .anyRows)
    }

    public func enqueue(tenant: TenantID, _ jobs: [NewJob]) async throws -> Set<JobID> {
        guard !jobs.isEmpty else { return [] }
        let inserts = Self.inserts(tenant: tenant, jobs)
        let answers = try await engine.write(Batch(.tenant(tenant), inserts, isRepeatable: true))
        let inserted = zip(inserts, answers).filter { $0.0.sql.hasPrefix("INSERT") }.reduce(0) { $0 + $1.1.changes }
        guard inserted < jobs.count else { return Set(jobs.map(\.id)) }
        // Unique ones keep others away; or an earlier try had stored them. Each is looked up by itself: in a join PostgreSQL
        // would read the whole of a table that was empty when it planned this.
        let lookups = stride(from: 0, to: jobs.count, by: Self.maximumTogether).map { start in
            let ids = Bucket(rows: jobs[start..<min(start + Self.maximumTogether, jobs.count)].map { [.id($0.id)] }, after: 1)
            return SQLStatement(
                """
                SELECT (SELECT id FROM jobs WHERE id = n.column1 AND tenant_id = ?1) FROM (VALUES \(ids.places)) AS n
                """,
                [.id(tenant)] + ids.arguments)
        }
        let rows = try await engine.read(Batch(.tenant(tenant), lookups)).flatMap(\.rows)
        return Set(rows.compactMap { $0.optionalUUID(0).map { JobID($0) } })
    }

    /// Makes jobs available whose time has come, with the place of one that comes now.
    static func stage(_ kind: JobKind) -> SQLStatement {
        let waiting = "('scheduled', 'retryable')"
        return SQLStatement(
            """
            UPDATE jobs SET state = 'available', run_at = current_micros(), start_tag = due.tag
            FROM (
                SELECT d.id, \(startTag(kind: "?1", tenant: "d.tenant_id", priority: nil, own: "d.priority"))
                    + (row_number() OVER (PARTITION BY d.tenant_id, d.priority ORDER BY d.run_at, d.id) - 1)
                    * \(step(kind: "?1", tenant: "d.tenant_id")) AS tag
                FROM (
                    SELECT id, tenant_id, priority, run_at FROM jobs
                    WHERE kind = ?1 AND state IN \(waiting) AND run_at <= current_micros()
                    ORDER BY run_at, id LIMIT \(maximumTogether)
                ) AS d
            ) AS due
            WHERE jobs.id = due.id AND jobs.kind = ?1 AND jobs.state IN \(waiting)
            """,
            [.text(kind.rawValue)])
    }

    /// The place of a job that is requeued now, as SQL over its own row.
    static let ownStartTag = startTag(
        kind: "jobs.kind", tenant: "jobs.tenant_id", priority: nil, own: "jobs.priority")

    static func list(_ states: [JobState]) -> String { states.map { "'\($0.rawValue)'" }.joined(separator: ", ") }
}

/// Rows of parameters for `VALUES`, filled up with nulls to one of few lengths: so there are few statements to prepare.
struct Bucket {
    private static let sizes = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]

    let arguments: [SQLValue]
    /// `(?n, ?n + 1), …`
    let places: String

    /// - Parameters:
    ///   - rows: one at least, of equally many values.
    ///   - offset: parameters before these.
    init(rows: [[SQLValue]], after offset: Int) {
        let size = Self.sizes.first { $0 >= rows.count } ?? rows.count
        let nothing = rows[0].map(\.null)
        arguments = rows.flatMap { $0 } + (rows.count..<size).flatMap { _ in nothing }
        let width = rows[0].count
        let places = (0..<size).map { row in
            "(\((1...width).map { "?\(offset + row * width + $0)" }.joined(separator: ", ")))"
        }
        self.places = places.joined(separator: ", ")
    }
}
