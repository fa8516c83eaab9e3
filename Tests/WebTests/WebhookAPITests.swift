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

@Suite("Webhooks over HTTP")
struct WebhookAPITests {
    private static let body: JSONValue = ["url": "https://shop.example.com/hook", "events": ["run.*", "order.paid"]]

    /// Lends an owner and a webhook, as making it was answered.
    private func with(
        _ work:
            @escaping @Sendable (APIBench, _ token: String, Principal, _ made: JSONValue, _ path: String) async throws
            -> Void
    ) async throws {
        try await APIBench.with { bench in
            let (token, principal) = try await bench.makeToken()
            let made = try await bench.send(.post, "/api/webhooks", token: token, json: Self.body)
            #expect(made.status == 201)
            let path = "/api/webhooks/\(made.json["id"]?.string ?? "")"
            #expect(made.headers[.location] == path)
            try await work(bench, token, principal, made.json, path)
        }
    }

    /// An answer without the secret that it shows.
    private func withoutSecret(_ json: JSONValue) -> JSONValue {
        .object((json.object ?? [:]).filter { $0.key != "secret" })
    }

    @Test("the secret is shown when the webhook is made and when it is replaced, and never again")
    func secrets() async throws {
        try await with { bench, token, principal, made, path in
            let secret = try #require(made["secret"]?.string)
            #expect(secret.hasPrefix("whsec_") && Data(base64Encoded: String(secret.dropFirst(6)))?.count == 32)
            #expect(made["url"] == Self.body["url"] && made["events"] == Self.body["events"] && made["enabled"] == true)
            #expect(made["description"] == .null && made["disabledReason"] == .null && made["previousSecretUntil"] == .null)
            let read = try await bench.send(.get, path, token: token)
            #expect(read.json == withoutSecret(made))
            let rotated = try await bench.send(.post, path + "/rotate-secret", token: token)
            let second = try #require(rotated.json["secret"]?.string)
            #expect(rotated.status == 200 && second.hasPrefix("whsec_") && second != secret)
            #expect(rotated.json["previousSecretUntil"]?.string != nil)
            let tested = try await bench.send(.post, path + "/test", token: token)
            let delivery = path + "/deliveries/\(tested.json["id"]?.string ?? "")"
            let answers = [
                read, tested, try await bench.send(.get, path, token: token),
                try await bench.send(.get, "/api/webhooks", token: token),
                try await bench.send(.patch, path, token: token, json: ["description": "x"]),
                try await bench.send(.get, path + "/deliveries", token: token),
                try await bench.send(.get, delivery, token: token),
                try await bench.send(.get, "/api/tenants/\(principal.tenant)/export", token: token),
                try await bench.send(.get, "/api/audit-logs", token: token),
            ]
            for answer in answers {
                #expect(200..<300 ~= answer.status)
                #expect(!answer.text.contains("whsec_") && !answer.text.contains("\"sealed\""), "\(answer.text.prefix(200))")
            }
        }
    }

