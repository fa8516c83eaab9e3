import Accounts
import Domain
import Foundation
import HTTPTypes
import Storage
import TestSupport
import Testing
import Web

private let password = "correct horse battery"

/// Somebody who registered, with what signing in answered.
private struct Person {
    let email: String
    let bench: APIBench
    var access: String
    var refresh: String
    var tenant: String
    var user: String

    static func register(_ bench: APIBench) async throws -> Person {
        let email = "\(UUID())@example.com".lowercased()
        let answer = try await bench.send(
            .post, "/api/auth/register",
            json: ["email": .string(email), "password": .string(password), "tenantName": "Their own"])
        #expect(answer.status == 201)
        return try Person(email, bench, answer)
    }

    init(_ email: String, _ bench: APIBench, _ answer: APIBench.Answer) throws {
        self.email = email
        self.bench = bench
        access = try #require(answer.json["accessToken"]?.string)
        refresh = try #require(answer.json["refreshToken"]?.string)
        tenant = try #require(answer.json["tenant"]?["id"]?.string)
        user = try #require(answer.json["user"]?["id"]?.string)
    }

    func login(_ password: String = password, headers: [String: String] = [:]) async throws -> APIBench.Answer {
        try await bench.send(
            .post, "/api/auth/login", headers: headers, json: ["email": .string(email), "password": .string(password)])
    }

    func isIn() async throws -> Bool { try await bench.send(.get, "/api/auth/me", token: access).status == 200 }

    func refreshing(_ token: String? = nil, headers: [String: String] = [:]) async throws -> APIBench.Answer {
        try await bench.send(
            .post, "/api/auth/refresh", headers: headers, json: ["refreshToken": .string(token ?? refresh)])
    }

    /// Invites somebody to this person's tenant; answers the token.
    func invite(_ email: String, _ role: String) async throws -> String {
        let answer = try await bench.send(
            .post, "/api/invitations", token: access, headers: ["X-Tenant-Id": tenant],
            json: ["email": .string(email), "role": .string(role)])
        #expect(answer.status == 201)
        return try #require(answer.json["token"]?.string)
    }

    func accept(_ token: String, password: String = password) async throws -> APIBench.Answer {
        try await bench.send(
            .post, "/api/auth/invitations/accept", json: ["token": .string(token), "password": .string(password)])
    }

    func audit(_ query: String = "") async throws -> [JSONValue] {
        try await bench.send(.get, "/api/audit-logs?limit=100\(query)", token: access).json["items"]?.array ?? []
    }
}

@Suite("Signing in")
struct SignInAPITests {
    @Test("a refresh token is good once; a second use ends the sign-in")
    func refresh() async throws {
        try await APIBench.with { bench in
            let person = try await Person.register(bench)
            let first = try await person.refreshing()
            #expect(first.status == 200)
            var next = try Person(person.email, bench, first)
            #expect(try await next.isIn())
            #expect(try await person.isIn())
            let second = try await next.refreshing()
            next = try Person(person.email, bench, second)
            let stolen = try await person.refreshing()
            #expect(stolen.status == 401 && stolen.code == "token_invalid")
            #expect(try await !next.isIn())
            #expect(try await next.refreshing().status == 401)
            #expect(try await person.login().status == 200, "other sign-ins are not concerned")
            let back = try Person(person.email, bench, try await person.login())
            #expect(try await back.audit("&action=auth.refresh_token_reused").count == 1)
        }
    }

    @Test("of refreshes at the same time one is answered", arguments: 1...3)
    func refreshRace(_: Int) async throws {
        try await APIBench.with { bench in
            let person = try await Person.register(bench)
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<5 { group.addTask { try await person.refreshing().status } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.count { $0 == 200 } <= 1)
            #expect(try await person.refreshing().status == 401)
        }
    }

    @Test("signing out ends this sign-in, or all of them, at once")
    func logout() async throws {
        try await APIBench.with { bench in
            let here = try await Person.register(bench)
            let there = try Person(here.email, bench, try await here.login())
            #expect(try await bench.send(.post, "/api/auth/logout", token: here.access).status == 204)
            #expect(try await !here.isIn())
            #expect(try await there.isIn())
            #expect(try await here.refreshing().status == 401)
            let third = try Person(here.email, bench, try await here.login())
            #expect(try await bench.send(.post, "/api/auth/logout/everywhere", token: there.access).status == 204)
            #expect(try await !there.isIn())
            #expect(try await !third.isIn())
        }
    }

