import Domain
import Foundation
import TestSupport
import Testing

/// What a client may do to a connection: the real server answers each with a problem, and never hangs.
@Suite("Connections")
struct RawHTTPTests {
    private func withRawServer(_ work: @escaping @Sendable (SBAProcess, TestClient) async throws -> Void) async throws {
        try await withServer { server, client, _ in try await work(server, client) }
    }

    private func code(_ answer: String) -> String? {
        guard let start = answer.range(of: "\r\n\r\n") else { return nil }
        return (try? JSONValue(parsing: String(answer[start.upperBound...])))?["code"]?.string
    }

    @Test("what is not HTTP, and headers beyond the bound")
    func malformed() async throws {
        try await withRawServer { server, _ in
            let long = String(repeating: "h", count: 40_000)
            let many = (0..<150).map { "X-\($0): 1\r\n" }.joined()
            let requests: [(String, String, String)] = [
                ("GARBAGE\r\n\r\n", "400", "malformed_http"),
                ("GET / HTTP/1.1\r\nHost: a\r\nno colon here\r\n\r\n", "400", "malformed_http"),
                ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400", "malformed_http"),
                (
                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
                    "malformed_http"
                ),
                ("GET / HTTP/1.1\r\nHost: a\r\nX-Long: \(long)\r\n\r\n", "431", "headers_too_large"),
                ("GET / HTTP/1.1\r\nHost: a\r\n\(many)\r\n", "431", "headers_too_large"),
            ]
            for (request, status, code) in requests {
                let connection = try RawConnection(url: server.url)
                connection.send(request)
                let answer = connection.read()
                #expect(answer.hasPrefix("HTTP/1.1 \(status)"), "\(request.prefix(60)): \(answer.prefix(60))")
                #expect(self.code(answer) == code)
                #expect(answer.contains("application/problem+json"))
            }
        }
    }

    @Test("a client that never finishes its headers is told so and let go")
    func slowHeaders() async throws {
        try await withRawServer { server, _ in
            let connection = try RawConnection(url: server.url, timeout: 40)
            connection.send("GET /api/health HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            let answer = connection.read()
            #expect(answer.hasPrefix("HTTP/1.1 408"))
            #expect(code(answer) == "request_timeout")
        }
    }

    @Test("a client that never finishes its body is told so")
    func slowBody() async throws {
        try await withRawServer { server, client in
            let connection = try RawConnection(url: server.url, timeout: 60)
            connection.send(
                "POST /api/agent/runs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(client.token)\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"prompt\"")
            let answer = connection.read { $0.contains("request_timeout") }
            #expect(answer.hasPrefix("HTTP/1.1 408"))
            #expect(code(answer) == "request_timeout")
        }
    }

    @Test("a client that stops sending still gets its answer, and one that leaves early harms nobody")
    func halfClosed() async throws {
        try await withRawServer { server, client in
            let connection = try RawConnection(url: server.url)
            connection.send("GET /api/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.finishSending()
            #expect(connection.read().contains("{\"status\":\"ok\"}"))
            let cut = try RawConnection(url: server.url)
            cut.send(
                "POST /api/agent/runs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(client.token)\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"prompt\"")
            cut.finishSending()
            #expect(code(cut.read()) == "malformed_http")
            for _ in 0..<20 { _ = try RawConnection(url: server.url) }
            #expect(try await client.send("GET", "/api/health").status == 200)
            #expect(try await client.send("GET", "/api/agent/runs").json["items"] == [])
        }
    }

    @Test("an upgrade that nobody asked for is answered as the plain request it is")
    func upgrade() async throws {
        try await withRawServer { server, _ in
            let connection = try RawConnection(url: server.url)
            connection.send(
                "GET /api/health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            #expect(connection.read { $0.contains("\"ok\"") }.hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test("a body that waits to be asked for is asked for, and HEAD has no body")
    func manners() async throws {
        try await withRawServer { server, _ in
            let connection = try RawConnection(url: server.url)
            connection.send(
                "POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                    + "Expect: 100-continue\r\n\r\n")
            #expect(connection.read { $0.hasSuffix("\r\n\r\n") }.hasPrefix("HTTP/1.1 100"))
            connection.send("{}")
            #expect(connection.read { $0.contains("invalid_request") }.hasPrefix("HTTP/1.1 400"))
            let head = try RawConnection(url: server.url)
            head.send("HEAD /api/health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /api/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            let answers = head.read { $0.contains("{\"status\":\"ok\"}") }
            #expect(answers.components(separatedBy: "HTTP/1.1 200").count == 3)
            #expect(answers.components(separatedBy: "{\"status\":\"ok\"}").count == 2)
        }
    }

    @Test("a connection serves the next request after a stream, and one that is half closed ends its stream")
    func streams() async throws {
        try await withRawServer { server, client in
            let body = "{\"prompt\":\"words:2\"}"
            let run =
                "POST /api/agent/runs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(client.token)\r\n"
                + "Content-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
                + body
            let connection = try RawConnection(url: server.url)
            for _ in 0..<3 {
                connection.send(run)
                let answer = connection.read { $0.hasSuffix("\r\n0\r\n\r\n") }
                #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("event: RUN_FINISHED"))
            }
            connection.send("GET /api/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(connection.read { $0.contains("{\"status\":\"ok\"}") }.hasPrefix("HTTP/1.1 200"))
            let silent = try await client.send("POST", "/api/agent/runs", ["prompt": "hang:1 words:9"])
            let id = try #require(silent.json["id"]?.string)
            let leaving = try RawConnection(url: server.url)
            leaving.send(
                "GET /api/agent/runs/\(id)/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \(client.token)\r\n\r\n")
            _ = leaving.read { $0.contains("RUN_STARTED") }
            leaving.finishSending()
            #expect(leaving.read().hasSuffix("0\r\n\r\n"))
        }
    }
}
