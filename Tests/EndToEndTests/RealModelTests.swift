import Domain
import Foundation
import Hummingbird
import TestSupport
import Testing

/// An agent on a real language model behind a real OpenAI-compatible server. The model is small and often wrong: what is
/// held here is the protocol, not the truth.
@Suite("A real small model", .serialized)
struct RealModelTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// Runs SmolLM2 on a free port, and the server on it.
    private func withModel(
        environment: [String: String] = [:], _ work: (SBAProcess, TestClient) async throws -> Void
    ) async throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.root + "/.tools/model/bin/python")
        process.arguments = [Self.root + "/scripts/model_server.py", "--port", "0"]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        defer { process.terminate() }
        var line = ""
        while !line.hasSuffix("\n") {
            let data = output.fileHandleForReading.availableData
            guard !data.isEmpty else { throw SBAProcess.NotStarted(description: "the model server ended") }
            line += String(decoding: data, as: UTF8.self)
        }
        let url = String(try #require(line.split(whereSeparator: \.isWhitespace).last))
        let model = ["OPENAI_BASE_URL": url, "SBA_MODEL": "openai/smollm2-135m-instruct"]
        let server = SBAProcess(environment: model.merging(environment) { $1 })
        try await server.start()
        try await work(server, try await TestClient.signedIn(to: server))
        await server.stop()
    }

    @Test("streams an answer token by token, and counts its tokens")
    func answer() async throws {
        try await withModel { _, client in
            var deltas = 0
            var text = ""
            var run = ""
            try await client.events(
                "POST", "/api/agent/runs",
                ["prompt": "Name three colours, and say where one sees them.", "options": ["tools": []]]
            ) { event in
                run = event.json["runId"]?.string ?? ""
                if event.type == "TEXT_MESSAGE_CONTENT" {
                    deltas += 1
                    text += event.json["delta"]?.string ?? ""
                }
                return true
            }
            #expect(deltas > 1, "it came in pieces")
            let ended = try await client.send("GET", "/api/agent/runs/\(run)").json
            #expect(ended["status"] == "succeeded")
            #expect(ended["output"] == .string(text))
            #expect(!text.isEmpty)
            #expect((ended["usage"]?["inputTokens"]?.int ?? 0) > 10)
            #expect((ended["usage"]?["outputTokens"]?.int ?? 0) > 5)
        }
    }

    @Test("calls a tool by its own decision, and answers after it")
    func tool() async throws {
        let tools = JournalToolServer(duration: .milliseconds(5))
        let router = Router()
        tools.addRoutes(to: router)
        try await withHTTPServer(router) { url in
            let declaration: JSONValue = [
                "tools": [
                    [
                        "name": "get_weather", "description": "The weather in a city right now.",
                        "url": .string(url + "/tools/get_weather"), "idempotent": true,
                        "parameters": [
                            "type": "object", "required": ["city"], "properties": ["city": ["type": "string"]],
                        ],
                    ]
                ]
            ]
            let folder = TemporaryFolder()
            let file = folder.path + "/tools.json"
            try declaration.text.write(toFile: file, atomically: true, encoding: .utf8)
            try await withModel(environment: ["SBA_TOOLS_FILE": file]) { _, client in
                let started = try await client.send(
                    "POST", "/api/agent/runs",
                    [
                        "prompt": "What is the weather in Paris right now?",
                        "options": ["tools": ["get_weather"], "stepLimit": 8],
                    ])
                let run = try #require(started.json["id"]?.string)
                _ = try await client.wait(for: run, in: ["succeeded", "failed"], timeout: .seconds(90))
                let calls = try await client.send("GET", "/api/agent/runs/\(run)/tool-calls").json["items"]?.array ?? []
                #expect(calls.first?["name"] == "get_weather")
                #expect(calls.first?["state"] == "succeeded")
                #expect(calls.first?["arguments"]?.string?.contains("Paris") == true)
                #expect(tools.entries.first?.tool == "get_weather")
                let types = try await client.log(of: run).map(\.type)
                #expect(types.contains("TOOL_CALL_RESULT"))
                #expect(["RUN_FINISHED", "RUN_ERROR"].contains(types.last))
            }
        }
    }
}
