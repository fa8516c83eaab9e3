import Accounts
import Agents
import Automation
import Domain
import Foundation
import Queue
import Storage
import TestSupport
import Testing

@Suite("ScheduleHandler")
struct ScheduleHandlerTests {
    @Test("a job that is repeated after a crash makes no second run")
    func repeated() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create()
            let firing = try await bench.service.run(bench.principal, schedule.id, requester: .server)
            let lost = try #require(try await bench.claim().first)
            // The worker is thought dead, and its job given to another, while it starts the run.
            #expect(try await bench.database.jobs.rescue(all: true) == 1)
            let lease = try #require(try await bench.claim().first)
            await #expect(throws: FenceLost.self) { try await bench.work(on: lost) }
            #expect(try await bench.allRuns().map(\.id) == [firing.run])
            #expect(try await bench.firings(of: schedule) == [firing])
            try await bench.work(on: lease)
            #expect(try await bench.firings(of: schedule).map(\.outcome) == [.started])
            #expect(try await bench.allRuns().map(\.id) == [firing.run])
            #expect(try await bench.database.jobs.claim(RunExecutor.kind).count == 1)
            #expect(try await bench.claim().isEmpty)
        }
    }

    /// What keeps somebody from starting runs.
    enum Departure: CaseIterable, Sendable {
        case removed
        case becameViewer
        case neverMight
    }

    @Test("the runs of whoever left, or may no longer start any, are not started", arguments: Departure.allCases)
    func departed(how: Departure) async throws {
        try await ScheduleBench.with { bench in
            let member = try await bench.join(scopes: how == .neverMight ? ["schedules:*"] : ["runs:*", "schedules:*"])
            let schedule = try await bench.create(by: member)
            bench.clock.advance(by: .seconds(3600))
            #expect(try await bench.scheduler.fireDue() == 1)
            let accounts = bench.database.accounts
            switch how {
            case .removed:
                try await accounts.remove(
                    tenant: bench.tenant, user: member.user, audit: .test(.memberRemoved, in: bench.tenant))
            case .becameViewer:
                try await accounts.changeRole(
                    tenant: bench.tenant, user: member.user, to: .viewer, audit: .test(.memberRoleChanged, in: bench.tenant))
            case .neverMight: break
            }
            try await bench.workAll()
            let firing = try #require(try await bench.firings(of: schedule).first)
            #expect(firing.outcome == .failed && firing.error?.contains("may not start runs") == true)
            #expect(try await bench.allRuns().isEmpty)
            #expect(try await bench.database.jobs.depths().isEmpty, "there is no use in another try")
            // It goes on, for somebody may take it over.
            bench.clock.advance(by: .seconds(3600))
            #expect(try await bench.scheduler.fireDue() == 1)
        }
    }

    @Test("what cannot be started any more fails with the reason", arguments: ["model", "tool", "session"])
    func refused(what: String) async throws {
        try await ScheduleBench.with { bench in
            var request = RunRequest(prompt: "Tidy up")
            switch what {
            case "model": request.model = "gone/model"
            case "tool": request.tools = ["gone"]
            default: request.session = SessionID(UUID())
            }
            let now = bench.clock.now
            let schedule = Schedule(
                id: ScheduleID(UUID()), principal: bench.principal, name: "Old",
                recurrence: try Recurrence(cron: "@hourly", zone: "UTC"), missed: .once, request: request, nextAt: now,
                createdAt: now, updatedAt: now)
            try await bench.database.schedules.add(
                tenant: bench.tenant, schedule, audit: .test(.scheduleCreated, in: bench.tenant))
            #expect(try await bench.scheduler.fireDue() == 1)
            try await bench.workAll()
            let firing = try #require(try await bench.firings(of: schedule).first)
            #expect(firing.outcome == .failed && firing.error?.contains(what) == true)
            #expect(try await bench.allRuns().isEmpty)
            #expect(try await bench.database.jobs.depths().isEmpty)
        }
    }

    @Test("the job of a schedule that was deleted ends, and makes no run")
    func deleted() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create()
            _ = try await bench.service.run(bench.principal, schedule.id, requester: .server)
            try await bench.service.delete(bench.principal, schedule.id, requester: .server)
            let lease = try #require(try await bench.claim().first)
            try await bench.work(on: lease)
            #expect(try await bench.allRuns().isEmpty)
            #expect(try await bench.database.jobs.depths().isEmpty)
        }
    }

    @Test("a job that is given up fails its firing")
    func givenUp() async throws {
        try await ScheduleBench.with { bench in
            let schedule = try await bench.create()
            _ = try await bench.service.run(bench.principal, schedule.id, requester: .server)
            let lease = try #require(try await bench.claim().first)
            try await bench.handler.giveUp(lease, reason: "The database was away.")
            let firing = try #require(try await bench.firings(of: schedule).first)
            #expect(firing.outcome == .failed && firing.error == "The database was away.")
            try await bench.work(on: lease)
            #expect(try await bench.allRuns().isEmpty)
        }
    }
}