    @Test("a new password ends every other sign-in")
    func changePassword() async throws {
        try await APIBench.with { bench in
            let here = try await Person.register(bench)
            let there = try Person(here.email, bench, try await here.login())
            func change(_ current: String, _ new: String) async throws -> APIBench.Answer {
                try await bench.send(
                    .post, "/api/auth/password", token: here.access,
                    json: ["currentPassword": .string(current), "newPassword": .string(new)])
            }
            #expect(try await change("wrong horse battery", "another horse battery").code == "invalid_credentials")
            #expect(try await change(password, "short").code == "invalid_request")
            #expect(try await change(password, "another horse battery").status == 204)
            #expect(try await here.isIn())
            #expect(try await !there.isIn())
            #expect(try await here.login().status == 401)
            #expect(try await here.login("another horse battery").status == 200)
        }
    }

    @Test("a forgotten password is set by the token of a mail, once; nobody learns whether there is an account")
    func forgotPassword() async throws {
        try await APIBench.with { bench in
            let person = try await Person.register(bench)
            func forgot(_ email: String) async throws -> APIBench.Answer {
                try await bench.send(.post, "/api/auth/password/forgot", json: ["email": .string(email)])
            }
            let (known, unknown) = (try await forgot(person.email), try await forgot("nobody@example.com"))
            #expect(known.status == 202 && unknown.status == 202 && known.json == unknown.json)
            let mail = try #require(bench.mailer.sent.first)
            #expect(bench.mailer.sent.count == 1 && mail.to == person.email)
            let token = try #require(mail.text.split(separator: "\n").first { $0.hasPrefix("sbp_") })
            func reset(_ token: String) async throws -> APIBench.Answer {
                try await bench.send(
                    .post, "/api/auth/password/reset",
                    json: ["token": .string(token), "newPassword": "another horse battery"])
            }
            #expect(try await reset("sbp_unknown").code == "reset_invalid")
            #expect(try await reset(String(token)).status == 204)
            #expect(try await reset(String(token)).code == "reset_invalid")
            #expect(try await !person.isIn())
            #expect(try await person.login("another horse battery").status == 200)
        }
    }

    @Test("failed tries of an account are bounded, whether it exists or not; good ones do not count")
    func limits() async throws {
        try await APIBench.with { bench in
            let person = try await Person.register(bench)
            for _ in 0..<12 { #expect(try await person.login().status == 200) }
            for email in [person.email, "nobody@example.com"] {
                var answers: [APIBench.Answer] = []
                for _ in 0..<14 {
                    answers.append(
                        try await bench.send(
                            .post, "/api/auth/login", json: ["email": .string(email), "password": "wrong"]))
                }
                #expect(answers.first?.code == "invalid_credentials")
                let last = try #require(answers.last)
                #expect(last.status == 429 && last.code == "rate_limited" && last.headers[.retryAfter] != nil)
            }
            #expect(try await person.login().status == 429, "also with the right password")
        }
    }
}

@Suite("Tenants and members")
struct TenantAPITests {
    @Test("whoever is invited joins once, with the role, and acts in the tenant that is named")
    func invitation() async throws {
        try await APIBench.with { bench in
            let owner = try await Person.register(bench)
            let token = try await owner.invite("New.Member@example.com", "member")
            #expect(bench.mailer.sent.last?.to == "new.member@example.com")
            #expect(try await owner.accept(token, password: "short").code == "invalid_request")
            let joined = try await owner.accept(token)
            #expect(joined.status == 200 && joined.json["tenant"]?["role"] == "member")
            #expect(try await owner.accept(token).code == "invitation_invalid")
            // Somebody with an account proves that it is theirs.
            let guest = try await Person.register(bench)
            let second = try await owner.invite(guest.email, "viewer")
            #expect(try await guest.accept(second, password: "wrong horse battery").code == "invalid_credentials")
            #expect(try await guest.accept(second).status == 200)
            let again = try await bench.send(
                .post, "/api/invitations", token: owner.access, json: ["email": .string(guest.email), "role": "viewer"])
            #expect(again.status == 409 && again.code == "already_member")
            // With the token of one tenant in another.
            let here = try await bench.send(.get, "/api/auth/me", token: guest.access)
            #expect(here.json["tenant"]?["role"] == "owner" && here.json["tenants"]?.array?.count == 2)
            let there = ["X-Tenant-Id": owner.tenant]
            let asViewer = try await bench.send(.get, "/api/auth/me", token: guest.access, headers: there)
            #expect(asViewer.json["tenant"]?["id"] == .string(owner.tenant))
            #expect(asViewer.json["tenant"]?["role"] == "viewer")
            #expect(
                try await bench.send(.post, "/api/agent/runs", token: guest.access, headers: there, json: ["prompt": "x"])
                    .status == 403)
            let login = try await guest.login(headers: there)
            #expect(login.json["tenant"]?["id"] == .string(owner.tenant))
            let moved = try await guest.refreshing(headers: there)
            #expect(moved.json["tenant"]?["id"] == .string(owner.tenant))
            for wrong in ["X-Tenant-Id": "\(UUID())".lowercased()] {
                let answer = try await bench.send(.get, "/api/auth/me", token: guest.access, headers: [wrong.key: wrong.value])
                #expect(answer.status == 404)
            }
            let malformed = try await bench.send(.get, "/api/auth/me", token: guest.access, headers: ["X-Tenant-Id": "1"])
            #expect(malformed.code == "invalid_id")
        }
    }

