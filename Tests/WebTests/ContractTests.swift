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

    @Test("every route is in openapi.yaml with its permission, and back")
    func routes() async throws {
        try await APIBench.with { bench in
            var routes: [String: String] = [:]
            for route in bench.server.routes {
                let access =
                    switch route.access {
                    case .open: "open"
                    case .signedIn: "signed-in"
                    case .scope(let scope): scope
                    }
                routes["\(route.method.rawValue) \(route.path)"] = access
            }
            #expect(routes.count > 15)
            let contract = try contract()
            #expect(contract == routes)
        }
    }

    @Test("every route but the open ones needs a token")
    func access() async throws {
        try await APIBench.with { bench in
            for route in bench.server.routes where route.access != .open {
                let path = route.path.replacingOccurrences(of: "{id}", with: "\(UUID())".lowercased())
                let answer = try await bench.send(route.method, path)
                #expect(answer.status == 401 && answer.code == "token_missing", "\(route.method) \(route.path)")
                #expect(answer.headers[.wwwAuthenticate] != nil)
            }
        }
    }

    @Test("a viewer may read and nothing else")
    func viewer() async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken(role: .viewer)
            for route in bench.server.routes {
                guard case .scope(let scope) = route.access else { continue }
                let path = route.path.replacingOccurrences(of: "{id}", with: "\(UUID())".lowercased())
                let answer = try await bench.send(route.method, path, token: token)
                #expect((answer.status == 403) == scope.hasSuffix(":write"), "\(route.method) \(route.path): \(answer.status)")
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
            for route in bench.server.routes where route.path.contains("{id}") {
                let id = route.path.contains("/runs/") ? run.json["id"]?.string : document.json["id"]?.string
                let path = route.path.replacingOccurrences(of: "{id}", with: try #require(id))
                let body: JSONValue = ["toolCallId": "x", "decision": "retry"]
                let answer = try await bench.send(route.method, path, token: stranger, json: body)
                #expect(answer.status == 404 && answer.code == "not_found", "\(route.method) \(route.path): \(answer.status)")
            }
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
