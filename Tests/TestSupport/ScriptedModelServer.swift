import Domain
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization

/// A real server of OpenAI's chat-completions protocol whose behaviour stands in the prompt, as `key:value` words, so that
/// it needs no state of its own and answers the same after a crash of whoever asks:
///
/// `tools:N` calls the tool `tool:NAME` in each of the first N turns; `words:N` then says N words, one every `delay:MS`;
/// `hang:1` stops for ever after the first word; `cut:1` breaks off in the middle; `status:N` answers an error.
public final class ScriptedModelServer: Sendable {
    private let count = Mutex(0)

    public init() {}

    /// How many completions were asked for.
    public var requestCount: Int { count.withLock { $0 } }

    public func addRoutes(to router: Router<BasicRequestContext>) {
        router.get("/v1/models") { _, _ in "{\"object\":\"list\",\"data\":[]}" }
        router.post("/v1/chat/completions") { request, _ in
            self.count.withLock { $0 += 1 }
            var request = request
            let body = try await request.collectBody(upTo: 8 << 20)
            let json = try JSONValue(parsing: body.readableBytesView)
            return Self.answer(Script(json["messages"]?.array ?? []))
        }
    }

    private struct Script {
        var values: [String: String] = [:]
        /// Tool results since the question.
        var toolResults = 0

        init(_ messages: [JSONValue]) {
            for message in messages {
                if message["role"] == "user" {
                    toolResults = 0
                    values = [:]
                    for word in (message["content"]?.string ?? "").split(separator: " ") {
                        let pair = word.split(separator: ":", maxSplits: 1)
                        if pair.count == 2 { values[String(pair[0])] = String(pair[1]) }
                    }
                } else if message["role"] == "tool" {
                    toolResults += 1
                }
            }
        }

        func int(_ key: String, _ fallback: Int = 0) -> Int { values[key].flatMap { Int($0) } ?? fallback }
    }

    private static func answer(_ script: Script) -> Response {
        if script.int("status") != 0 {
            return Response(
                status: .init(code: script.int("status")),
                body: .init(byteBuffer: ByteBuffer(string: "{\"error\":{\"message\":\"as scripted\"}}")))
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream"],
            body: ResponseBody { writer in
                if script.toolResults < script.int("tools") {
                    try await callTool(script, &writer)
                } else {
                    try await talk(script, &writer)
                }
            })
    }

    private static func send(_ chunk: JSONValue, _ writer: inout any ResponseBodyWriter) async throws {
        try await writer.write(ByteBuffer(string: "data: \(chunk.text)\n\n"))
    }

    private static func delta(_ delta: JSONValue, finish: JSONValue = .null) -> JSONValue {
        ["object": "chat.completion.chunk", "choices": [["index": 0, "delta": delta, "finish_reason": finish]]]
    }

    private static func end(_ reason: JSONValue, _ writer: inout any ResponseBodyWriter) async throws {
        try await send(delta([:], finish: reason), &writer)
        try await send(["choices": [], "usage": ["prompt_tokens": 11, "completion_tokens": 7]], &writer)
        try await writer.write(ByteBuffer(string: "data: [DONE]\n\n"))
        try await writer.finish(nil)
    }

    private static func callTool(_ script: Script, _ writer: inout any ResponseBodyWriter) async throws {
        let name = JSONValue.string(script.values["tool"] ?? "ledger")
        let arguments = "{\"entry\":\(script.toolResults)}"
        let call: JSONValue = ["index": 0, "id": "call_0", "type": "function", "function": ["name": name, "arguments": ""]]
        try await send(delta(["role": "assistant", "content": .null, "tool_calls": [call]]), &writer)
        for character in arguments {
            let piece: JSONValue = ["index": 0, "function": ["arguments": .string(String(character))]]
            try await send(delta(["tool_calls": [piece]]), &writer)
        }
        try await end("tool_calls", &writer)
    }

    private static func talk(_ script: Script, _ writer: inout any ResponseBodyWriter) async throws {
        let words = script.int("words", 3)
        for number in 0..<words {
            try await send(delta(["content": .string("word\(number) ")]), &writer)
            if script.int("hang") == 1 { try await Task.sleep(for: .seconds(3600)) }
            if script.int("cut") == 1, number == words / 2 { throw CancellationError() }
            if script.int("delay") > 0 { try await Task.sleep(for: .milliseconds(script.int("delay"))) }
        }
        try await end("stop", &writer)
    }
}
