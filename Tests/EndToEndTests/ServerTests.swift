import Domain
import Foundation
import Hummingbird
import TestSupport
import Testing

/// Runs a scripted model, a tool server and the real binary on them and on a database of its own.
func withServer(
    on engine: TestEngine = .sqliteFile, environment: [String: String] = [:], folder: TemporaryFolder = TemporaryFolder(),
    toolDuration: Duration = .milliseconds(20),
    _ work: @escaping @Sendable (SBAProcess, TestClient, JournalToolServer) async throws -> Void
) async throws {
    let tools = JournalToolServer(duration: toolDuration)
    let router = Router()
    ScriptedModelServer().addRoutes(to: router)
    tools.addRoutes(to: router)
    try await withHTTPServer(router) { url in
        let toolsFile = folder.path + "/tools.json"
        try JournalToolServer.declaration(url: url).write(toFile: toolsFile, atomically: true, encoding: .utf8)
        let defaults = [
            "OPENAI_BASE_URL": url + "/v1", "SBA_MODEL": "openai/scripted", "SBA_TOOLS_FILE": toolsFile,
        ]
        try await engine.withServerEnvironment { database in
            let all = defaults.merging(database) { $1 }.merging(environment) { $1 }
            let server = SBAProcess(environment: all, folder: folder)
            try await server.start()
            let client = try await TestClient.signedIn(to: server)
            try await work(server, client, tools)
            await server.stop()
        }
    }
}

