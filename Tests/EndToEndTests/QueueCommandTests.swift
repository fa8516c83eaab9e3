import Domain
import Foundation
import TestSupport
import Testing

@Suite("Queues from the command line", .serialized)
struct QueueCommandTests {
    @Test("a queue is paused, looked at, given up on and resumed; the second port tells of it to whoever has the token")
    func queues() async throws {
        let token = "a-token-for-prometheus"
        try await withServer(environment: ["SBA_METRICS_TOKEN": token]) { server, client, _ in
            let environment = ["SBA_URL": server.url, "SBA_TOKEN": client.token]
            let list = try await server.run("queue", environment: environment)
            #expect(list.status == 0 && list.standardOutput.contains("index_document"))
            let paused = try await server.run("queue", "pause", "run", environment: environment)
            #expect(paused.status == 0 && paused.standardOutput.contains("paused"))
            let run = try await client.send("POST", "/api/agent/runs", ["prompt": "words:1"])
            let id = try #require(run.json["id"]?.string)
            let shown = try await server.run("queue", "show", "run", "--state", "available", "--json", environment: environment)
            let job = try #require(try JSONValue(parsing: shown.standardOutput.filter { $0 != "\n" })["items"]?.array?.first)
            #expect(job["subject"] == .string(id))
            let metrics = try await Self.metrics(of: server, token: token)
            #expect(metrics.contains("sba_queue_paused{queue_name=\"run\"} 1"))
            #expect(metrics.contains("sba_jobs{queue_name=\"run\",state=\"available\"} 1"))
            let refused = try await Self.metrics(of: server, token: "wrong")
            #expect(refused.contains("SBA_METRICS_TOKEN") && !refused.contains("sba_"))
            let discarded = try await server.run("queue", "discard", job["id"]?.string ?? "", environment: environment)
            #expect(discarded.status == 0)
            let limited = try await server.run("queue", "limit", "run", "5", environment: environment)
            #expect(limited.status == 0)
            let resumed = try await server.run("queue", "resume", "run", environment: environment)
            #expect(resumed.status == 0 && resumed.standardOutput.contains("open"))
            let end = try await client.wait(for: id, in: ["failed", "succeeded"])
            #expect(end["status"] == "failed" && end["error"]?["message"]?.string?.contains("gave it up") == true)
            let unknown = try await server.run("queue", "pause", "nothing", environment: environment)
            #expect(unknown.status == 1 && unknown.standardError.contains("no such queue"))
        }
    }

    /// What the second port says of the workers; it is found in the log.
    private static func metrics(of server: SBAProcess, token: String) async throws -> String {
        let line = try #require(server.log.split(separator: "\n").first { $0.contains("Metrics are served.") })
        let port = try #require(try JSONValue(parsing: String(line))["port"]?.string)
        let client = TestClient(url: "http://127.0.0.1:\(port)", token: token)
        return try await client.send("GET", "/metrics/workers").text
    }
}
