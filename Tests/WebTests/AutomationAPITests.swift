import Accounts
import Automation
import Domain
import Foundation
import HTTPTypes
import Queue
import Storage
import TestSupport
import Testing
import Web

extension APIBench.Answer {
    /// The fields that the answer finds fault with.
    var faults: Set<String> { Set((json["errors"]?.array ?? []).compactMap { $0["field"]?.string }) }
    var items: [JSONValue] { json["items"]?.array ?? [] }
}

extension APIBench {
    /// Somebody who joined the tenant.
    func join(_ tenant: TenantID, as role: Role) async throws -> (token: String, principal: Principal) {
        let user = User(
            id: UserID(UUID()), email: "\(UUID())@example.com".lowercased(), createdAt: Ambient.system.now())
        let standing = try await store.admit(
            issuer: "https://issuer.example.com", subject: "\(user.id)", new: user, tenant: tenant, role: role,
            audit: .test(.memberJoined, in: tenant))
        return try await token(of: standing.membership)
    }

    /// What was noted of these things, oldest first.
    func audit(_ tenant: TenantID, _ target: String) async throws -> [AuditEntry] {
        let rows = try await database.audit.entries(
            tenant: tenant, AuditFilter(), page: PageRequest(limit: 100), reading: .test(.auditRead, in: tenant))
        return rows.items.filter { $0.target == target }.reversed()
    }
}

@Suite("Schedules over HTTP")
struct ScheduleAPITests {
    private static let body: JSONValue = ["name": "Tidy up", "cron": "0 3 * * *", "run": ["prompt": "Tidy up"]]

    /// The body with other members.
    private func body(_ members: [String: JSONValue]) -> JSONValue {
        .object((Self.body.object ?? [:]).merging(members) { $1 })
    }

    /// Lends an owner and a schedule.
    private func with(
        _ work:
            @escaping @Sendable (APIBench, _ token: String, Principal, _ schedule: JSONValue, _ path: String) async throws
            -> Void
    ) async throws {
        try await APIBench.with { bench in
            let (token, principal) = try await bench.makeToken()
            let made = try await bench.send(.post, "/api/schedules", token: token, json: Self.body)
            #expect(made.status == 201)
            let path = "/api/schedules/\(made.json["id"]?.string ?? "")"
            #expect(made.headers[.location] == path)
            try await work(bench, token, principal, made.json, path)
        }
    }

    @Test("a schedule is made with its defaults, read and listed")
    func create() async throws {
        try await with { bench, token, principal, schedule, path in
            #expect(schedule["name"] == "Tidy up" && schedule["cron"] == "0 3 * * *" && schedule["timeZone"] == "UTC")
            #expect(schedule["missed"] == "once" && schedule["pausedAt"] == .null)
            #expect(schedule["run"] == ["prompt": "Tidy up", "sessionId": nil, "options": [:]])
            #expect(schedule["userId"] == .string("\(principal.user)"))
            let times = schedule["nextTimes"]?.array?.compactMap(\.string) ?? []
            #expect(times.count == 5 && times == times.sorted() && times.allSatisfy { $0.hasSuffix("T03:00:00.000Z") })
            #expect(try await bench.send(.get, path, token: token).json == schedule)
            let full: JSONValue = [
                "name": "Full", "cron": " @hourly ", "timeZone": "Europe/Berlin", "missed": "skip", "paused": true,
                "run": [
                    "prompt": "Do it",
                    "options": [
                        "model": "test/model", "instructions": "Be brief", "tools": ["calculator"], "collection": "handbook",
                        "stepLimit": 3, "timeoutSeconds": 60,
                    ],
                ],
            ]
            let made = try await bench.send(.post, "/api/schedules", token: token, json: full).json
            #expect(made["cron"] == "@hourly" && made["timeZone"] == "Europe/Berlin" && made["missed"] == "skip")
            #expect(made["run"]?["options"] == full["run"]?["options"])
            #expect(made["pausedAt"]?.string != nil && made["nextTimes"] == [])
            let first = try await bench.send(.get, "/api/schedules?limit=1", token: token)
            #expect(first.items == [made], "newest first")
            let cursor = try #require(first.json["nextCursor"]?.string)
            let second = try await bench.send(.get, "/api/schedules?limit=1&cursor=\(cursor)", token: token)
            #expect(second.items == [schedule] && second.json["nextCursor"] == .null)
        }
    }

