import Accounts
import Domain
import Queue

/// A schedule was changed, fired or deleted at the same time; nothing was stored.
public struct ScheduleMoved: Error, Hashable, Sendable {
    public init() {}
}

/// A schedule whose time has come.
public struct DueSchedule: Hashable, Sendable {
    public let tenant: TenantID
    public let schedule: ScheduleID
    public let time: Timestamp

    public init(tenant: TenantID, schedule: ScheduleID, time: Timestamp) {
        self.tenant = tenant
        self.schedule = schedule
        self.time = time
    }
}

/// Holds schedules and their firings.
///
/// Every call is atomic, and sees one tenant only. A firing's time is stored once, whoever tries: those who fire a schedule
/// move its version on, and the others have come too late.
public protocol ScheduleStore: Sendable {
    /// - Throws: `Problem` with `invalid_request` when the tenant has `Schedule.maximumPerTenant`.
    func add(tenant: TenantID, _ schedule: Schedule, audit: AuditEntry) async throws

    func schedule(tenant: TenantID, _ id: ScheduleID) async throws -> Schedule?

    /// Newest first.
    func schedules(tenant: TenantID, page: PageRequest) async throws -> Page<Schedule>

    /// Stores a schedule in the place of the one with its version, which moves on.
    ///
    /// - Throws: `ScheduleMoved`.
    func change(tenant: TenantID, _ schedule: Schedule, audit: AuditEntry) async throws

    /// Deletes a schedule and its firings; the runs that they made stay.
    ///
    /// - Throws: `Problem` with `not_found`.
    func delete(tenant: TenantID, _ id: ScheduleID, audit: AuditEntry) async throws

    /// Schedules of all tenants whose time has come, by the database's clock, those that wait longest first.
    ///
    /// - Parameter last: only what comes after it.
    func due(after last: DueSchedule?, limit: Int) async throws -> [DueSchedule]

    /// Stores firings and the jobs that carry them out, and when the schedule fires next.
    ///
    /// - Parameter schedule: as it was read; its version moves on.
    /// - Throws: `ScheduleMoved`.
    func fire(
        tenant: TenantID, _ schedule: Schedule, _ firings: [ScheduleFiring], jobs: [NewJob], next: Timestamp?
    ) async throws

    /// Stores a firing that somebody asked for, and its job.
    func fire(tenant: TenantID, _ firing: ScheduleFiring, job: NewJob, audit: AuditEntry) async throws

    func firing(tenant: TenantID, _ id: FiringID) async throws -> ScheduleFiring?

    /// Newest first.
    func firings(tenant: TenantID, of schedule: ScheduleID, page: PageRequest) async throws -> Page<ScheduleFiring>

    /// Ends a pending firing together with its job.
    ///
    /// - Throws: `FenceLost` when the job is no longer the lease's.
    func settle(_ lease: JobLease, _ firing: FiringID, as outcome: ScheduleFiring.Outcome, error: String?) async throws

    /// Ends a pending firing whose job is given up.
    func fail(tenant: TenantID, _ firing: FiringID, error: String) async throws
}
