import Accounts
import Automation
import Domain
import Foundation
import HTTPTypes
import TestSupport
import Testing
import Web

@Suite("Meta events over HTTP")
struct MetaEventAPITests {
    private static let schemas = "/api/meta-events/schemas"
    private static let schema: JSONValue = [
        "type": "object", "required": ["plan"], "additionalProperties": false,
        "properties": ["plan": ["type": "string", "enum": ["free", "pro"]], "seats": ["type": "integer", "minimum": 1]],
    ]

    /// Lends an owner whose tenant has a schema of `plan.changed`.
    private func with(
        _ work: @escaping @Sendable (APIBench, _ token: String, Principal) async throws -> Void
    ) async throws {
        try await APIBench.with { bench in
            let (token, principal) = try await bench.makeToken()
            let path = Self.schemas + "/plan.changed"
            let made = try await bench.send(.put, path, token: token, json: ["schema": Self.schema])
            #expect(made.status == 200 && made.json["type"] == "plan.changed" && made.json["schema"] == Self.schema)
            try await work(bench, token, principal)
        }
    }

    private func post(_ bench: APIBench, _ token: String, _ events: JSONValue...) async throws -> APIBench.Answer {
        try await bench.send(.post, "/api/meta-events", token: token, json: ["events": .array(events)])
    }

    private func event(_ members: [String: JSONValue] = [:]) -> JSONValue {
        .object(["type": "plan.changed", "data": ["plan": "pro"]].merging(members) { $1 })
    }

    private func list(_ bench: APIBench, _ token: String, _ query: String = "") async throws -> [JSONValue] {
        let answer = try await bench.send(.get, "/api/meta-events?limit=100" + query, token: token)
        #expect(answer.status == 200)
        return answer.items
    }

    @Test("events are taken in order, told when they happened, and listed by arrival")
    func receive() async throws {
        try await with { bench, token, _ in
            let id = "\(UUID())".lowercased()
            let taken = try await post(
                bench, token, event(["id": .string(id), "time": "2026-01-02T03:04:05Z"]),
                event(["data": ["plan": "free", "seats": 3]]))
            #expect(taken.status == 202 && taken.items.count == 2)
            #expect(taken.items[0] == ["id": .string(id), "type": "plan.changed", "time": "2026-01-02T03:04:05.000Z"])
            #expect(taken.items[1]["id"]?.string.flatMap { EventID($0) } != nil && taken.items[1]["time"]?.string != nil)
            let later = try await post(bench, token, event(["data": ["plan": "free"]])).items[0]
            let listed = try await list(bench, token)
            #expect(listed.count == 3 && listed[0]["id"] == later["id"], "the last to come is the first")
            let first = try #require(listed.first { $0["id"] == .string(id) })
            #expect(first["data"] == ["plan": "pro"] && first["time"] == "2026-01-02T03:04:05.000Z")
            #expect(first["receivedAt"] != first["time"])
            let second = listed.first { $0["id"] == taken.items[1]["id"] }
            #expect(second?["data"] == ["plan": "free", "seats": 3] && second?["time"] == second?["receivedAt"])
            var paged: [JSONValue] = []
            var query = "?limit=1"
            while true {
                let page = try await bench.send(.get, "/api/meta-events" + query, token: token)
                paged += page.items
                guard page.items.count == 1, let cursor = page.json["nextCursor"]?.string else { break }
                query = "?limit=1&cursor=\(cursor)"
            }
            #expect(paged == listed)
        }
    }

    @Test("an event is stored once, however often it is sent")
    func doubled() async throws {
        try await with { bench, token, _ in
            let id = JSONValue.string("\(UUID())".lowercased())
            let again = event(["id": id, "data": ["plan": "free"]])
            #expect(try await post(bench, token, event(["id": id]), again).status == 202)
            #expect(try await post(bench, token, again, event()).status == 202)
            let listed = try await list(bench, token)
            #expect(listed.count == 2)
            #expect(listed.filter { $0["id"] == id }.map { $0["data"] } == [["plan": "pro"]], "the first is kept")
        }
    }

