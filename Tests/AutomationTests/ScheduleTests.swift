import Agents
import Automation
import Domain
import Testing

@Suite("Schedule")
struct ScheduleTests {
    private func time(_ text: String) -> Timestamp { Timestamp(rfc3339: text) ?? Timestamp(microseconds: 0) }

    private func schedule(_ cron: String, zone: String = "UTC", _ missed: Schedule.Missed, next: String?) throws -> Schedule {
        let made = time("2026-01-01T00:00:00Z")
        return Schedule(
            id: ScheduleID(.version7(at: made)),
            principal: Principal(tenant: TenantID(.version7(at: made)), user: UserID(.version7(at: made)), scopes: ["*"]),
            name: "n", recurrence: try Recurrence(cron: cron, zone: zone), missed: missed, request: RunRequest(prompt: "p"),
            nextAt: next.map(time), createdAt: made, updatedAt: made)
    }

    @Test(
        "of times that were missed none, one or each makes a run",
        arguments: [
            (Schedule.Missed.skip, [false, false, false, true]), (.once, [false, false, false, true]),
            (.all, [true, true, true, true]),
        ])
    func missed(policy: Schedule.Missed, fired: [Bool]) throws {
        let schedule = try schedule("0 * * * *", policy, next: "2026-03-01T09:00:00Z")
        let due = schedule.due(at: time("2026-03-01T12:00:30Z"))
        #expect(due.map(\.time) == (9...12).map { time("2026-03-01T\($0 < 10 ? "0" : "")\($0):00:00Z") })
        #expect(due.map(\.isFired) == fired)
        // Nobody was there at noon either.
        let late = schedule.due(at: time("2026-03-01T12:01:01Z")).map(\.isFired)
        #expect(late == (policy == .skip ? [false, false, false, false] : fired))
    }

    @Test("what is not yet due, or paused, does not fire")
    func notDue() throws {
        let later = try schedule("0 * * * *", .all, next: "2026-03-01T09:00:00Z")
        #expect(later.due(at: time("2026-03-01T08:59:59Z")).isEmpty)
        #expect(later.due(at: time("2026-03-01T09:00:00Z")).map(\.isFired) == [true])
        let paused = try schedule("0 * * * *", .all, next: nil)
        #expect(paused.due(at: time("2026-03-01T09:00:00Z")).isEmpty)
        #expect(paused.nextTimes.isEmpty)
    }

    @Test("after a long time the last hundred are looked at, however seldom or often it fires")
    func longAgo() throws {
        let now = time("2026-03-01T12:00:30Z")
        let often = try schedule("* * * * *", .all, next: "2020-01-01T00:00:00Z").due(at: now)
        #expect(often.count == Schedule.maximumMissed)
        #expect(often.last?.time == time("2026-03-01T12:00:00Z"))
        #expect(often.first?.time == time("2026-03-01T10:21:00Z"))
        let yearly = try schedule("@yearly", .all, next: "2020-01-01T00:00:00Z").due(at: now)
        #expect(yearly.map(\.time) == (2020...2026).map { time("\($0)-01-01T00:00:00Z") })
    }

    @Test("next times follow the zone's clocks")
    func nextTimes() throws {
        let schedule = try schedule("30 2 * * *", zone: "Europe/Berlin", .once, next: "2026-03-28T01:30:00Z")
        // On 29 March there is no half past two.
        let times = ["28T01:30", "29T01:00", "30T00:30", "31T00:30"].map { "2026-03-\($0):00.000Z" }
        #expect(schedule.nextTimes.map(\.iso8601) == times + ["2026-04-01T00:30:00.000Z"])
    }

    @Test("a request is read back as it was written")
    func request() throws {
        var request = RunRequest(prompt: "Write", session: SessionID(.version7(at: time("2026-03-01T09:00:00Z"))))
        request.model = "local/extractive"
        request.tools = ["calculator"]
        request.stepLimit = 3
        request.timeout = .seconds(60)
        for request in [request, RunRequest(prompt: "Only this")] {
            #expect(RunRequest(json: request.json) == request)
        }
        #expect(request.json["options"]?["timeoutSeconds"] == 60)
        #expect(RunRequest(prompt: "p").json == ["prompt": "p", "sessionId": nil, "options": [:]])
    }
}