    @Test("what a webhook lacks or has wrong is said by field, and nothing is stored")
    func faults() async throws {
        try await with { bench, token, _, made, path in
            func text(_ count: Int) -> JSONValue { .string(String(repeating: "x", count: count)) }
            let nothing = try await bench.send(.post, "/api/webhooks", token: token, json: [:])
            #expect(nothing.status == 400 && nothing.faults == ["url", "events"])
            let urls: [JSONValue] = [
                "", 1, "shop.example.com", "ftp://shop.example.com/", "http://shop.example.com/", "https://127.0.0.1/",
                "https://10.1.2.3/", "https://169.254.169.254/latest", "https://[::1]/", "https://[fd00::1]/", "https://127.1/",
                "https://user@shop.example.com/", "https://user:x@shop.example.com/", "https://shop.example.com:0/",
                "https://shop.example.com/#x", "https://shop.example.com/a b", "https://shop.example.com/ä",
                .string("https://shop.example.com/" + String(repeating: "x", count: 2000)),
            ]
            let events: [JSONValue] = [
                [], "run.*", [1], ["Run.failed"], ["run.failed", "run.*.x"], [""], ["**"],
                .array(Array(repeating: "run.failed", count: 51)),
            ]
            var wrong: [(name: String, value: JSONValue)] = urls.map { ("url", $0) } + events.map { ("events", $0) }
            wrong += [("description", text(501)), ("description", 1), ("secret", "whsec_x")]
            for (name, value) in wrong {
                let members = (Self.body.object ?? [:]).merging([name: value]) { $1 }
                let posted = try await bench.send(.post, "/api/webhooks", token: token, json: .object(members))
                #expect(posted.status == 400 && posted.code == "invalid_request" && posted.faults == [name], "\(value.text)")
                let changed = try await bench.send(.patch, path, token: token, json: .object([name: value]))
                #expect(changed.status == 400 && changed.faults == [name], "\(value.text)")
            }
            let enabled = (Self.body.object ?? [:]).merging(["enabled": true]) { $1 }
            #expect(try await bench.send(.post, "/api/webhooks", token: token, json: .object(enabled)).faults == ["enabled"])
            #expect(try await bench.send(.patch, path, token: token, json: ["enabled": "no"]).faults == ["enabled"])
            #expect(try await bench.send(.get, "/api/webhooks", token: token).items == [withoutSecret(made)])
        }
    }