    @Test("removal and a new role hold at once; the last owner stays")
    func members() async throws {
        try await APIBench.with { bench in
            let owner = try await Person.register(bench)
            let member = try Person(
                "m@example.com", bench, try await owner.accept(try await owner.invite("m@example.com", "admin")))
            func change(_ user: String, _ role: String, by token: String) async throws -> APIBench.Answer {
                try await bench.send(.patch, "/api/users/\(user)", token: token, json: ["role": .string(role)])
            }
            #expect(try await change(owner.user, "viewer", by: owner.access).code == "last_owner")
            #expect(try await bench.send(.delete, "/api/users/\(owner.user)", token: owner.access).code == "last_owner")
            // An admin does not reach above themselves.
            #expect(try await change(member.user, "owner", by: member.access).status == 403)
            #expect(try await change(owner.user, "viewer", by: member.access).status == 403)
            #expect(try await bench.send(.delete, "/api/users/\(owner.user)", token: member.access).status == 403)
            let key = try await bench.send(
                .post, "/api/api-keys", token: member.access, json: ["name": "m", "scopes": ["runs:read"]])
            let keyText = try #require(key.json["key"]?.string)
            #expect(try await change(member.user, "viewer", by: owner.access).json["role"] == "viewer")
            #expect(try await !member.isIn(), "a token from before the change is no longer good")
            #expect(try await bench.send(.get, "/api/agent/runs", token: keyText).status == 200)
            let viewer = try Person("m@example.com", bench, try await member.refreshing())
            #expect(try await bench.send(.delete, "/api/users/\(member.user)", token: owner.access).status == 204)
            #expect(try await !viewer.isIn())
            #expect(try await bench.send(.get, "/api/agent/runs", token: keyText).status == 401)
            #expect(try await bench.send(.get, "/api/users/\(member.user)", token: owner.access).status == 404)
            // Whoever comes back does not bring their old tokens.
            _ = try await owner.accept(try await owner.invite("m@example.com", "viewer"))
            #expect(try await !viewer.isIn())
            let actions = try await owner.audit().compactMap { $0["action"]?.string }
            for action in ["member.removed", "member.role_changed", "member.joined", "api_key.created", "auth.signed_in"] {
                #expect(actions.contains(action), "\(action)")
            }
        }
    }