@Suite("The real server", .serialized)
struct ServerTests {
    @Test("a streamed run with a tool call, which AG-UI's own models and ordering rules accept", arguments: TestEngine.servers)
    func agui(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            var lines: [String] = []
            try await client.events(
                "POST", "/api/agent/runs", ["prompt": "tools:2 tool:note words:5 delay:20"]
            ) { event in
                lines.append(event.data)
                return true
            }
            #expect(lines.count > 15)
            let report = try verifyAGUI(lines)
            #expect(report.status == 0, "\(report.text)")
            #expect(report.text.contains("violations: 0"))
            // The verifier itself notices a broken order.
            #expect(try verifyAGUI(Array(lines.dropFirst())).status == 1)
        }
    }

    @Test("cancelled and failed runs keep AG-UI's ordering rules too", arguments: TestEngine.servers)
    func aguiEnds(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            for prompt in ["hang:1 words:5", "status:400"] {
                let started = try await client.send("POST", "/api/agent/runs", ["prompt": .string(prompt)])
                let run = try #require(started.json["id"]?.string)
                if prompt.hasPrefix("hang") {
                    while try await client.send("GET", "/api/agent/runs/\(run)/steps").json["items"]?.array?.isEmpty != false {
                        try await Task.sleep(for: .milliseconds(10))
                    }
                    _ = try await client.send("POST", "/api/agent/runs/\(run)/cancel")
                }
                let lines = try await client.log(of: run).map(\.data)
                let report = try verifyAGUI(lines)
                #expect(report.status == 0, "\(report.text)")
            }
        }
    }

    private func verifyAGUI(_ lines: [String]) throws -> (status: Int32, text: String) {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
        return try runTool(
            root + "/.tools/agui/bin/python", [root + "/scripts/verify_agui.py"], input: lines.joined(separator: "\n"))
    }

    @Test("a stream goes on from any event, on a new connection", arguments: TestEngine.servers)
    func resume(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            let started = try await client.send("POST", "/api/agent/runs", ["prompt": "words:20 delay:10"])
            #expect(started.status == 202)
            let run = try #require(started.json["id"]?.string)
            #expect(started.headers["location"] == "/api/agent/runs/\(run)")
            var pieces: [TestClient.Event] = []
            var last: Int64 = 0
            while pieces.last?.type != "RUN_FINISHED" {
                var taken = 0
                try await client.events("GET", "/api/agent/runs/\(run)/events", after: last) { event in
                    pieces.append(event)
                    last = event.id
                    taken += 1
                    return taken < 2
                }
            }
            #expect(pieces.map(\.id) == Array(1...Int64(pieces.count)))
            #expect(pieces.map(\.data) == (try await client.log(of: run)).map(\.data))
            let text = pieces.filter { $0.type == "TEXT_MESSAGE_CONTENT" }.compactMap { $0.json["delta"]?.string }.joined()
            #expect(text == (0..<20).map { "word\($0) " }.joined())
            let beyond = try await client.send("GET", "/api/agent/runs/\(run)/events?after=9999")
            #expect(beyond.status == 400 && beyond.json["code"] == "invalid_cursor")
        }
    }

    @Test("a run is cancelled within a second in the middle of a model's stream", arguments: TestEngine.servers)
    func cancel(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            let started = try await client.send("POST", "/api/agent/runs", ["prompt": "hang:1 words:9"])
            let run = try #require(started.json["id"]?.string)
            var cancelled: ContinuousClock.Instant?
            var types: [String] = []
            try await client.events("GET", "/api/agent/runs/\(run)/events") { event in
                types.append(event.type)
                if event.type == "TEXT_MESSAGE_CONTENT", cancelled == nil {
                    cancelled = .now
                    let answer = try await client.send("POST", "/api/agent/runs/\(run)/cancel")
                    #expect(answer.status == 202)
                }
                return true
            }
            let took = ContinuousClock.now - (try #require(cancelled))
            #expect(took < .seconds(1), "it took \(took)")
            #expect(types.last == "RUN_FINISHED")
            #expect(try await client.send("GET", "/api/agent/runs/\(run)").json["status"] == "cancelled")
        }
    }

    @Test("the same Idempotency-Key gives the same run, also after a crash", arguments: TestEngine.servers)
    func idempotency(engine: TestEngine) async throws {
        try await withServer(on: engine) { server, client, _ in
            let headers = ["Idempotency-Key": "order-17"]
            let first = try await client.send("POST", "/api/agent/runs", ["prompt": "words:1"], headers: headers)
            await server.kill()
            try await server.start()
            let later = TestClient(url: server.url, token: client.token)
            let again = try await later.send("POST", "/api/agent/runs", ["prompt": "words:1"], headers: headers)
            #expect(again.json["id"] == first.json["id"])
            let other = try await later.send("POST", "/api/agent/runs", ["prompt": "words:2"], headers: headers)
            #expect(other.status == 422 && other.json["code"] == "idempotency_key_reused")
            #expect(try await later.send("GET", "/api/agent/runs").json["items"]?.array?.count == 1)
        }
    }

    @Test("a client that leaves its stream costs nothing", arguments: TestEngine.servers)
    func leaving(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            let started = try await client.send("POST", "/api/agent/runs", ["prompt": "hang:1 words:9"])
            let run = try #require(started.json["id"]?.string)
            for _ in 0..<5 {
                try await client.events("GET", "/api/agent/runs/\(run)/events") { _ in false }
            }
            var open = "?"
            for _ in 0..<200 where open != "0" {
                let metrics = try await client.send("GET", "/api/metrics/prometheus").text
                open =
                    metrics.split(separator: "\n").first { $0.hasPrefix("sba_live_streams ") }
                    .map { String($0.split(separator: " ")[1]) } ?? "?"
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(open == "0")
        }
    }

    @Test("a request may wait for its run, no longer than it says", arguments: TestEngine.servers)
    func waiting(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            let wait = ["Prefer": "respond-async;x=1, wait=60"]
            let done = try await client.send("POST", "/api/agent/runs", ["prompt": "words:3"], headers: wait)
            #expect(done.status == 200 && done.json["status"] == "succeeded")
            #expect(done.json["output"]?.string?.isEmpty == false)
            #expect(done.headers["preference-applied"] == "wait=60")
            #expect(done.headers["location"]?.hasSuffix(done.json["id"]?.string ?? "-") == true)
            let start = ContinuousClock.now
            let slow = try await client.send(
                "POST", "/api/agent/runs", ["prompt": "hang:1 words:9"], headers: ["Prefer": "wait=1"])
            #expect(slow.status == 202 && slow.json["status"] == "running")
            #expect(.now - start < .seconds(5))
            for bad in ["wait", "wait=0", "wait=301", "wait=soon"] {
                let answer = try await client.send(
                    "POST", "/api/agent/runs", ["prompt": "words:1"], headers: ["Prefer": bad])
                #expect(answer.status == 400 && answer.json["code"] == "invalid_request", "\(bad)")
            }
        }
    }

    @Test("SIGTERM hands unfinished work back, and the next start goes on with it", arguments: TestEngine.servers)
    func gracefulShutdown(engine: TestEngine) async throws {
        try await withServer(on: engine, environment: ["SBA_DRAIN_SECONDS": "1"]) { server, client, _ in
            let started = try await client.send("POST", "/api/agent/runs", ["prompt": "words:60 delay:50"])
            let run = try #require(started.json["id"]?.string)
            try await Task.sleep(for: .milliseconds(300))
            let before = ContinuousClock.now
            #expect(await server.stop() == 0)
            #expect(ContinuousClock.now - before < .seconds(6))
            try await server.start()
            let later = TestClient(url: server.url, token: client.token)
            let ended = try await later.wait(for: run, in: ["succeeded", "failed"])
            #expect(ended["status"] == "succeeded")
            #expect(ended["output"]?.string?.hasSuffix("word59 ") == true)
        }
    }

    @Test("the metrics pass promtool, but for its unit lint, and count what happened", arguments: TestEngine.servers)
    func metrics(engine: TestEngine) async throws {
        try await withServer(on: engine) { _, client, _ in
            let started = try await client.send("POST", "/api/agent/runs", ["prompt": "tools:1 tool:note words:2"])
            _ = try await client.wait(for: started.json["id"]?.string ?? "", in: ["succeeded"])
            let text = try await client.send("GET", "/api/metrics/prometheus").text
            #expect(text.contains(#"sba_runs_total{status="succeeded"} 1"#))
            #expect(text.contains(#"sba_tool_calls_total{outcome="succeeded",tool="note"} 1"#))
            #expect(text.contains(#"sba_storage_duration_ms_count{operation="RunRepository.create"} 1"#))
            #expect(
                text.contains(
                    #"http_request_duration_ms_count{method="GET",route="/api/agent/runs/{id}",status="200"}"#))
            #expect(text.contains("process_resident_memory_bytes "))
            let report = try runTool("/usr/bin/env", ["promtool", "check", "metrics"], input: text)
            let complaints = report.text.split(separator: "\n").filter { line in
                !line.contains("use base unit") && !line.contains("metric names should not contain abbreviated units")
            }
            #expect(complaints.isEmpty, "\(report.text)")
        }
    }

    @Test("documents are indexed, found, cited and deleted", arguments: TestEngine.servers)
    func knowledge(engine: TestEngine) async throws {
        try await withServer(on: engine, environment: ["SBA_MODEL": "local/extractive", "OPENAI_BASE_URL": ""]) {
            server, client, _ in
            let added = try await client.send(
                "POST", "/api/knowledge/documents",
                ["title": "Rules", "text": "# Rules\n\nVisitors wear a blue badge.", "metadata": ["page": 3]])
            #expect(added.status == 202)
            let id = try #require(added.json["id"]?.string)
            var document = added.json
            for _ in 0..<500 where document["status"] != "ready" {
                document = try await client.send("GET", "/api/knowledge/documents/\(id)").json
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(document["status"] == "ready" && document["metadata"] == ["page": 3])
            let found = try await client.send("POST", "/api/knowledge/search", ["query": "Which badge?", "limit": 3])
            #expect(found.json["items"]?.array?.first?["documentId"] == .string(id))
            #expect(found.json["degraded"] == false)
            let chat = try await server.run("chat", "Which badge do visitors wear?", environment: server.clientEnvironment)
            #expect(chat.status == 0)
            #expect(chat.standardOutput.contains("→ knowledge_search"))
            #expect(chat.standardOutput.contains("blue badge"))
            #expect(chat.standardOutput.contains("[1] Rules › Rules"))
            #expect(!chat.standardOutput.contains("\u{1B}"), "no colours where there is no terminal")
            #expect(try await client.send("DELETE", "/api/knowledge/documents/\(id)").status == 204)
            let gone = try await client.send("POST", "/api/knowledge/search", ["query": "badge"])
            #expect(gone.json["items"]?.array?.isEmpty == true)
        }
    }

    @Test("the log is JSON with its ids, and holds no secret", arguments: TestEngine.servers)
    func log(engine: TestEngine) async throws {
        try await withServer(on: engine) { server, client, _ in
            let started = try await client.send(
                "POST", "/api/agent/runs", ["prompt": "words:1"],
                headers: [
                    "X-Request-Id": "req-77", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                ])
            #expect(started.headers["x-request-id"] == "req-77")
            _ = try await client.wait(for: started.json["id"]?.string ?? "", in: ["succeeded"])
            let lines = server.log.split(separator: "\n").map { try? JSONValue(parsing: String($0)) }
            #expect(!lines.contains(nil))
            let request = try #require(lines.first { $0?["request_id"] == "req-77" && $0?["route"] != nil } ?? nil)
            #expect(request["trace_id"] == "0af7651916cd43dd8448eb211c80319c")
            #expect(request["tenant_id"]?.string != nil)
            let run = try #require(lines.first { $0?["run_id"] != nil } ?? nil)
            #expect(run["request_id"] == "req-77" && run["run_id"] == started.json["id"])
            for secret in [SBAProcess.adminPassword, client.token, SBAProcess.adminEmail] {
                #expect(!server.log.contains(secret))
            }
        }
    }
}

/// Runs a program to its end with `input` on its standard input; answers what it printed on either stream.
func runTool(_ path: String, _ arguments: [String], input: String) throws -> (status: Int32, text: String) {
    let folder = TemporaryFolder()
    let file = folder.path + "/input"
    try input.write(toFile: file, atomically: true, encoding: .utf8)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.standardInput = try FileHandle(forReadingFrom: URL(fileURLWithPath: file))
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    withExtendedLifetime(folder) {}
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
}
