import Accounts
import Agents
import Automation
import Domain
import Foundation
import Queue
import Storage
import TestSupport
import Testing

@Suite("Scheduler")
struct SchedulerTests {
    @Test("a time is fired once, however many look at once, and makes one run", arguments: TestEngine.allCases)
    func once(engine: TestEngine) async throws {
        try await ScheduleBench.with(engine, isManual: false) { bench in
            // Due since the year began: by the real clock, which is that of every database.
            let now = Ambient.system.now()
            let recurrence = try Recurrence(cron: "@yearly", zone: "UTC")
            let newYear = try #require(recurrence.last(1, from: now.adding(.seconds(-400 * 86_400)), through: now).first)
            let schedule = Schedule(
                id: ScheduleID(Ambient.system.makeID()), principal: bench.principal, name: "Yearly", recurrence: recurrence,
                missed: .once, request: RunRequest(prompt: "Sum up"), nextAt: newYear, createdAt: newYear, updatedAt: newYear)
            try await bench.database.schedules.add(
                tenant: bench.tenant, schedule, audit: .test(.scheduleCreated, in: bench.tenant))
            let scheduler = bench.scheduler
            let fired = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 { group.addTask { try await scheduler.fireDue() } }
                return try await group.reduce(0, +)
            }
            #expect(fired == 1)
            #expect(try await scheduler.fireDue() == 0)
            try await bench.workAll()
            let firing = try #require(try await bench.firings(of: schedule).first)
            #expect(firing.time == newYear && firing.cause == .time && firing.outcome == .started && firing.error == nil)
            let runs = try await bench.allRuns()
            #expect(runs.map(\.id) == [firing.run])
            #expect(runs[0].prompt == "Sum up" && runs[0].principal == bench.principal && runs[0].status == .queued)
            #expect(try await bench.database.jobs.claim(RunExecutor.kind).map(\.subject) == [firing.run.uuid])
            #expect(try await bench.now(schedule).nextAt == recurrence.next(after: now))
        }
    }

    @Test(
        "of times that no server saw none, one or each makes a run, and all are noted",
        arguments: [
            (Schedule.Missed.skip, 30, [.skipped, .skipped, .started]), (.once, 30, [.skipped, .skipped, .started]),
            (.all, 30, [.started, .started, .started]), (.skip, 61, [.skipped, .skipped, .skipped]),
            (.once, 61, [.skipped, .skipped, .started]), (.all, 61, [.started, .started, .started]),
        ] as [(Schedule.Missed, Int, [ScheduleFiring.Outcome])])
    func missed(policy: Schedule.Missed, late seconds: Int, outcomes: [ScheduleFiring.Outcome]) async throws {
        try await ScheduleBench.with { bench in
            let start = bench.clock.now
            let schedule = try await bench.create(missed: policy)
            #expect(try await bench.scheduler.fireDue() == 0)
            bench.clock.advance(by: .seconds(3 * 3600 + seconds))
            let count = outcomes.count { $0 == .started }
            #expect(try await bench.scheduler.fireDue() == count)
            try await bench.workAll()
            let firings = try await bench.firings(of: schedule)
            #expect(firings.map(\.time) == (1...3).map { start.adding(.seconds($0 * 3600)) })
            #expect(firings.map(\.outcome) == outcomes)
            let started = firings.filter { $0.outcome == .started }
            #expect(try await Set(bench.allRuns().map(\.id)) == Set(started.map(\.run)))
            #expect(try await bench.now(schedule).nextAt == start.adding(.seconds(4 * 3600)))
            #expect(try await bench.scheduler.fireDue() == 0)
        }
    }

    @Test("after a long time the last hundred are caught up with")
    func longAgo() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create("* * * * *", missed: .all)
            bench.clock.advance(by: .seconds(5 * 3600))
            #expect(try await bench.scheduler.fireDue() == Schedule.maximumMissed)
            let firings = try await bench.firings(of: schedule)
            #expect(firings.count == Schedule.maximumMissed && firings.last?.time == bench.clock.now)
            #expect(try await bench.claim().count == Schedule.maximumMissed)
            #expect(try await bench.scheduler.fireDue() == 0)
        }
    }

    @Test("more schedules than are looked at together are all fired")
    func many() async throws {
        try await ScheduleBench.with { bench in
            for _ in 0..<230 { _ = try await bench.create() }
            bench.clock.advance(by: .seconds(3600))
            #expect(try await bench.scheduler.fireDue() == 230)
            #expect(try await bench.database.schedules.due(limit: 1).isEmpty)
        }
    }

    @Test("a schedule that is paused misses nothing, and goes on with the next time")
    func paused() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create(missed: .all)
            let change = ScheduleChange(isPaused: true)
            let paused = try await bench.service.change(bench.principal, schedule.id, change, requester: .server)
            #expect(paused.pausedAt == bench.clock.now && paused.nextTimes.isEmpty)
            bench.clock.advance(by: .seconds(5 * 3600 + 60))
            #expect(try await bench.scheduler.fireDue() == 0)
            let resumed = try await bench.service.change(
                bench.principal, schedule.id, ScheduleChange(isPaused: false), requester: .server)
            #expect(resumed.pausedAt == nil && resumed.nextAt == schedule.createdAt.adding(.seconds(6 * 3600)))
            #expect(try await bench.scheduler.fireDue() == 0)
            #expect(try await bench.firings(of: schedule).isEmpty)
        }
    }

    @Test("a schedule that cannot be read keeps no other from firing")
    func unreadable() async throws {
        try await ScheduleBench.with { bench in
            let broken = try await bench.create()
            let schedule = try await bench.create()
            let nonsense = SQLStatement("UPDATE schedules SET time_zone = 'Nowhere/At all' WHERE id = ?1", [.id(broken.id)])
            _ = try await bench.database.engine.write(Batch(.system, [nonsense]))
            bench.clock.advance(by: .seconds(3600))
            #expect(try await bench.database.schedules.due(limit: 10).count == 2)
            #expect(try await bench.scheduler.fireDue() == 1)
            try await bench.workAll()
            #expect(try await bench.firings(of: schedule).map(\.outcome) == [.started])
            #expect(try await bench.allRuns().count == 1)
        }
    }

    @Test("run now makes a run of a paused schedule too, and leaves its times alone")
    func runNow() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create(isPaused: true)
            let firing = try await bench.service.run(bench.principal, schedule.id, requester: .server)
            #expect(firing.cause == .manual && firing.outcome == .pending && firing.time == bench.clock.now)
            try await bench.workAll()
            #expect(try await bench.firings(of: schedule).map(\.outcome) == [.started])
            #expect(try await bench.allRuns().map(\.id) == [firing.run])
            #expect(try await bench.now(schedule) == schedule)
        }
    }

    @Test("whoever changes a schedule answers for its runs, unless it is only paused or resumed")
    func principal() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create()
            let other = try await bench.join()
            func change(_ change: ScheduleChange) async throws -> Schedule {
                try await bench.service.change(other, schedule.id, change, requester: .server)
            }
            #expect(try await change(ScheduleChange()) == schedule, "nothing is changed")
            for isPaused in [true, false] {
                #expect(try await change(ScheduleChange(isPaused: isPaused)).principal == bench.principal)
            }
            let changes = [
                ScheduleChange(name: "Other"), ScheduleChange(cron: "@daily"), ScheduleChange(zone: "Europe/Berlin"),
                ScheduleChange(missed: .all), ScheduleChange(request: RunRequest(prompt: "Other")),
            ]
            for wanted in changes {
                let mine = ScheduleChange(missed: .once)
                _ = try await bench.service.change(bench.principal, schedule.id, mine, requester: .server)
                #expect(try await bench.now(schedule).principal == bench.principal)
                #expect(try await change(wanted).principal == other)
                #expect(try await bench.now(schedule).principal == other)
            }
            _ = try await bench.service.run(bench.principal, schedule.id, requester: .server)
            try await bench.workAll()
            #expect(try await bench.allRuns().map(\.principal) == [other], "run now acts as the schedule's user, too")
        }
    }

    @Test("a change of the times begins with the next one, any other leaves what is due")
    func changedTimes() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create()
            bench.clock.advance(by: .seconds(3600 + 1))
            func change(_ change: ScheduleChange) async throws -> Timestamp? {
                try await bench.service.change(bench.principal, schedule.id, change, requester: .server).nextAt
            }
            let due = schedule.createdAt.adding(.seconds(3600))
            #expect(try await change(ScheduleChange(name: "Other")) == due)
            #expect(try await change(ScheduleChange(cron: "30 * * * *")) == due.adding(.seconds(1800)))
            #expect(try await bench.scheduler.fireDue() == 0)
        }
    }
}
