import Accounts
import Agents
import Domain
import Queue

/// What somebody wants of a schedule; what is absent stays as it is, or has its default.
public struct ScheduleChange: Sendable {
    public var name: String?
    public var cron: String?
    public var zone: String?
    public var missed: Schedule.Missed?
    public var request: RunRequest?
    public var isPaused: Bool?

    public init(
        name: String? = nil, cron: String? = nil, zone: String? = nil, missed: Schedule.Missed? = nil,
        request: RunRequest? = nil, isPaused: Bool? = nil
    ) {
        self.name = name
        self.cron = cron
        self.zone = zone
        self.missed = missed
        self.request = request
        self.isPaused = isPaused
    }

    /// Pausing and resuming makes nobody answer for what the runs do.
    var isAboutRuns: Bool { name != nil || cron != nil || zone != nil || missed != nil || request != nil }

    var names: [JSONValue] {
        let all: [(String, Bool)] = [
            ("name", name != nil), ("cron", cron != nil), ("timeZone", zone != nil), ("missed", missed != nil),
            ("run", request != nil), ("paused", isPaused != nil),
        ]
        return all.filter(\.1).map { .string($0.0) }
    }
}

/// Makes, changes and runs schedules.
public struct ScheduleService: Sendable {
    /// How often a change looks again when the schedule fired meanwhile.
    private static let maximumChangeTries = 10

    private let store: any ScheduleStore
    private let runs: RunService
    /// Notified when a job became available.
    private let available: Signal
    private let ambient: Ambient

    public init(store: any ScheduleStore, runs: RunService, available: Signal, ambient: Ambient = .system) {
        self.store = store
        self.runs = runs
        self.available = available
        self.ambient = ambient
    }

    /// - Throws: `Problem` with `invalid_request`, `unknown_model` or `unknown_tool`.
    public func create(
        _ principal: Principal, _ wanted: ScheduleChange, requester: Requester
    ) async throws -> Schedule {
        let now = ambient.now()
        let request = wanted.request ?? RunRequest(prompt: "")
        _ = try runs.options(of: request)
        let recurrence = try Recurrence(cron: wanted.cron ?? "", zone: wanted.zone ?? Schedule.defaultZone)
        let isPaused = wanted.isPaused ?? false
        let schedule = Schedule(
            id: ScheduleID(ambient.makeID()), principal: principal, name: wanted.name ?? "", recurrence: recurrence,
            missed: wanted.missed ?? .once, request: request, pausedAt: isPaused ? now : nil,
            nextAt: isPaused ? nil : recurrence.next(after: now), createdAt: now, updatedAt: now)
        try await store.add(
            tenant: principal.tenant, schedule, audit: entry(.scheduleCreated, schedule.id, principal, requester))
        return schedule
    }

    /// - Throws: `Problem` with `not_found`.
    public func schedule(_ principal: Principal, _ id: ScheduleID) async throws -> Schedule {
        guard let schedule = try await store.schedule(tenant: principal.tenant, id) else { throw Problem.notFound("schedule") }
        return schedule
    }

    /// Newest first.
    public func schedules(_ principal: Principal, page: PageRequest) async throws -> Page<Schedule> {
        try await store.schedules(tenant: principal.tenant, page: page)
    }

    /// Changes a schedule; its runs act as the principal from now on, unless it is only paused or resumed.
    ///
    /// - Throws: `Problem` with `not_found`, `invalid_request`, `unknown_model` or `unknown_tool`.
    public func change(
        _ principal: Principal, _ id: ScheduleID, _ change: ScheduleChange, requester: Requester
    ) async throws -> Schedule {
        for _ in 0..<Self.maximumChangeTries {
            var schedule = try await schedule(principal, id)
            guard change.isAboutRuns || change.isPaused != nil else { return schedule }
            try apply(change, to: &schedule, by: principal)
            do {
                let audit = entry(.scheduleChanged, id, principal, requester, ["changed": .array(change.names)])
                try await store.change(tenant: principal.tenant, schedule, audit: audit)
                schedule.version += 1
                return schedule
            } catch is ScheduleMoved {
                continue
            }
        }
        throw Problem(.overloaded, "The schedule keeps changing. Try again.", retryAfter: .seconds(1))
    }

    private func apply(_ change: ScheduleChange, to schedule: inout Schedule, by principal: Principal) throws {
        let now = ambient.now()
        if let name = change.name { schedule.name = name }
        if let missed = change.missed { schedule.missed = missed }
        if let request = change.request {
            _ = try runs.options(of: request)
            schedule.request = request
        }
        let before = schedule.recurrence
        schedule.recurrence = try Recurrence(
            cron: change.cron ?? before.cron.text, zone: change.zone ?? before.zoneName)
        let wasPaused = schedule.pausedAt != nil
        if let isPaused = change.isPaused, isPaused != wasPaused { schedule.pausedAt = isPaused ? now : nil }
        if schedule.pausedAt != nil {
            schedule.nextAt = nil
        } else if wasPaused || schedule.recurrence != before {
            // What was due under the old times, or while it was paused, is no time of the new ones.
            schedule.nextAt = schedule.recurrence.next(after: now)
        }
        if change.isAboutRuns { schedule.principal = principal }
        schedule.updatedAt = now
    }

    /// - Throws: `Problem` with `not_found`.
    public func delete(_ principal: Principal, _ id: ScheduleID, requester: Requester) async throws {
        try await store.delete(
            tenant: principal.tenant, id, audit: entry(.scheduleDeleted, id, principal, requester))
    }

    /// Runs a schedule now, also while it is paused; its times stay.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func run(_ principal: Principal, _ id: ScheduleID, requester: Requester) async throws -> ScheduleFiring {
        let schedule = try await schedule(principal, id)
        let firing = ScheduleFiring(of: schedule, at: ambient.now(), .manual, .pending, ambient)
        try await store.fire(
            tenant: principal.tenant, firing, job: firing.job(ambient),
            audit: entry(.scheduleRun, id, principal, requester, ["firingId": .string("\(firing.id)")]))
        available.notify()
        return firing
    }

    /// Newest first.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func firings(
        _ principal: Principal, of id: ScheduleID, page: PageRequest
    ) async throws -> Page<ScheduleFiring> {
        _ = try await schedule(principal, id)
        return try await store.firings(tenant: principal.tenant, of: id, page: page)
    }

    private func entry(
        _ action: AuditAction, _ id: ScheduleID, _ principal: Principal, _ requester: Requester, _ details: JSONValue = [:]
    ) -> AuditEntry {
        AuditEntry(
            id: AuditID(ambient.makeID()), tenant: principal.tenant, requester: requester, action: action,
            target: "schedule/\(id)", details: details, time: ambient.now())
    }
}