    @Test("what a schedule lacks or has wrong is said by field, and nothing is stored")
    func faults() async throws {
        try await with { bench, token, _, schedule, path in
            func text(_ count: Int) -> JSONValue { .string(String(repeating: "x", count: count)) }
            func run(_ options: [String: JSONValue]) -> [String: JSONValue] {
                ["run": ["prompt": "x", "options": .object(options)]]
            }
            let nothing = try await bench.send(.post, "/api/schedules", token: token, json: [:])
            #expect(nothing.status == 400 && nothing.faults == ["name", "cron", "run"])
            let wrong: [([String: JSONValue], Set<String>)] = [
                (["name": ""], ["name"]), (["name": text(101)], ["name"]), (["name": 1], ["name"]), (["cron": ""], ["cron"]),
                (["cron": text(257)], ["cron"]), (["timeZone": ""], ["timeZone"]), (["timeZone": text(65)], ["timeZone"]),
                (["missed": "never"], ["missed"]), (["missed": 1], ["missed"]), (["paused": "yes"], ["paused"]),
                (["run": "x"], ["run"]), (["run": [:]], ["run.prompt"]), (["run": ["prompt": ""]], ["run.prompt"]),
                (["run": ["prompt": text(100_001)]], ["run.prompt"]),
                (["run": ["prompt": "x", "sessionId": "1"]], ["run.sessionId"]), (["run": ["prompt": "x", "a": 1]], ["run.a"]),
                (run(["model": 1, "stepLimit": 0]), ["run.options.model", "run.options.stepLimit"]),
                (run(["timeoutSeconds": 0]), ["run.options.timeoutSeconds"]), (run(["tools": "x"]), ["run.options.tools"]),
                (run(["collection": "No Name"]), ["run.options.collection"]), (run(["a": 1]), ["run.options.a"]),
                (["a": 1, "missed": "never"], ["a", "missed"]),
            ]
            for (members, fields) in wrong {
                let made = try await bench.send(.post, "/api/schedules", token: token, json: body(members))
                #expect(made.status == 400 && made.code == "invalid_request" && made.faults == fields, "\(fields)")
                let changed = try await bench.send(.patch, path, token: token, json: .object(members))
                #expect(changed.status == 400 && changed.faults == fields, "\(fields)")
            }
            let unknown: [([String: JSONValue], String, String)] = [
                (["cron": "61 * * * *"], "invalid_request", "61"), (["cron": "0 0 30 2 *"], "invalid_request", "never"),
                (["timeZone": "Mars/North"], "invalid_request", "Mars/North"),
                (["timeZone": "CET"], "invalid_request", "CET"), (run(["model": "none/model"]), "unknown_model", "none/model"),
                (run(["tools": ["none"]]), "unknown_tool", "none"),
            ]
            for (members, code, words) in unknown {
                let made = try await bench.send(.post, "/api/schedules", token: token, json: body(members))
                #expect(made.status == 400 && made.code == code && made.text.contains(words), "\(made.text)")
                let changed = try await bench.send(.patch, path, token: token, json: .object(members))
                #expect(changed.status == 400 && changed.code == code, "\(changed.text)")
            }
            #expect(try await bench.send(.get, "/api/schedules", token: token).items == [schedule])
        }
    }