    @Test("an API key is shown once, does what it was given, and ends when it is revoked or over")
    func keys() async throws {
        try await APIBench.with { bench in
            let owner = try await Person.register(bench)
            func make(_ fields: [String: JSONValue]) async throws -> APIBench.Answer {
                try await bench.send(.post, "/api/api-keys", token: owner.access, json: .object(fields))
            }
            let made = try await make(["name": "CI", "scopes": ["runs:read", "runs:read"]])
            let key = try #require(made.json["key"]?.string)
            #expect(made.status == 201 && key.hasPrefix(made.json["prefix"]?.string ?? "?"))
            #expect(made.json["scopes"] == ["runs:read"])
            #expect(try await bench.send(.get, "/api/agent/runs", token: key).status == 200)
            let list = try await bench.send(.get, "/api/api-keys", token: owner.access)
            #expect(!list.text.contains(key) && list.json["items"]?.array?.first?["lastUsedAt"]?.string != nil)
            #expect(try await bench.send(.post, "/api/auth/logout", token: key).status == 403)
            #expect(try await bench.send(.get, "/api/auth/me", token: key).json["scopes"] == ["runs:read"])
            for wrong: [String: JSONValue] in [
                ["name": "x", "scopes": []], ["name": "x", "scopes": ["keys:write"]], ["name": "x", "scopes": ["*"]],
                ["name": "", "scopes": ["runs:read"]], ["name": "x", "scopes": ["runs:read"], "expiresAt": "2020-01-01"],
                ["name": "x", "scopes": ["runs:read"], "expiresAt": "tomorrow"],
            ] {
                #expect(try await make(wrong).code == "invalid_request", "\(wrong)")
            }
            let id = try #require(made.json["id"]?.string)
            #expect(try await bench.send(.delete, "/api/api-keys/\(id)", token: owner.access).status == 204)
            #expect(try await bench.send(.get, "/api/agent/runs", token: key).code == "token_invalid")
            #expect(try await bench.send(.delete, "/api/api-keys/\(id)", token: owner.access).status == 404)
            let short = try await make([
                "name": "x", "scopes": ["runs:read"], "expiresAt": .string(Ambient.system.now().adding(.seconds(10)).iso8601),
            ])
            let shortKey = try #require(short.json["key"]?.string)
            #expect(try await bench.send(.get, "/api/agent/runs", token: shortKey).status == 200)
            let end = ContinuousClock.now + .seconds(60)
            var answer = try await bench.send(.get, "/api/agent/runs", token: shortKey)
            while answer.status == 200, .now < end {
                try await Task.sleep(for: .milliseconds(100))
                answer = try await bench.send(.get, "/api/agent/runs", token: shortKey)
            }
            #expect(answer.code == "token_expired")
        }
    }

    @Test("the audit log can be filtered, and is CSV for whoever wants it")
    func audit() async throws {
        try await APIBench.with { bench in
            let owner = try await Person.register(bench)
            let formula = "=HYPERLINK(1)"
            _ = try await bench.send(
                .get, "/api/audit-logs", token: owner.access, headers: ["X-Request-Id": formula])
            let mine = try await owner.audit("&userId=\(owner.user)&action=audit.read")
            #expect(mine.count == 1 && mine[0]["requestId"] == .string(formula))
            #expect(try await owner.audit("&to=2020-01-01").isEmpty)
            #expect(try await !owner.audit("&from=2020-01-01T00:00:00Z").isEmpty)
            let csv = try await bench.send(.get, "/api/audit-logs", token: owner.access, headers: ["Accept": "text/csv"])
            #expect(csv.headers[.contentType]?.hasPrefix("text/csv") == true)
            #expect(csv.text.hasPrefix("time,id,action,") && csv.text.contains("\"'=HYPERLINK(1)\""))
            for wrong in ["action=nothing", "userId=me", "from=yesterday", "limit=0"] {
                #expect(try await bench.send(.get, "/api/audit-logs?\(wrong)", token: owner.access).status == 400, "\(wrong)")
            }
        }
    }