    @Test("a change leaves alone what it does not name; what is disabled by hand has no reason")
    func change() async throws {
        try await with { bench, token, principal, made, path in
            func change(_ body: JSONValue) async throws -> [String: JSONValue] {
                let answer = try await bench.send(.patch, path, token: token, json: body)
                #expect(answer.status == 200)
                #expect(try await bench.send(.get, path, token: token).json == answer.json)
                return answer.json.object ?? [:]
            }
            let described = try await change(["description": "The shop"])
            #expect(described["description"] == "The shop")
            for name in ["url", "events", "enabled", "createdAt"] { #expect(described[name] == made[name], "\(name)") }
            let disabled = try await change(["enabled": false, "description": nil])
            #expect(disabled["enabled"] == false && disabled["disabledReason"] == .null)
            #expect(disabled["description"] == "The shop", "null counts as absent")
            let moved = try await change(["url": "https://other.example.com/", "events": ["*"]])
            #expect(moved["url"] == "https://other.example.com/" && moved["events"] == ["*"] && moved["enabled"] == false)
            #expect(try await change(["enabled": true])["enabled"] == true)
            #expect(try await bench.send(.delete, path, token: token).status == 204)
            let calls: [(HTTPRequest.Method, String)] = [
                (.get, ""), (.delete, ""), (.post, "/test"), (.post, "/rotate-secret"), (.get, "/deliveries"),
            ]
            for (method, rest) in calls {
                let gone = try await bench.send(method, path + rest, token: token)
                #expect(gone.status == 404 && gone.code == "not_found", "\(method) \(rest)")
            }
            #expect(try await bench.send(.patch, path, token: token, json: ["description": "x"]).status == 404)
            let notes = try await bench.audit(principal.tenant, "webhook/\(made["id"]?.string ?? "")")
            let actions: [AuditAction] = [.webhookCreated] + Array(repeating: .webhookChanged, count: 4) + [.webhookDeleted]
            #expect(notes.map(\.action) == actions && notes.allSatisfy { $0.requester.user == principal.user })
            #expect(notes[3].details["changed"] == ["url", "events"])
        }
    }

    @Test("deliveries are listed with what became of them, and replayed once they have ended")
    func deliveries() async throws {
        try await with { bench, token, principal, made, path in
            let tested = try await bench.send(.post, path + "/test", token: token)
            #expect(tested.status == 202 && tested.json["type"] == "webhook.test" && tested.json["webhookId"] == made["id"])
            #expect(tested.json["state"] == "pending" && tested.json["attempts"] == 0 && tested.json["lastStatus"] == .null)
            let one = path + "/deliveries/\(tested.json["id"]?.string ?? "")"
            let read = try await bench.send(.get, one, token: token)
            let event = try #require(read.json["event"]?.object)
            #expect(event["type"] == "webhook.test" && event["data"] == [:] && event["timestamp"]?.string != nil)
            #expect(read.json == .object((tested.json.object ?? [:]).merging(["event": .object(event)]) { $1 }))
            let early = try await bench.send(.post, one + "/replay", token: token)
            #expect(early.status == 409 && early.code == "delivery_pending")
            let lease = try #require(try await bench.database.jobs.claim(WebhookHandler.kind).first)
            let attempt = WebhookDelivery.Attempt(
                status: 500, error: "The other side answered 500.", response: "no", duration: .milliseconds(12),
                time: Ambient.system.now())
            try await bench.database.webhooks.settle(lease, as: .failed, attempt, disabling: nil)
            let second = try await bench.send(.post, path + "/test", token: token).json
            let failed = try await bench.send(.get, path + "/deliveries?state=failed", token: token)
            #expect(failed.items.count == 1 && failed.items[0]["lastStatus"] == 500 && failed.items[0]["attempts"] == 1)
            #expect(failed.items[0]["lastError"] == "The other side answered 500." && failed.items[0]["lastResponse"] == "no")
            #expect(failed.items[0]["lastDurationMs"] == 12 && failed.items[0]["lastAttemptAt"]?.string != nil)
            #expect(failed.items[0]["deliveredAt"] == .null && failed.items[0]["event"] == nil)
            let first = try await bench.send(.get, path + "/deliveries?limit=1", token: token)
            #expect(first.items == [second], "newest first")
            let cursor = try #require(first.json["nextCursor"]?.string)
            let rest = try await bench.send(.get, path + "/deliveries?cursor=\(cursor)", token: token)
            #expect(rest.items == failed.items)
            #expect(try await bench.send(.get, path + "/deliveries?state=delivered", token: token).items.isEmpty)
            #expect(try await bench.send(.get, path + "/deliveries?state=lost", token: token).status == 400)
            let replayed = try await bench.send(.post, one + "/replay", token: token)
            #expect(replayed.status == 202 && replayed.json["state"] == "pending" && replayed.json["attempts"] == 1)
            let other = try await bench.send(.post, "/api/webhooks", token: token, json: Self.body).json
            let elsewhere = one.replacing(made["id"]?.string ?? "", with: other["id"]?.string ?? "")
            #expect(try await bench.send(.get, elsewhere, token: token).status == 404, "it is another webhook's")
            #expect(try await bench.send(.post, elsewhere + "/replay", token: token).status == 404)
            let notes = try await bench.audit(principal.tenant, "webhook/\(made["id"]?.string ?? "")")
            #expect(notes.count { $0.details["deliveryId"] == tested.json["id"] } == 2, "the test and the replay")
        }
    }

    @Test("webhooks are for owners and admins", arguments: [Role.member, .viewer])
    func scopes(role: Role) async throws {
        try await with { bench, _, principal, made, path in
            let (token, _) = try await bench.join(principal.tenant, as: role)
            let refused = [
                try await bench.send(.get, "/api/webhooks", token: token), try await bench.send(.get, path, token: token),
                try await bench.send(.post, "/api/webhooks", token: token, json: Self.body),
                try await bench.send(.patch, path, token: token, json: ["description": "x"]),
                try await bench.send(.delete, path, token: token), try await bench.send(.post, path + "/test", token: token),
                try await bench.send(.post, path + "/rotate-secret", token: token),
                try await bench.send(.get, path + "/deliveries", token: token),
            ]
            for answer in refused { #expect(answer.status == 403 && answer.code == "forbidden") }
            let (admin, _) = try await bench.join(principal.tenant, as: .admin)
            #expect(try await bench.send(.get, path, token: admin).json == withoutSecret(made))
        }
    }
}