    @Test("a change leaves alone what it does not name, and whoever makes it answers for the runs")
    func change() async throws {
        try await with { bench, token, principal, schedule, path in
            let (other, member) = try await bench.join(principal.tenant, as: .member)
            func change(_ token: String, _ body: JSONValue) async throws -> [String: JSONValue] {
                let answer = try await bench.send(.patch, path, token: token, json: body)
                #expect(answer.status == 200)
                #expect(try await bench.send(.get, path, token: token).json == answer.json)
                return answer.json.object ?? [:]
            }
            let before = try #require(schedule.object)
            #expect(try await change(other, [:]) == before)
            #expect(try await change(other, ["name": nil, "run": nil, "paused": nil]) == before, "null counts as absent")
            let paused = try await change(other, ["paused": true])
            #expect(paused["pausedAt"]?.string != nil && paused["nextTimes"] == [] && paused["userId"] == before["userId"])
            let again = try await change(other, ["paused": true])
            #expect(again["pausedAt"] == paused["pausedAt"])
            let named = try await change(other, ["name": "Other", "paused": false])
            #expect(named["name"] == "Other" && named["userId"] == .string("\(member.user)"))
            for name in ["cron", "timeZone", "missed", "run", "createdAt", "pausedAt", "nextTimes"] {
                #expect(named[name] == before[name], "\(name)")
            }
            let options: JSONValue = ["prompt": "More", "options": ["stepLimit": 3]]
            #expect(try await change(token, ["run": options])["run"]?["options"] == ["stepLimit": 3])
            let replaced = try await change(token, ["run": ["prompt": "Less"], "timeZone": "Europe/Berlin"])
            #expect(replaced["run"] == ["prompt": "Less", "sessionId": nil, "options": [:]], "a run is replaced whole")
            #expect(replaced["cron"] == before["cron"] && replaced["nextTimes"] != before["nextTimes"])
            #expect(replaced["userId"] == before["userId"])
        }
    }

    @Test("a schedule is run now, its firings are listed, and it is deleted with them")
    func firings() async throws {
        try await with { bench, token, principal, schedule, path in
            _ = try await bench.send(.patch, path, token: token, json: ["paused": true])
            let asked = try await bench.send(.post, path + "/run", token: token)
            #expect(asked.status == 202 && asked.json["scheduleId"] == schedule["id"] && asked.json["trigger"] == "manual")
            #expect(asked.json["outcome"] == "pending" && asked.json["runId"] == .null && asked.json["error"] == .null)
            let firing = try #require(asked.json["id"]?.string.flatMap { FiringID($0) })
            let lease = try #require(try await bench.database.jobs.claim(ScheduleHandler.kind).first)
            try await bench.database.schedules.settle(lease, firing, as: .started, error: nil)
            let second = try await bench.send(.post, path + "/run", token: token).json
            let first = try await bench.send(.get, path + "/firings?limit=1", token: token)
            #expect(first.items == [second])
            let cursor = try #require(first.json["nextCursor"]?.string)
            let rest = try await bench.send(.get, path + "/firings?cursor=\(cursor)", token: token)
            #expect(rest.items.count == 1 && rest.items[0]["outcome"] == "started")
            #expect(rest.items[0]["runId"] == .string("\(firing)"))
            #expect(try await bench.send(.delete, path, token: token).status == 204)
            let calls: [(HTTPRequest.Method, String)] = [
                (.get, ""), (.delete, ""), (.post, "/run"), (.get, "/firings"),
            ]
            for (method, rest) in calls {
                let gone = try await bench.send(method, path + rest, token: token)
                #expect(gone.status == 404 && gone.code == "not_found", "\(method) \(rest)")
            }
            #expect(try await bench.send(.patch, path, token: token, json: ["name": "x"]).status == 404)
            #expect(try await bench.send(.get, "/api/schedules/1", token: token).code == "invalid_id")
            let notes = try await bench.audit(principal.tenant, "schedule/\(schedule["id"]?.string ?? "")")
            let actions: [AuditAction] = [.scheduleCreated, .scheduleChanged, .scheduleRun, .scheduleRun, .scheduleDeleted]
            #expect(notes.map(\.action) == actions)
            #expect(notes.allSatisfy { $0.requester.user == principal.user })
            #expect(notes[1].details["changed"] == ["paused"])
        }
    }

    @Test("viewers look at schedules, and change none")
    func scopes() async throws {
        try await with { bench, _, principal, schedule, path in
            let (viewer, _) = try await bench.join(principal.tenant, as: .viewer)
            #expect(try await bench.send(.get, "/api/schedules", token: viewer).items == [schedule])
            #expect(try await bench.send(.get, path, token: viewer).status == 200)
            #expect(try await bench.send(.get, path + "/firings", token: viewer).status == 200)
            let refused = [
                try await bench.send(.post, "/api/schedules", token: viewer, json: Self.body),
                try await bench.send(.patch, path, token: viewer, json: ["name": "x"]),
                try await bench.send(.delete, path, token: viewer), try await bench.send(.post, path + "/run", token: viewer),
            ]
            for answer in refused { #expect(answer.status == 403 && answer.code == "forbidden") }
            #expect(try await bench.send(.get, path, token: viewer).json == schedule)
        }
    }
}
