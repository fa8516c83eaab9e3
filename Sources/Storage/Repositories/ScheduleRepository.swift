import Accounts
import Agents
import Automation
import Domain
import Queue

/// Schedules and their firings.
public struct ScheduleRepository: ScheduleStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    // MARK: Schedules

    private static let columns = """
        id, tenant_id, user_id, scopes, name, cron, time_zone, missed, request, version, paused_at, next_at, created_at, updated_at
        """

    private static func schedule(_ row: SQLRow) throws -> Schedule {
        Schedule(
            id: row.id(0),
            principal: Principal(
                tenant: row.id(1), user: row.id(2), scopes: row.text(3).split(separator: " ").map(String.init)),
            name: row.text(4), recurrence: try Recurrence(cron: row.text(5), zone: row.text(6)), missed: row.value(7),
            request: RunRequest(json: row.json(8)), version: row.int(9), pausedAt: row.optionalTime(10),
            nextAt: row.optionalTime(11), createdAt: row.time(12), updatedAt: row.time(13))
    }

    /// Tenant, id, and what of a schedule may change: `?3` to `?12`.
    private static func values(_ tenant: TenantID, _ schedule: Schedule) -> [SQLValue] {
        [
            .id(tenant), .id(schedule.id), .id(schedule.principal.user),
            .text(schedule.principal.scopes.joined(separator: " ")), .text(schedule.name), .text(schedule.recurrence.cron.text),
            .text(schedule.recurrence.zoneName), .text(schedule.missed.rawValue), .json(schedule.request.json.text),
            .int(schedule.pausedAt?.microseconds), .int(schedule.nextAt?.microseconds), .time(schedule.updatedAt),
        ]
    }

    public func add(tenant: TenantID, _ schedule: Schedule, audit: AuditEntry) async throws {
        let full = Problem(
            .invalidRequest, "The tenant has \(Schedule.maximumPerTenant) schedules already. Delete one that is not needed.")
        let insert = SQLStatement(
            """
            INSERT INTO schedules (
                tenant_id, id, user_id, scopes, name, cron, time_zone, missed, request, paused_at, next_at, updated_at, version,
                created_at
            )
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14
            WHERE (SELECT count(*) FROM schedules WHERE tenant_id = ?1) < ?15
            """,
            Self.values(tenant, schedule) + [
                .int(schedule.version), .time(schedule.createdAt), .int(Schedule.maximumPerTenant),
            ],
            expect: .rows(1, otherwise: full))
        _ = try await engine.write(Batch(.tenant(tenant), [insert, audit.insert]))
    }

    public func schedule(tenant: TenantID, _ id: ScheduleID) async throws -> Schedule? {
        let select = SQLStatement(
            "SELECT \(Self.columns) FROM schedules WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.first.map(Self.schedule)
    }

    public func schedules(tenant: TenantID, page: PageRequest) async throws -> Page<Schedule> {
        let select = SQLStatement.page(of: "schedules", columns: Self.columns, tenant, page)
        let rows = try await engine.read(Batch(.tenant(tenant), [select]))[0].rows
        return Page(fetched: try rows.map(Self.schedule), limit: page.limit) { $0.id.uuid }
    }

    public func change(tenant: TenantID, _ schedule: Schedule, audit: AuditEntry) async throws {
        let change = SQLStatement(
            """
            UPDATE schedules SET
                user_id = ?3, scopes = ?4, name = ?5, cron = ?6, time_zone = ?7, missed = ?8, request = ?9, paused_at = ?10,
                next_at = ?11, updated_at = ?12, version = version + 1
            WHERE tenant_id = ?1 AND id = ?2 AND version = ?13
            """,
            Self.values(tenant, schedule) + [.int(schedule.version)], expect: .rows(1, otherwise: ScheduleMoved()))
        _ = try await engine.write(Batch(.tenant(tenant), [change, audit.insert]))
    }

    public func delete(tenant: TenantID, _ id: ScheduleID, audit: AuditEntry) async throws {
        let delete = SQLStatement(
            "DELETE FROM schedules WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)],
            expect: .rows(1, otherwise: Problem.notFound("schedule")))
        _ = try await engine.write(Batch(.tenant(tenant), [delete, audit.insert]))
    }

    // MARK: Firing

    public func due(after last: DueSchedule?, limit: Int) async throws -> [DueSchedule] {
        let place: [SQLValue] = last.map { [.time($0.time), .id($0.tenant), .id($0.schedule)] } ?? []
        let select = SQLStatement(
            """
            SELECT tenant_id, id, next_at FROM schedules
            WHERE next_at IS NOT NULL AND next_at <= current_micros()
                \(last == nil ? "" : "AND (next_at, tenant_id, id) > (?2, ?3, ?4)")
            ORDER BY next_at, tenant_id, id LIMIT ?1
            """,
            [.int(limit)] + place)
        return try await engine.read(Batch(.system, [select]))[0].rows.map { row in
            DueSchedule(tenant: row.id(0), schedule: row.id(1), time: row.time(2))
        }
    }

    public func fire(
        tenant: TenantID, _ schedule: Schedule, _ firings: [ScheduleFiring], jobs: [NewJob], next: Timestamp?
    ) async throws {
        let move = SQLStatement(
            """
            UPDATE schedules SET next_at = ?4, version = version + 1 WHERE tenant_id = ?1 AND id = ?2 AND version = ?3
            """,
            [.id(tenant), .id(schedule.id), .int(schedule.version), .int(next?.microseconds)],
            expect: .rows(1, otherwise: ScheduleMoved()))
        _ = try await engine.write(
            Batch(
                .tenant(tenant),
                [move] + firings.map { Self.insert(tenant, $0) } + JobRepository.inserts(tenant: tenant, jobs),
                isRepeatable: true))
    }

    public func fire(tenant: TenantID, _ firing: ScheduleFiring, job: NewJob, audit: AuditEntry) async throws {
        let again = Problem(.overloaded, "The schedule was run at this very moment. Try again.", retryAfter: .seconds(1))
        do {
            _ = try await engine.write(
                Batch(
                    .tenant(tenant),
                    [Self.insert(tenant, firing, expect: .rows(1, otherwise: again))]
                        + JobRepository.inserts(tenant: tenant, [job]) + [audit.insert]))
        } catch StorageError.foreignKeyViolation {
            throw Problem.notFound("schedule")
        }
    }

    /// A time that a clock has brought back is not fired again: its job finds no firing.
    private static func insert(
        _ tenant: TenantID, _ firing: ScheduleFiring, expect expectation: SQLStatement.Expectation = .anyRows
    ) -> SQLStatement {
        SQLStatement(
            """
            INSERT INTO schedule_firings (tenant_id, id, schedule_id, fire_at, cause, outcome, error, created_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
            ON CONFLICT (tenant_id, schedule_id, fire_at, cause) DO NOTHING
            """,
            [
                .id(tenant), .id(firing.id), .id(firing.schedule), .time(firing.time), .text(firing.cause.rawValue),
                .text(firing.outcome.rawValue), .text(firing.error), .time(firing.createdAt),
            ], expect: expectation)
    }

    // MARK: Firings

    private static let firingColumns = "id, schedule_id, fire_at, cause, outcome, error, created_at"

    private static func firing(_ row: SQLRow) -> ScheduleFiring {
        ScheduleFiring(
            id: row.id(0), schedule: row.id(1), time: row.time(2), cause: row.value(3), outcome: row.value(4),
            error: row.optionalText(5), createdAt: row.time(6))
    }

    public func firing(tenant: TenantID, _ id: FiringID) async throws -> ScheduleFiring? {
        let select = SQLStatement(
            "SELECT \(Self.firingColumns) FROM schedule_firings WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.first.map(Self.firing)
    }

    public func firings(
        tenant: TenantID, of schedule: ScheduleID, page: PageRequest
    ) async throws -> Page<ScheduleFiring> {
        let select = SQLStatement.page(
            of: "schedule_firings", columns: Self.firingColumns, tenant, page, where: [("schedule_id", .id(schedule))])
        let rows = try await engine.read(Batch(.tenant(tenant), [select]))[0].rows
        return Page(fetched: rows.map(Self.firing), limit: page.limit) { $0.id.uuid }
    }

    private static func end(
        _ tenant: TenantID, _ firing: FiringID, as outcome: ScheduleFiring.Outcome, error: String?
    ) -> SQLStatement {
        SQLStatement(
            """
            UPDATE schedule_firings SET outcome = ?3, error = ?4 WHERE tenant_id = ?1 AND id = ?2 AND outcome = 'pending'
            """,
            [.id(tenant), .id(firing), .text(outcome.rawValue), .text(error)])
    }

    public func settle(
        _ lease: JobLease, _ firing: FiringID, as outcome: ScheduleFiring.Outcome, error: String?
    ) async throws {
        _ = try await engine.write(
            Batch(
                .tenant(lease.tenant),
                [JobRepository.completion(of: lease), Self.end(lease.tenant, firing, as: outcome, error: error)]))
    }

    public func fail(tenant: TenantID, _ firing: FiringID, error: String) async throws {
        _ = try await engine.write(
            Batch(.tenant(tenant), [Self.end(tenant, firing, as: .failed, error: error)], isRepeatable: true))
    }
}
