import Accounts
import Agents
import Automation
import Domain
import Foundation
import Queue
import Storage
import TestSupport
import Testing

/// What `ScheduleStore` promises, on every engine.
@Suite("ScheduleStore")
struct ScheduleStoreConformanceTests {
    /// A stored schedule that has been due for so long; a paused one when `nil`.
    private func add(
        _ database: TestDatabase, _ principal: Principal, dueFor time: Duration? = .seconds(60)
    ) async throws -> Schedule {
        let now = database.ambient.now()
        let schedule = Schedule(
            id: ScheduleID(database.ambient.makeID()), principal: principal, name: "Tidy up",
            recurrence: try Recurrence(cron: "0 * * * *", zone: "Europe/Berlin"), missed: .all,
            request: RunRequest(prompt: "Tidy up", model: "test/model", tools: ["calculator"], timeout: .seconds(60)),
            pausedAt: time == nil ? now : nil, nextAt: time.map { now.adding(.zero - $0) }, createdAt: now, updatedAt: now)
        let note = AuditEntry.test(.scheduleCreated, in: principal.tenant)
        try await database.schedules.add(tenant: principal.tenant, schedule, audit: note)
        return schedule
    }

    private func firing(
        of schedule: Schedule, at time: Timestamp? = nil, _ cause: ScheduleFiring.Cause = .time,
        _ outcome: ScheduleFiring.Outcome = .pending
    ) -> ScheduleFiring {
        ScheduleFiring(
            id: FiringID(Ambient.system.makeID()), schedule: schedule.id, time: time ?? schedule.createdAt, cause: cause,
            outcome: outcome, createdAt: schedule.createdAt)
    }

    private func job(of firing: ScheduleFiring) -> NewJob {
        NewJob(
            id: JobID(Ambient.system.makeID()), kind: ScheduleHandler.kind, subject: firing.schedule.uuid, maximumAttempts: 3,
            payload: ["firingId": .string("\(firing.id)")])
    }

    /// A stored firing, and the lease of its job.
    private func fired(
        _ database: TestDatabase, _ principal: Principal
    ) async throws -> (schedule: Schedule, firing: ScheduleFiring, lease: JobLease) {
        let schedule = try await add(database, principal)
        let firing = firing(of: schedule)
        try await database.schedules.fire(tenant: principal.tenant, schedule, [firing], jobs: [job(of: firing)], next: nil)
        return (schedule, firing, try #require(try await database.jobs.claim(ScheduleHandler.kind).first))
    }

    private func firings(_ database: TestDatabase, _ tenant: TenantID, of schedule: Schedule) async throws -> [ScheduleFiring] {
        try await database.schedules.firings(tenant: tenant, of: schedule.id, page: PageRequest(limit: 100)).items
    }

    private func audit(_ database: TestDatabase, _ tenant: TenantID) async throws -> [AuditAction] {
        let rows = try await database.audit.entries(
            tenant: tenant, AuditFilter(), page: PageRequest(limit: 100), reading: .test(.auditRead, in: tenant))
        return rows.items.map(\.action).filter { $0 != .auditRead }
    }

    @Test("a schedule is read as it was stored, and pages list every one once, newest first", arguments: TestEngine.allCases)
    func reading(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal(scopes: ["runs:*", "knowledge:read"])
            let tenant = principal.tenant
            var added: [Schedule] = []
            for time: Duration? in [.seconds(60), nil, .seconds(-60)] {
                added.append(try await add(database, principal, dueFor: time))
            }
            for schedule in added { #expect(try await database.schedules.schedule(tenant: tenant, schedule.id) == schedule) }
            let first = try await database.schedules.schedules(tenant: tenant, page: PageRequest(limit: 2))
            let second = try await database.schedules.schedules(tenant: tenant, page: PageRequest(limit: 2, cursor: first.next))
            #expect(first.items + second.items == added.reversed())
            #expect(first.items.count == 2 && second.next == nil)
            #expect(try await audit(database, tenant) == Array(repeating: .scheduleCreated, count: 3))
        }
    }

    @Test("a tenant has so many schedules and no more, whatever others have", arguments: TestEngine.allCases)
    func limit(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let schedule = try await add(database, principal)
            let columns = """
                user_id, scopes, name, cron, time_zone, missed, request, version, paused_at, next_at, created_at, updated_at
                """
            let copies = (1..<Schedule.maximumPerTenant).map { _ in
                SQLStatement(
                    """
                    INSERT INTO schedules (tenant_id, id, \(columns))
                    SELECT tenant_id, ?3, \(columns) FROM schedules WHERE tenant_id = ?1 AND id = ?2
                    """,
                    [.id(principal.tenant), .id(schedule.id), .uuid(database.ambient.makeID())])
            }
            _ = try await database.engine.write(Batch(.tenant(principal.tenant), copies))
            let full = await #expect(throws: Problem.self) { try await add(database, principal) }
            #expect(full?.code == .invalidRequest)
            #expect(try await audit(database, principal.tenant) == [.scheduleCreated], "what is refused is not noted")
            _ = try await add(database, try await database.makePrincipal())
            try await database.schedules.delete(
                tenant: principal.tenant, schedule.id, audit: .test(.scheduleDeleted, in: principal.tenant))
            _ = try await add(database, principal)
        }
    }

