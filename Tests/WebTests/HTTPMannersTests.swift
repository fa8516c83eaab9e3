import Accounts
import Domain
import Foundation
import HTTPTypes
import TestSupport
import Testing

@testable import Web

@Suite("HTTP manners")
struct HTTPMannersTests {
    @Test("every answer tells browsers to keep to themselves, errors too")
    func headers() async throws {
        try await APIBench.with { bench in
            let (token, _) = try await bench.makeToken()
            for (path, token) in [
                ("/api/agent/runs", token), ("/api/agent/runs", nil), ("/nowhere", nil), ("/api/agent/runs/x", token),
                ("/api/health", nil), ("/api/agent/runs?limit=0", token),
            ] as [(String, String?)] {
                let answer = try await bench.send(.get, path, token: token)
                #expect(answer.headers[.xContentTypeOptions] == "nosniff")
                #expect(answer.headers[.referrerPolicy] == "no-referrer")
                #expect(answer.headers[.contentSecurityPolicy]?.contains("frame-ancestors 'none'") == true)
                #expect(answer.headers[.cacheControl]?.contains("no-store") == true)
                #expect(answer.headers[.strictTransportSecurity] == nil, "no TLS, no promise of it")
            }
        }
    }

    @Test("a path and query that are too long are refused")
    func longAddress() async throws {
        try await APIBench.with { bench in
            let answer = try await bench.send(.get, "/api/health?x=" + String(repeating: "a", count: 9000))
            #expect(answer.status == 414 && answer.code == "uri_too_long")
        }
    }

    @Test("CORS: origins that the server or the tenant lists, to the letter, and never *")
    func cors() async throws {
        var http = HTTPConfiguration()
        http.corsOrigins = ["https://app.example.com"]
        try await APIBench.with(http: http) { bench in
            let (owner, principal) = try await bench.makeToken()
            let (stranger, _) = try await bench.makeToken()
            let changed = try await bench.send(
                .patch, "/api/tenants/\(principal.tenant)", token: owner,
                json: ["corsOrigins": ["https://theirs.example.com:8443"]])
            #expect(changed.json["corsOrigins"] == ["https://theirs.example.com:8443"])
            func allowed(_ origin: String, _ token: String?) async throws -> String? {
                let answer = try await bench.send(.get, "/api/agent/runs", token: token, headers: ["Origin": origin])
                #expect(answer.headers[.vary]?.contains("Origin") == true)
                #expect(answer.headers[.accessControlAllowCredentials] == nil)
                return answer.headers[.accessControlAllowOrigin]
            }
            for token in [owner, stranger, nil] {
                #expect(try await allowed("https://app.example.com", token) == "https://app.example.com")
                for wrong in [
                    "https://app.example.com.evil.com", "https://app.example.com:8443", "http://app.example.com", "null",
                    "https://APP.example.com", "*",
                ] {
                    #expect(try await allowed(wrong, token) == nil, "\(wrong)")
                }
            }
            #expect(try await allowed("https://theirs.example.com:8443", owner) != nil)
            #expect(try await allowed("https://theirs.example.com:8443", stranger) == nil)
            func preflight(_ origin: String, _ path: String = "/api/agent/runs") async throws -> APIBench.Answer {
                try await bench.send(
                    .options, path, headers: ["Origin": origin, "Access-Control-Request-Method": "POST"])
            }
            for origin in ["https://app.example.com", "https://theirs.example.com:8443"] {
                let answer = try await preflight(origin)
                #expect(answer.status == 204 && answer.headers[.accessControlAllowOrigin] == origin)
                #expect(answer.headers[.accessControlAllowMethods]?.contains("POST") == true)
                #expect(answer.headers[.accessControlAllowHeaders]?.contains("Authorization") == true)
                #expect(answer.headers[.vary]?.contains("Origin") == true)
            }
            #expect(try await preflight("https://evil.example.com").headers[.accessControlAllowOrigin] == nil)
            #expect(try await preflight("https://app.example.com", "/nowhere").headers[.accessControlAllowMethods] == nil)
            let plain = try await bench.send(.options, "/api/agent/runs")
            #expect(plain.status == 405)
            for wrong in [
                "*", "https://a.example.com/", "https://A.example.com", "ftp://a.example.com", "a.example.com", "",
                "http://[775]", "https://a.example.com:99999",
            ] {
                let answer = try await bench.send(
                    .patch, "/api/tenants/\(principal.tenant)", token: owner, json: ["corsOrigins": [.string(wrong)]])
                #expect(answer.code == "invalid_request", "\(wrong)")
            }
        }
    }

    @Test("only a trusted proxy's word about the client is taken")
    func proxies() throws {
        let proxies = try #require(TrustedProxies(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]))
        func client(_ peer: String?, _ forwarded: String...) -> String? {
            var headers = HTTPFields()
            for line in forwarded { headers.append(HTTPField(name: .forwardedFor, value: line)) }
            return proxies.client(of: peer, headers)
        }
        #expect(client("203.0.113.9", "198.51.100.7") == "203.0.113.9")
        #expect(client("10.1.2.3", "198.51.100.7") == "198.51.100.7")
        #expect(client("10.1.2.3", "1.2.3.4, 198.51.100.7, 10.9.9.9") == "198.51.100.7", "what the client says itself is not")
        #expect(client("10.1.2.3", "1.2.3.4", "198.51.100.7") == "198.51.100.7")
        #expect(client("::ffff:10.1.2.3", "198.51.100.7") == "198.51.100.7")
        #expect(client("fd00::7", "2001:db8::1") == "2001:db8::1")
        #expect(client("10.1.2.3", "nonsense") == "10.1.2.3")
        #expect(client("10.1.2.3") == "10.1.2.3")
        #expect(client("192.0.2.2", "198.51.100.7") == "192.0.2.2")
        #expect(client(nil, "198.51.100.7") == nil)
        var secure = HTTPFields()
        secure[.forwardedProto] = "https"
        #expect(proxies.isSecure("192.0.2.1", secure) && !proxies.isSecure("192.0.2.2", secure))
        for wrong in ["10.0.0.0/33", "10.0.0", "x", "10.0.0.0/-1", "/8"] { #expect(TrustedProxies([wrong]) == nil, "\(wrong)") }
    }

    @Test("the page of the contract and the contract itself are served, the page with a policy of its own")
    func documentation() async throws {
        try await APIBench.with { bench in
            let document = try await bench.send(.get, "/openapi.json")
            #expect(document.json["openapi"] == "3.1.0")
            #expect(document.json["paths"]?.object?.count ?? 0 > 30)
            let page = try await bench.send(.get, "/docs")
            #expect(page.status == 200 && page.headers[.contentType] == "text/html; charset=utf-8")
            #expect(page.headers[.contentSecurityPolicy]?.hasPrefix("default-src 'none'; style-src") == true)
            #expect(page.text.contains("openapi.json") && !page.text.contains("http://") && !page.text.contains("//cdn"))
        }
    }
}