    @Test("a tenant is exported whole and erased for good, and a person too")
    func erasure() async throws {
        try await APIBench.with { bench in
            let owner = try await Person.register(bench)
            let member = try Person(
                "gone@example.com", bench, try await owner.accept(try await owner.invite("gone@example.com", "member")))
            _ = try await bench.send(.post, "/api/agent/runs", token: member.access, json: ["prompt": "a secret of mine"])
            let own = try await bench.send(.get, "/api/auth/me/export", token: member.access)
            #expect(own.text.contains("gone@example.com") && own.text.contains("a secret of mine"))
            #expect(own.json["items"]?.array?.count ?? 0 > 5)
            let export = try await bench.send(.get, "/api/tenants/\(owner.tenant)/export", token: owner.access)
            let rows = try export.text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
            let tables = Set(rows.compactMap { $0["table"]?.string })
            #expect(tables.isSuperset(of: ["tenants", "memberships", "agent_runs", "messages", "run_events", "audit_logs"]))
            #expect(!export.text.contains("password") && !export.text.contains("\"hash\""))
            let wrong = try await bench.send(
                .post, "/api/auth/me/erase", token: member.access, json: ["password": "wrong"])
            #expect(wrong.code == "invalid_credentials")
            let erased = try await bench.send(
                .post, "/api/auth/me/erase", token: member.access, json: ["password": .string(password)])
            #expect(erased.status == 204)
            #expect(try await !member.isIn())
            #expect(bench.mailer.sent.allSatisfy { $0.to != "gone@example.com" })
            let stillThere = try await bench.send(.get, "/api/tenants/\(owner.tenant)/export", token: owner.access)
            #expect(!stillThere.text.contains("gone@example.com") && !stillThere.text.contains("a secret of mine"))
            #expect(!stillThere.text.contains(member.user))
            let alone = try await bench.send(
                .post, "/api/auth/me/erase", token: owner.access, json: ["password": .string(password)])
            #expect(alone.code == "last_owner")
            let path = "/api/tenants/\(owner.tenant)"
            #expect(try await bench.send(.delete, path, token: owner.access).code == "confirmation_wrong")
            #expect(try await bench.send(.delete, path + "?confirm=Their%20own", token: owner.access).status == 204)
            #expect(try await !owner.isIn())
            #expect(try await owner.login().status == 401)
        }
    }

    @Test("what a step uses is a row of usage, by user, kind and name")
    func usage() async throws {
        try await APIBench.with { bench in
            let owner = try await Person.register(bench)
            for wrong in [
                "groupBy=week", "groupBy=day,day", "groupBy=day,", "from=2026-02-01&to=2026-01-01", "from=x", "to=0000-01-05",
            ] {
                #expect(try await bench.send(.get, "/api/usage?\(wrong)", token: owner.access).status == 400, "\(wrong)")
            }
            let sum = try await bench.send(.get, "/api/usage?groupBy=", token: owner.access)
            #expect(sum.json["items"]?.array?.first?["calls"] == 0 && sum.json["truncated"] == false)
        }
    }

    @Test("operators see and change what concerns the platform, and nobody else does")
    func platform() async throws {
        try await APIBench.with(registration: .open) { bench in
            let first = try #require(
                try await bench.accounts.createFirst(email: "op@example.com", password: password, tenantName: "Default"))
            let person = try await Person.register(bench)
            #expect(try await bench.send(.get, "/api/platform/users", token: person.access).status == 403)
            let users = try await bench.send(
                .get, "/api/platform/users?email=\(person.email)", token: first.accessToken)
            #expect(users.json["items"]?.array?.first?["id"] == .string(person.user))
            let path = "/api/platform/users/\(person.user)"
            #expect(try await bench.send(.patch, path, token: first.accessToken, json: ["operator": true]).status == 200)
            #expect(try await bench.send(.get, "/api/platform/tenants", token: person.access).status == 200)
            #expect(
                try await bench.send(.delete, "/api/users/\(person.user)", token: person.access).code == "last_owner")
            let own = "/api/platform/users/\(first.user.id)"
            #expect(
                try await bench.send(.patch, own, token: first.accessToken, json: ["operator": false]).status == 403)
            let before = bench.accounts.jwks
            #expect(try await bench.send(.post, "/api/platform/signing-keys", token: first.accessToken).status == 201)
            #expect(before["keys"]?.array?.count == 1 && bench.accounts.jwks["keys"]?.array?.count == 2)
            #expect(try await person.isIn(), "what the old key signed is still good")
            let log = try await bench.send(.get, "/api/platform/audit-logs", token: first.accessToken)
            let actions = (log.json["items"]?.array ?? []).compactMap { $0["action"]?.string }
            #expect(actions.contains("platform.signing_key_rotated") && actions.contains("user.operator_changed"))
        }
    }
}