    @Test("a change moves the version, and one of an older version is not stored", arguments: TestEngine.allCases)
    func change(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let schedule = try await add(database, principal)
            let other = try await database.makePrincipal()
            var changed = schedule
            changed.principal = Principal(tenant: principal.tenant, user: other.user, scopes: ["runs:*", "knowledge:read"])
            (changed.name, changed.missed, changed.request) = ("Other", .skip, RunRequest(prompt: "Other"))
            changed.recurrence = try Recurrence(cron: "@weekly", zone: "UTC")
            let later = schedule.updatedAt.adding(.seconds(1))
            (changed.pausedAt, changed.nextAt, changed.updatedAt) = (later, nil, later)
            let note = AuditEntry.test(.scheduleChanged, in: principal.tenant)
            try await database.schedules.change(tenant: principal.tenant, changed, audit: note)
            changed.version = 2
            #expect(try await database.schedules.schedule(tenant: principal.tenant, schedule.id) == changed)
            await #expect(throws: ScheduleMoved.self) {
                try await database.schedules.change(
                    tenant: principal.tenant, schedule, audit: .test(.scheduleChanged, in: principal.tenant))
            }
            #expect(try await database.schedules.schedule(tenant: principal.tenant, schedule.id) == changed)
            #expect(try await audit(database, principal.tenant) == [.scheduleChanged, .scheduleCreated])
        }
    }

    @Test("with a schedule its firings go, and the runs that they made stay", arguments: TestEngine.allCases)
    func delete(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (schedule, firing, _) = try await fired(database, principal)
            let kept = try await add(database, principal)
            try await database.schedules.fire(tenant: principal.tenant, kept, [self.firing(of: kept)], jobs: [], next: nil)
            _ = try await database.runs.create(tenant: principal.tenant, database.newRun(principal, id: firing.run))
            let note = AuditEntry.test(.scheduleDeleted, in: principal.tenant)
            try await database.schedules.delete(tenant: principal.tenant, schedule.id, audit: note)
            #expect(try await database.schedules.schedule(tenant: principal.tenant, schedule.id) == nil)
            #expect(try await database.schedules.firing(tenant: principal.tenant, firing.id) == nil)
            #expect(try await database.runs.run(tenant: principal.tenant, firing.run) != nil)
            #expect(try await firings(database, principal.tenant, of: kept).count == 1)
            await #expect(throws: Problem.notFound("schedule")) {
                try await database.schedules.delete(
                    tenant: principal.tenant, schedule.id, audit: .test(.scheduleDeleted, in: principal.tenant))
            }
            let notes = try await audit(database, principal.tenant)
            #expect(notes.count { $0 == .scheduleDeleted } == 1)
        }
    }

    @Test("nothing of one tenant is seen, changed or fired from another", arguments: TestEngine.allCases)
    func tenancy(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let owner = try await database.makePrincipal()
            let there = try await database.makePrincipal().tenant
            let (schedule, firing, _) = try await fired(database, owner)
            let before = try await database.schedules.schedule(tenant: owner.tenant, schedule.id)
            let store = database.schedules
            #expect(try await store.schedule(tenant: there, schedule.id) == nil)
            #expect(try await store.schedules(tenant: there, page: PageRequest()).items.isEmpty)
            #expect(try await store.firing(tenant: there, firing.id) == nil)
            #expect(try await firings(database, there, of: schedule).isEmpty)
            let moved = try #require(before)
            await #expect(throws: ScheduleMoved.self) {
                try await store.change(tenant: there, moved, audit: .test(.scheduleChanged, in: there))
            }
            await #expect(throws: ScheduleMoved.self) {
                try await store.fire(tenant: there, moved, [self.firing(of: schedule)], jobs: [], next: nil)
            }
            await #expect(throws: Problem.notFound("schedule")) {
                let asked = self.firing(of: schedule, .manual)
                try await store.fire(tenant: there, asked, job: job(of: asked), audit: .test(.scheduleRun, in: there))
            }
            await #expect(throws: Problem.notFound("schedule")) {
                try await store.delete(tenant: there, schedule.id, audit: .test(.scheduleDeleted, in: there))
            }
            try await store.fail(tenant: there, firing.id, error: "theirs")
            #expect(try await store.schedule(tenant: owner.tenant, schedule.id) == before)
            #expect(try await firings(database, owner.tenant, of: schedule) == [firing])
            #expect(try await database.jobs.claim(ScheduleHandler.kind).isEmpty)
            #expect(try await audit(database, there).isEmpty)
        }
    }

    @Test("due is what has a time that has come, of every tenant, the longest waiting first", arguments: TestEngine.allCases)
    func due(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let (one, other) = (try await database.makePrincipal(), try await database.makePrincipal())
            let young = try await add(database, one, dueFor: .seconds(60))
            _ = try await add(database, one, dueFor: nil)
            let old = try await add(database, other, dueFor: .seconds(600))
            _ = try await add(database, other, dueFor: .seconds(-600))
            let due = try await database.schedules.due(limit: 10)
            #expect(due.map(\.schedule) == [old.id, young.id])
            #expect(due.map(\.tenant) == [other.tenant, one.tenant])
            #expect(try await database.schedules.due(limit: 1).map(\.schedule) == [old.id])
        }
    }

    @Test("firings, their jobs and the next time are stored together or not at all", arguments: TestEngine.allCases)
    func fire(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let schedule = try await add(database, principal)
            let next = schedule.createdAt.adding(.seconds(3600))
            let missed = firing(of: schedule, at: schedule.createdAt.adding(.seconds(-60)), .time, .skipped)
            let pending = firing(of: schedule)
            let foreign = ScheduleFiring(
                id: FiringID(database.ambient.makeID()), schedule: ScheduleID(database.ambient.makeID()), time: next,
                cause: .time, outcome: .pending, createdAt: next)
            await #expect(throws: StorageError.foreignKeyViolation) {
                try await database.schedules.fire(
                    tenant: principal.tenant, schedule, [pending, foreign], jobs: [job(of: pending)], next: next)
            }
            #expect(try await database.schedules.schedule(tenant: principal.tenant, schedule.id) == schedule)
            #expect(try await firings(database, principal.tenant, of: schedule).isEmpty)
            try await database.schedules.fire(
                tenant: principal.tenant, schedule, [missed, pending], jobs: [job(of: pending)], next: next)
            let after = try #require(try await database.schedules.schedule(tenant: principal.tenant, schedule.id))
            #expect(after.version == 2 && after.nextAt == next)
            #expect(try await Set(firings(database, principal.tenant, of: schedule)) == [missed, pending])
            #expect(try await database.schedules.firing(tenant: principal.tenant, pending.id) == pending)
            #expect(try await database.schedules.due(limit: 10).isEmpty)
            let leases = try await database.jobs.claim(ScheduleHandler.kind)
            #expect(leases.map(\.payload) == [["firingId": .string("\(pending.id)")]])
        }
    }

    @Test("of many who fire one version at once one does, and the others come too late", arguments: TestEngine.allCases)
    func concurrentFires(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let schedule = try await add(database, principal)
            let fired = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 1...10 {
                    // Each at a time of its own: it is the version that keeps them apart.
                    let firing = firing(of: schedule, at: schedule.createdAt.adding(.seconds(number)))
                    let job = job(of: firing)
                    group.addTask {
                        do {
                            try await database.schedules.fire(
                                tenant: principal.tenant, schedule, [firing], jobs: [job], next: nil)
                            return true
                        } catch is ScheduleMoved {
                            return false
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(fired.count == 10 && fired.count { $0 } == 1)
            #expect(try await firings(database, principal.tenant, of: schedule).count == 1)
            #expect(try await database.jobs.claim(ScheduleHandler.kind, limit: 20).count == 1)
            #expect(try await database.schedules.schedule(tenant: principal.tenant, schedule.id)?.version == 2)
        }
    }

    @Test("a time that a clock brings back is not fired again, and one that is asked for is", arguments: TestEngine.allCases)
    func sameTime(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (schedule, first, _) = try await fired(database, principal)
            let now = try #require(try await database.schedules.schedule(tenant: principal.tenant, schedule.id))
            let again = firing(of: schedule, at: first.time)
            try await database.schedules.fire(tenant: principal.tenant, now, [again], jobs: [job(of: again)], next: nil)
            #expect(try await firings(database, principal.tenant, of: schedule) == [first])
            let asked = firing(of: schedule, at: first.time, .manual)
            try await database.schedules.fire(
                tenant: principal.tenant, asked, job: job(of: asked), audit: .test(.scheduleRun, in: principal.tenant))
            #expect(try await firings(database, principal.tenant, of: schedule) == [asked, first], "newest first")
            let after = try await database.schedules.schedule(tenant: principal.tenant, schedule.id)
            #expect(after?.version == 3, "what is asked for leaves the schedule alone")
            #expect(try await audit(database, principal.tenant) == [.scheduleRun, .scheduleCreated])
        }
    }

    @Test("a firing ends with its job under the lease, and not under one that has passed on", arguments: TestEngine.allCases)
    func settle(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (_, firing, lease) = try await fired(database, principal)
            #expect(try await database.jobs.rescue(all: true) == 1)
            let next = try #require(try await database.jobs.claim(ScheduleHandler.kind).first)
            await #expect(throws: FenceLost.self) {
                try await database.schedules.settle(lease, firing.id, as: .failed, error: "late")
            }
            #expect(try await database.schedules.firing(tenant: principal.tenant, firing.id) == firing)
            try await database.schedules.settle(next, firing.id, as: .started, error: nil)
            #expect(try await database.schedules.firing(tenant: principal.tenant, firing.id)?.outcome == .started)
            #expect(try await database.jobs.depths().isEmpty)
            await #expect(throws: FenceLost.self, "the job is done") {
                try await database.schedules.settle(next, firing.id, as: .failed, error: "again")
            }
            #expect(try await database.schedules.firing(tenant: principal.tenant, firing.id)?.outcome == .started)
        }
    }

    @Test("only a firing that is pending can fail for good", arguments: TestEngine.allCases)
    func fail(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (_, firing, lease) = try await fired(database, principal)
            try await database.schedules.fail(tenant: principal.tenant, firing.id, error: "given up")
            let failed = try await database.schedules.firing(tenant: principal.tenant, firing.id)
            #expect(failed?.outcome == .failed && failed?.error == "given up")
            // Its job goes on for a moment: what it comes to is no longer of interest.
            try await database.schedules.settle(lease, firing.id, as: .started, error: nil)
            try await database.schedules.fail(tenant: principal.tenant, firing.id, error: "once more")
            #expect(try await database.schedules.firing(tenant: principal.tenant, firing.id) == failed)
        }
    }
}
