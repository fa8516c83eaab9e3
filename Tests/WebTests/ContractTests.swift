import Accounts
import Domain
import Foundation
import HTTPTypes
import Storage
import TestSupport
import Testing
import Web

@Suite("Contract")
struct ContractTests {
    /// The operations of openapi.yaml: `GET /path`, with its `x-permission`.
    private func contract() throws -> [String: String] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("openapi.yaml"), encoding: .utf8)
        var operations: [String: String] = [:]
        var path = ""
        var operation = ""
        var isInPaths = false
        for line in text.split(separator: "\n") {
            if !line.hasPrefix(" ") { isInPaths = line == "paths:" }
            guard isInPaths else { continue }
            if line.hasPrefix("  /"), line.hasSuffix(":") { path = String(line.dropFirst(2).dropLast()) }
            let method = line.drop { $0 == " " }.dropLast()
            if line.hasPrefix("    "), !line.hasPrefix("     "), ["get", "post", "put", "patch", "delete"].contains(method) {
                operation = "\(method.uppercased()) \(path)"
                operations[operation] = ""
            }
            if line.hasPrefix("      x-permission:") {
                operations[operation] = line.split(separator: ":", maxSplits: 1)[1].trimmingCharacters(in: .whitespaces)
                    .trimmingCharacters(in: CharacterSet(charactersIn: "\"'"))
            }
        }
        return operations
    }

    private func path(of route: APIRoute, id: String, delivery: String? = nil) -> String {
        route.path.replacing("{id}", with: id).replacing("{delivery}", with: delivery ?? id).replacing("{type}", with: "no.type")
    }

    @Test("every route is in openapi.yaml with its permission, and back")
    func routes() async throws {
        try await APIBench.with { bench in
            var routes: [String: String] = [:]
            for route in bench.server.routes {
                routes["\(route.method.rawValue) \(route.path)"] = route.access.name
            }
            #expect(routes.count > 45)
            let contract = try contract()
            #expect(contract == routes)
        }
    }

    @Test("every route but the open ones needs a token")
    func access() async throws {
        try await APIBench.with { bench in
            for route in bench.server.routes where route.access != .open {
                let path = path(of: route, id: "\(UUID())".lowercased())
                let answer = try await bench.send(route.method, path)
                #expect(answer.status == 401 && answer.code == "token_missing", "\(route.method) \(route.path)")
                #expect(answer.headers[.wwwAuthenticate] != nil)
            }
        }
    }

    @Test("each role may do what its scopes say, and an operator what concerns the platform", arguments: Role.allCases)
    func roles(role: Role) async throws {
        try await APIBench.with { bench in
            let (token, principal) = try await bench.makeToken(role: role)
            let (operatorToken, `operator`) = try await bench.makeToken(role: role)
            try await bench.store.setOperator(
                `operator`.user, true, audit: .test(.operatorChanged, in: nil, target: "user"))
            for route in bench.server.routes {
                guard case .scope(let scope) = route.access else { continue }
                let path = path(of: route, id: "\(UUID())".lowercased())
                for (token, isOperator) in [(token, false), (operatorToken, true)] {
                    let answer = try await bench.send(route.method, path, token: token)
                    let may = principal.may(scope) || isOperator && scope.hasPrefix("platform:")
                    // Whoever may is told what is wrong with the empty request, or gets an answer.
                    #expect(
                        (answer.status == 403) == !may, "\(role) \(isOperator): \(route.method) \(route.path) \(answer.status)")
                }
            }
        }
    }

    @Test("an API key may do what its scopes say, and nothing that is for people", arguments: Role.keyScopes)
    func keys(scope: String) async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            let made = try await bench.send(
                .post, "/api/api-keys", token: token, json: ["name": "test", "scopes": [.string(scope)]])
            let key = try #require(made.json["key"]?.string)
            for route in bench.server.routes where route.access != .open {
                let path = path(of: route, id: "\(UUID())".lowercased())
                let answer = try await bench.send(route.method, path, token: key)
                let may = route.access == .signedIn || route.access == .scope(scope)
                #expect((answer.status == 403) == !may, "\(scope): \(route.method) \(route.path) \(answer.status)")
            }
        }
    }

    @Test("another tenant's ids are not found, by every operation that takes one")
    func otherTenant() async throws {
        try await APIBench.with { bench in
            let (owner, principal) = try await bench.makeToken()
            let (stranger, _) = try await bench.makeToken()
            let run = try await bench.send(.post, "/api/agent/runs", token: owner, json: ["prompt": "mine"])
            let document = try await bench.send(
                .post, "/api/knowledge/documents", token: owner, json: ["title": "Mine", "text": "mine"])
            #expect(run.status == 202 && document.status == 202)
            let key = try await bench.send(
                .post, "/api/api-keys", token: owner, json: ["name": "mine", "scopes": ["runs:read"]])
            let invitation = try await bench.send(
                .post, "/api/invitations", token: owner, json: ["email": "friend@example.com", "role": "member"])
            #expect(key.status == 201 && invitation.status == 201)
            let schedule = try await bench.send(
                .post, "/api/schedules", token: owner, json: ["name": "Mine", "cron": "@daily", "run": ["prompt": "mine"]])
            let webhook = try await bench.send(
                .post, "/api/webhooks", token: owner, json: ["url": "https://mine.example.com/", "events": ["*"]])
            #expect(schedule.status == 201 && webhook.status == 201)
            let delivery = try await bench.send(
                .post, "/api/webhooks/\(webhook.json["id"]?.string ?? "")/test", token: owner)
            #expect(delivery.status == 202)
            let ids = [
                "runs": run.json["id"], "documents": document.json["id"], "api-keys": key.json["id"],
                "invitations": invitation.json["id"], "schedules": schedule.json["id"], "webhooks": webhook.json["id"],
                "tenants": .string("\(principal.tenant)"),
                "users": .string("\(principal.user)"),
            ]
            // What operators do is nobody else's: they are told so before anything is looked for.
            for route in bench.server.routes where route.path.contains("{id}") && !route.access.name.hasPrefix("platform:") {
                let kind = route.path.split(separator: "/").prefix { $0 != "{id}" }.last.map(String.init) ?? ""
                let id = try #require(ids[kind]??.string, "\(kind) has no example")
                let path = self.path(of: route, id: id, delivery: delivery.json["id"]?.string)
                let bodies: [String: JSONValue] = [
                    "users": ["role": "viewer"], "schedules": ["name": "Theirs"], "webhooks": ["description": "Theirs"],
                ]
                let body = bodies[kind] ?? ["toolCallId": "x", "decision": "retry"]
                let answer = try await bench.send(route.method, path, token: stranger, json: body)
                #expect(answer.status == 404 && answer.code == "not_found", "\(route.method) \(route.path): \(answer.status)")
                let elsewhere = try await bench.send(
                    route.method, path, token: stranger, headers: ["X-Tenant-Id": "\(principal.tenant)"], json: body)
                #expect(elsewhere.status == 404, "\(route.method) \(route.path) by X-Tenant-Id")
            }
            for list in ["/api/api-keys", "/api/invitations", "/api/schedules", "/api/webhooks"] {
                #expect(try await bench.send(.get, list, token: stranger).json["items"] == [])
            }
            let members = try await bench.send(.get, "/api/users", token: stranger).text
            let audit = try await bench.send(.get, "/api/audit-logs", token: stranger).text
            let usage = try await bench.send(.get, "/api/usage?groupBy=user", token: stranger).text
            for text in [members, audit, usage] { #expect(!text.contains("\(principal.user)")) }
            for list in ["/api/agent/runs", "/api/knowledge/documents"] {
                #expect(try await bench.send(.get, list, token: stranger).json["items"] == [])
                #expect(try await bench.send(.get, list, token: owner).json["items"]?.array?.count == 1)
            }
            let continued = try await bench.send(
                .post, "/api/agent/runs", token: stranger,
                json: ["prompt": "x", "sessionId": run.json["sessionId"] ?? .null])
            #expect(continued.status == 404)
            #expect(try await bench.database.runs.runs(tenant: principal.tenant, status: nil, page: .init()).items.count == 1)
        }
    }
}
