import Accounts
import Domain
import Foundation
import HTTPTypes
import TestSupport
import Testing
import Web

@Suite("Bad input")
struct BadInputTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let method: HTTPRequest.Method
        let path: String
        var body: [UInt8]?
        var type: String? = "application/json"
        var headers: [String: String] = [:]
        let status: Int
        let code: String

        init(
            _ description: String, _ method: HTTPRequest.Method = .post, _ path: String = "/api/agent/runs",
            _ body: String? = nil, bytes: [UInt8]? = nil, type: String? = "application/json",
            headers: [String: String] = [:], status: Int = 400, code: String
        ) {
            testDescription = description
            self.method = method
            self.path = path
            self.body = bytes ?? body.map { Array($0.utf8) }
            self.type = type
            self.headers = headers
            self.status = status
            self.code = code
        }
    }

    static let deep = String(repeating: "[", count: 100_000)
    static let documents = "/api/knowledge/documents"
    static let search = "/api/knowledge/search"
    static let unknownID = "/api/agent/runs/019b0d0e-7c1a-7def-8123-456789abcdef"

    static let cases: [Case] = [
        Case("no body", .post, "/api/agent/runs", "", code: "invalid_json"),
        Case("half an object", .post, "/api/agent/runs", #"{"prompt": "#, code: "invalid_json"),
        Case("two values", .post, "/api/agent/runs", #"{} {}"#, code: "invalid_json"),
        Case("deep nesting", .post, "/api/agent/runs", deep, code: "invalid_json"),
        Case("a duplicate key", .post, "/api/agent/runs", #"{"prompt":"a","prompt":"b"}"#, code: "invalid_json"),
        Case("a NUL escape", .post, "/api/agent/runs", #"{"prompt":"a\u0000b"}"#, code: "invalid_json"),
        Case("a raw NUL", bytes: Array(#"{"prompt":"a"#.utf8) + [0] + Array(#""}"#.utf8), code: "invalid_json"),
        Case("bad UTF-8", bytes: Array(#"{"prompt":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8), code: "invalid_json"),
        Case("a lone surrogate", .post, "/api/agent/runs", #"{"prompt":"\ud800"}"#, code: "invalid_json"),
        Case("an array", .post, "/api/agent/runs", "[]", code: "invalid_request"),
        Case("a wrong type", .post, "/api/agent/runs", #"{"prompt":7}"#, code: "invalid_request"),
        Case("a missing field", .post, "/api/agent/runs", "{}", code: "invalid_request"),
        Case("an empty prompt", .post, "/api/agent/runs", #"{"prompt":""}"#, code: "invalid_request"),
        Case("an unknown field", .post, "/api/agent/runs", #"{"prompt":"x","promt":"y"}"#, code: "invalid_request"),
        Case("an unknown option", .post, "/api/agent/runs", #"{"prompt":"x","options":{"a":1}}"#, code: "invalid_request"),
        Case("a bad session id", .post, "/api/agent/runs", #"{"prompt":"x","sessionId":"me"}"#, code: "invalid_request"),
        Case("a huge number", .post, "/api/agent/runs", #"{"prompt":"x","options":{"stepLimit":1e999}}"#, code: "invalid_json"),
        Case("too many steps", .post, "/api/agent/runs", #"{"prompt":"x","options":{"stepLimit":101}}"#, code: "invalid_request"),
        Case("an unknown tool", .post, "/api/agent/runs", #"{"prompt":"x","options":{"tools":["saw"]}}"#, code: "unknown_tool"),
        Case("an unknown model", .post, "/api/agent/runs", #"{"prompt":"x","options":{"model":"a/b"}}"#, code: "unknown_model"),
        Case(
            "another content type", .post, "/api/agent/runs", "{}", type: "text/plain", status: 415,
            code: "unsupported_media_type"),
        Case("no content type", .post, "/api/agent/runs", "{}", type: nil, status: 415, code: "unsupported_media_type"),
        Case(
            "an oversize body", bytes: Array(repeating: 0x20, count: (1 << 20) + 1), status: 413, code: "body_too_large"),
        Case(
            "a long idempotency key", .post, "/api/agent/runs", #"{"prompt":"x"}"#,
            headers: ["Idempotency-Key": String(repeating: "k", count: 201)], code: "invalid_request"),
        Case("a bad id", .get, "/api/agent/runs/me", code: "invalid_id"),
        Case("a bad id with dots", .get, "/api/agent/runs/..%2f..%2fetc", code: "invalid_id"),
        Case("an unknown id", .get, unknownID, status: 404, code: "not_found"),
        Case("a bad cursor", .get, "/api/agent/runs?cursor=abc", code: "invalid_cursor"),
        Case("a cursor of nonsense", .get, "/api/agent/runs?cursor=c1.zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", code: "invalid_cursor"),
        Case("a limit of zero", .get, "/api/agent/runs?limit=0", code: "invalid_request"),
        Case("a limit of words", .get, "/api/agent/runs?limit=ten", code: "invalid_request"),
        Case("an unknown status", .get, "/api/agent/runs?status=gone", code: "invalid_request"),
        Case("an unknown path", .get, "/api/nothing", status: 404, code: "not_found"),
        Case("a method that is not there", .delete, "/api/agent/runs", status: 405, code: "method_not_allowed"),
        Case("a document without text", .post, documents, #"{"title":"x"}"#, code: "invalid_request"),
        Case(
            "a bad collection", .post, documents, #"{"title":"x","text":"y","collection":"No Spaces"}"#, code: "invalid_request"),
        Case("metadata that is no object", .post, documents, #"{"title":"x","text":"y","metadata":[]}"#, code: "invalid_request"),
        Case(
            "an unknown format", .post, documents, #"{"title":"x","text":"y","mediaType":"image/png"}"#, code: "invalid_request"),
        Case("a form without a boundary", .post, documents, "x", type: "multipart/form-data", code: "invalid_request"),
        Case(
            "a form that is cut", .post, documents, "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf",
            type: "multipart/form-data; boundary=b", code: "invalid_request"),
        Case(
            "a form with a picture", .post, documents,
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nx\r\n--b--\r\n",
            type: "multipart/form-data; boundary=b", status: 415, code: "unsupported_media_type"),
        Case("a search without a query", .post, search, "{}", code: "invalid_request"),
        Case("a search mode that is not there", .post, search, #"{"query":"x","mode":"psychic"}"#, code: "invalid_request"),
        Case("a search for too much", .post, search, #"{"query":"x","limit":51}"#, code: "invalid_request"),
    ]

    @Test("is answered with a problem that says what to do", arguments: cases)
    func refused(_ input: Case) async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            var headers = input.headers
            headers["Content-Type"] = input.type
            let answer = try await bench.send(input.method, input.path, token: token, headers: headers, bytes: input.body)
            #expect(answer.status == input.status)
            #expect(answer.code == input.code)
            #expect(answer.headers[.contentType] == "application/problem+json")
            #expect(answer.json["detail"]?.string?.isEmpty == false)
            #expect(answer.json["requestId"]?.string == answer.headers[.init("X-Request-Id")!])
            #expect(answer.json["status"]?.int == Int64(input.status))
        }
    }

    @Test("all faults of a request are told at once, each with its field")
    func allFaults() async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            let answer = try await bench.send(
                .post, "/api/agent/runs", token: token,
                json: ["prompt": 1, "sessionId": "x", "extra": true, "options": ["stepLimit": 0, "tools": "all"]])
            let fields = (answer.json["errors"]?.array ?? []).compactMap { $0["field"]?.string }
            #expect(Set(fields) == ["prompt", "sessionId", "extra", "options.stepLimit", "options.tools"])
        }
    }

    @Test("tokens that are not ours are refused, each with its code")
    func tokens() async throws {
        try await APIBench.with { bench in
            let (token, principal) = try await bench.makeToken()
            let parts = token.split(separator: ".").map(String.init)
            let none = Data(#"{"alg":"none","typ":"JWT"}"#.utf8).base64EncodedString().replacingOccurrences(of: "=", with: "")
            let other = try await TokenService(
                keys: [SigningKey(id: "other", pem: TokenService.makeKey())], now: Ambient.system.now)
            let membership = Membership(tenant: principal.tenant, user: principal.user, role: .owner, version: 1)
            let signIn = try await bench.database.makeSignIn(principal)
            let past = Timestamp(microseconds: Ambient.system.now().microseconds - 3_600_000_000)
            let forged = [
                "", "x", "a.b.c", parts[0] + "." + parts[1], "\(none).\(parts[1]).", "\(none).\(parts[1]).\(parts[2])",
                parts[0] + "." + parts[1] + "." + String(parts[2].reversed()), String(repeating: "a", count: 10_000),
                try await other.issue(membership, signIn: signIn),
            ]
            for forgery in forged {
                let answer = try await bench.send(.get, "/api/auth/me", token: forgery)
                #expect(answer.status == 401 && answer.code == "token_invalid", "\(forgery.prefix(40)): \(answer.code ?? "")")
            }
            let outdated = Membership(tenant: principal.tenant, user: principal.user, role: .owner, version: 0)
            let revoked = try await bench.send(
                .get, "/api/auth/me", token: try await bench.tokens.issue(outdated, signIn: signIn))
            #expect(revoked.code == "token_invalid")
            let basic = try await bench.send(.get, "/api/auth/me", headers: ["Authorization": "Basic eDp5"])
            #expect(basic.code == "token_invalid")
            let expired = try await TokenService(keys: bench.keys, now: { past }).issue(membership, signIn: signIn)
            let late = try await bench.send(.get, "/api/auth/me", token: expired)
            #expect(late.status == 401 && late.code == "token_expired")
            #expect(try await bench.send(.get, "/api/auth/me", token: token).status == 200)
        }
    }

    @Test("a stream's cursor is checked wherever it stands, also where another one is used")
    func cursors() async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            let run = try await bench.send(.post, "/api/agent/runs", token: token, json: ["prompt": "x"])
            let path = "/api/agent/runs/\(run.json["id"]?.string ?? "")/events"
            for (query, header) in [
                ("abc", nil), ("abc", "1"), ("9223372036854775808", "1"), ("-1", nil), (nil, "x"), ("1", "x"),
            ]
                as [(String?, String?)]
            {
                let answer = try await bench.send(
                    .get, path + (query.map { "?after=\($0)" } ?? ""), token: token,
                    headers: header.map { ["Last-Event-ID": $0] } ?? [:])
                #expect(answer.code == "invalid_cursor", "\(query ?? "-") \(header ?? "-")")
            }
        }
    }

    @Test("whole numbers are whole however they are written")
    func wholeNumbers() async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            for (limit, status) in [("29.0", 200), ("2.9e1", 200), ("29", 200), ("29.5", 400), ("1e400", 400), ("1e19", 400)] {
                let answer = try await bench.send(
                    .post, "/api/knowledge/search", token: token, headers: ["Content-Type": "application/json"],
                    bytes: Array(#"{"query": "x", "limit": \#(limit)}"#.utf8))
                #expect(answer.status == status, "\(limit)")
            }
        }
    }

    @Test("sign-in tells nobody whether an account exists")
    func signIn() async throws {
        try await APIBench.with { bench in
            let made = try await bench.send(
                .post, "/api/auth/register",
                json: ["email": "Ann@Example.com", "password": "long-enough-1", "tenantName": "Ann's"])
            #expect(made.status == 201)
            #expect(made.json["tenant"]?["role"] == "owner")
            let token = try #require(made.json["accessToken"]?.string)
            let me = try await bench.send(.get, "/api/auth/me", token: token)
            #expect(me.json["user"]?["email"] == "ann@example.com")
            let right = try await bench.send(
                .post, "/api/auth/login", json: ["email": "ann@example.com", "password": "long-enough-1"])
            #expect(right.status == 200)
            let wrong = try await bench.send(
                .post, "/api/auth/login", json: ["email": "ann@example.com", "password": "long-enough-2"])
            let unknown = try await bench.send(
                .post, "/api/auth/login", json: ["email": "bob@example.com", "password": "long-enough-2"])
            #expect(wrong.status == 401 && unknown.status == 401)
            #expect(wrong.json["detail"] == unknown.json["detail"] && wrong.code == unknown.code)
            let taken = try await bench.send(
                .post, "/api/auth/register",
                json: ["email": "ann@example.com", "password": "long-enough-1", "tenantName": "Again"])
            #expect(taken.status == 409 && taken.code == "email_taken")
            let weak = try await bench.send(
                .post, "/api/auth/register", json: ["email": "nobody", "password": "short", "tenantName": ""])
            #expect(weak.json["errors"]?.array?.count == 3)
        }
    }

    @Test("a request id is echoed when it is one, and made when it is not", arguments: ["abc-1", "", "with space", "ü"])
    func requestID(id: String) async throws {
        try await APIBench.with { bench in
            let answer = try await bench.send(.get, "/api/health/live", headers: ["X-Request-Id": id])
            let echoed = try #require(answer.headers[.init("X-Request-Id")!])
            #expect((echoed == id) == (id == "abc-1"))
            #expect(!echoed.isEmpty)
        }
    }

    @Test("a form takes a document in, with its name as its title")
    func form() async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            let form = [
                "--b", "Content-Disposition: form-data; name=\"file\"; filename=\"tea.md\"", "", "# Tea", "", "At four.",
                "--b", "Content-Disposition: form-data; name=\"metadata\"", "", #"{"page":1}"#, "--b--", "",
            ].joined(separator: "\r\n")
            let answer = try await bench.send(
                .post, Self.documents, token: token, headers: ["Content-Type": "multipart/form-data; boundary=b"],
                bytes: Array(form.utf8))
            #expect(answer.status == 202)
            #expect(answer.json["title"] == "tea.md" && answer.json["mediaType"] == "text/markdown")
            #expect(answer.json["metadata"] == ["page": 1] && answer.json["status"] == "pending")
            #expect(answer.json["byteCount"] == .int(Int64("# Tea\r\n\r\nAt four.".utf8.count)))
        }
    }
}