    @Test("one wrong event refuses all, and every fault is told with its place")
    func wrongData() async throws {
        try await with { bench, token, _ in
            let refused = try await post(
                bench, token, event(), event(["type": "plan.unknown"]), event(["data": ["plan": 1]]),
                event(["data": ["plan": "gold", "seats": 0]]), event(["data": ["colour": "red"]]))
            #expect(refused.status == 400 && refused.code == "invalid_request")
            #expect(
                refused.faults == [
                    "events[1].type", "events[2].data.plan", "events[3].data.plan", "events[3].data.seats",
                    "events[4].data.plan", "events[4].data.colour",
                ])
            let messages = (refused.json["errors"]?.array ?? []).map {
                "\($0["field"]?.string ?? "") \($0["message"]?.string ?? "")"
            }
            #expect(messages.contains("events[2].data.plan must be string"))
            #expect(messages.contains("events[4].data.plan is required"))
            #expect(refused.text.contains("PUT /api/meta-events/schemas/plan.unknown"), "it says what to do")
            #expect(try await list(bench, token).isEmpty)
        }
    }

    @Test("what an event lacks or has in the wrong form is said by field")
    func faults() async throws {
        try await with { bench, token, _ in
            let tooMany = JSONValue.array(Array(repeating: event(), count: MetaEvent.maximumTogether + 1))
            let bodies: [JSONValue] = [
                [:], ["events": []], ["events": "x"], ["events": [1]], ["events": tooMany],
            ]
            for body in bodies {
                let refused = try await bench.send(.post, "/api/meta-events", token: token, json: body)
                #expect(refused.status == 400 && refused.faults == ["events"], "\(body.text.prefix(100))")
            }
            let large = JSONValue.string(String(repeating: "x", count: MetaEvent.maximumDataBytes))
            let wrong: [([String: JSONValue], String)] = [
                (["id": "1"], "id"), (["id": 1], "id"), (["type": nil], "type"), (["type": 1], "type"),
                (["type": "Plan.changed"], "type"), (["type": "plan..changed"], "type"),
                (["type": .string(String(repeating: "x", count: 101))], "type"), (["data": nil], "data"),
                (["data": "x"], "data"), (["data": [1]], "data"), (["data": ["plan": large]], "data"),
                (["time": "yesterday"], "time"),
                (["time": 1], "time"), (["time": "2026-01-02T03:04:05+01:00"], "time"), (["user": "x"], "user"),
            ]
            for (members, field) in wrong {
                let refused = try await post(bench, token, event(), event(members))
                #expect(
                    refused.status == 400 && refused.faults == ["events[1].\(field)"], "\(field): \(refused.text.prefix(200))")
            }
            #expect(try await list(bench, token).isEmpty)
            let most = try await bench.send(
                .post, "/api/meta-events", token: token, json: ["events": .array(Array(repeating: event(), count: 100))])
            #expect(most.status == 202 && most.items.count == 100)
            #expect(try await list(bench, token).count == 100)
        }
    }

    @Test("events are found by type and by when they came")
    func filters() async throws {
        try await with { bench, token, _ in
            let path = Self.schemas + "/plan.ended"
            #expect(try await bench.send(.put, path, token: token, json: ["schema": [:]]).status == 200)
            _ = try await post(bench, token, event(["time": "2020-01-01T00:00:00Z"]), event(["type": "plan.ended"]))
            #expect(try await list(bench, token, "&type=plan.ended").map { $0["type"] } == ["plan.ended"])
            #expect(try await list(bench, token, "&type=plan").isEmpty)
            #expect(try await list(bench, token, "&to=2020-01-02").isEmpty, "when it came counts")
            #expect(try await list(bench, token, "&from=2020-01-02").count == 2)
            #expect(try await list(bench, token, "&from=9999-01-01").isEmpty)
            #expect(try await list(bench, token, "&type=plan.changed&from=2020-01-01T00:00:00Z&to=9999-01-01").count == 1)
            for wrong in ["type=Plan", "from=yesterday", "to=1", "limit=0", "cursor=x"] {
                #expect(try await bench.send(.get, "/api/meta-events?\(wrong)", token: token).status == 400, "\(wrong)")
            }
        }
    }

    @Test("schemas are listed by type, replaced and deleted; what is no schema or the platform's type is refused")
    func schemas() async throws {
        try await with { bench, token, principal in
            func put(_ type: String, _ body: JSONValue) async throws -> APIBench.Answer {
                try await bench.send(.put, Self.schemas + "/\(type)", token: token, json: body)
            }
            _ = try await post(bench, token, event())
            #expect(try await put("a.first", ["schema": ["type": "object"]]).status == 200)
            let before = try await bench.send(.get, Self.schemas, token: token).items
            #expect(before.map { $0["type"] } == ["a.first", "plan.changed"])
            let replaced = try await put("plan.changed", ["schema": ["required": ["seats"]]])
            #expect(replaced.status == 200 && replaced.json["createdAt"] == before[1]["createdAt"])
            #expect(try await bench.send(.get, Self.schemas, token: token).items == [before[0], replaced.json])
            #expect(try await post(bench, token, event()).faults == ["events[0].data.seats"], "for events from now on")
            for body: JSONValue in [[:], ["schema": "x"], ["schema": true], ["schema": nil]] {
                #expect(try await put("a.first", body).faults == ["schema"], "\(body.text)")
            }
            let large = JSONValue.string(String(repeating: "x", count: EventSchema.maximumBytes))
            #expect(try await put("a.first", ["schema": ["description": large]]).faults == ["schema"])
            #expect(try await put("a.first", ["schema": [:], "more": 1]).faults == ["more"])
            let unsupported = try await put("a.first", ["schema": ["properties": ["plan": ["pattern": "x"]]]])
            #expect(unsupported.code == "invalid_request" && unsupported.text.contains("pattern"))
            for type in ["run.mine", "document.x", "webhook.test", "schedule", "Order", "a..b", "1a"] {
                #expect(try await put(type, ["schema": [:]]).code == "invalid_request", "\(type)")
            }
            let path = Self.schemas + "/plan.changed"
            #expect(try await bench.send(.delete, path, token: token).status == 204)
            #expect(try await bench.send(.delete, path, token: token).status == 404)
            #expect(try await post(bench, token, event()).faults == ["events[0].type"])
            #expect(try await list(bench, token).count == 1, "events outlive their schema")
            let notes = try await bench.audit(principal.tenant, "event_schema/plan.changed")
            #expect(notes.map(\.action) == [.eventSchemaChanged, .eventSchemaChanged, .eventSchemaDeleted])
            #expect(notes.allSatisfy { $0.requester.user == principal.user })
        }
    }

    @Test("members send events and read them; schemas are for admins, and viewers have no part in it")
    func scopes() async throws {
        try await with { bench, _, principal in
            let (member, _) = try await bench.join(principal.tenant, as: .member)
            #expect(try await post(bench, member, event()).status == 202)
            #expect(try await list(bench, member).count == 1)
            #expect(try await bench.send(.get, Self.schemas, token: member).items.count == 1)
            let path = Self.schemas + "/plan.changed"
            let (viewer, _) = try await bench.join(principal.tenant, as: .viewer)
            let refused = [
                try await bench.send(.put, path, token: member, json: ["schema": [:]]),
                try await bench.send(.delete, path, token: member), try await post(bench, viewer, event()),
                try await bench.send(.get, "/api/meta-events", token: viewer),
                try await bench.send(.get, Self.schemas, token: viewer),
            ]
            for answer in refused { #expect(answer.status == 403 && answer.code == "forbidden") }
            let (admin, _) = try await bench.join(principal.tenant, as: .admin)
            #expect(try await bench.send(.delete, path, token: admin).status == 204)
        }
    }
}
