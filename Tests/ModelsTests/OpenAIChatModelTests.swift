import Domain
import Logging
import Models
import Synchronization
import Testing

/// Plays its answers, one an exchange, and keeps what was asked.
private final class FakeHTTP: OutgoingHTTP {
    enum Answer: Sendable {
        case reply(Int, headers: [String: String] = [:], [String])
        /// The exchange fails after these pieces of an answer with status 200.
        case broken(after: [String] = [], HTTPFailure)
    }

    private struct State {
        var answers: [Answer]
        var requests: [OutgoingRequest] = []
    }

    private let state: Mutex<State>

    init(_ answers: Answer...) { state = Mutex(State(answers: answers)) }

    var requests: [OutgoingRequest] { state.withLock { $0.requests } }

    func exchange(
        _ request: OutgoingRequest, timeouts: HTTPTimeouts,
        receive: @escaping @Sendable (OutgoingResponseHead, [UInt8]) async throws -> Void
    ) async throws -> OutgoingResponseHead {
        let answer = state.withLock { state -> Answer? in
            state.requests.append(request)
            return state.answers.isEmpty ? nil : state.answers.removeFirst()
        }
        guard let answer else { throw HTTPFailure.notConnected("the test has no more answers") }
        switch answer {
        case .reply(let status, let headers, let pieces):
            let head = OutgoingResponseHead(status: status, headers: headers)
            for piece in pieces { try await receive(head, Array(piece.utf8)) }
            return head
        case .broken(let pieces, let failure):
            let head = OutgoingResponseHead(status: 200, headers: [:])
            for piece in pieces { try await receive(head, Array(piece.utf8)) }
            throw failure
        }
    }
}

/// Collects what a model hands over.
final class Deltas: Sendable {
    private let deltas = Mutex<[ChatDelta]>([])

    var all: [ChatDelta] { deltas.withLock { $0 } }

    func add(_ delta: ChatDelta) { deltas.withLock { $0.append(delta) } }
}

private func event(_ text: String) -> String { "data: {\"choices\":[{\"delta\":{\"content\":\"\(text)\"}}]}\n\n" }

private let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
private let hello = ChatRequest(model: "m", messages: [.user("Hi")])

private func makeModel(
    _ http: FakeHTTP, baseURL: String = "http://model.test/v1", apiKey: String? = nil, attempts: Int = 3
) -> OpenAIChatModel {
    let configuration = OpenAIConfiguration(
        baseURL: baseURL, apiKey: apiKey, maximumAttempts: attempts, retryBase: .milliseconds(2))
    let ambient = Ambient(now: Ambient.system.now, makeID: Ambient.system.makeID, random: { 0 })
    return OpenAIChatModel(
        configuration: configuration, http: http, ambient: ambient,
        logger: Logger(label: "test", factory: { (_: String) in SwiftLogNoOpLogHandler() }))
}

private func complete(_ model: OpenAIChatModel, _ request: ChatRequest = hello) async throws -> ChatCompletion {
    try await model.complete(request) { _ in }
}

/// The error with which this one answer ends a call that may be tried once.
private func modelError(after answer: FakeHTTP.Answer) async throws -> ModelError {
    let model = makeModel(FakeHTTP(answer), attempts: 1)
    return try await #require(throws: ModelError.self) { try await complete(model) }
}

private let rejections: [(Int, String)] = [
    (400, #"{"error":{"message":"bad tool schema"}}"#), (404, #"{"error":"bad tool schema"}"#),
    (422, #"{"message":"bad tool schema"}"#),
]

@Suite("OpenAI: asking")
struct OpenAIRequestTests {
    private func request(
        _ request: ChatRequest, baseURL: String = "http://model.test/v1", apiKey: String? = nil
    ) async throws -> OutgoingRequest {
        let http = FakeHTTP(.reply(200, [end]))
        _ = try await complete(makeModel(http, baseURL: baseURL, apiKey: apiKey), request)
        return try #require(http.requests.first)
    }

    @Test("A plain request has this body, and no more")
    func plainBody() async throws {
        let sent = try await request(hello)
        let expected =
            #"{"max_tokens":1024,"messages":[{"content":"Hi","role":"user"}],"model":"m","stream":true,"#
            + #""stream_options":{"include_usage":true}}"#
        #expect(String(decoding: sent.body, as: UTF8.self) == expected)
    }

    @Test("Every kind of message, and tools, are written as the protocol has them")
    func fullBody() async throws {
        let parameters: JSONValue = ["type": "object", "properties": ["a": ["type": "integer"]]]
        let request = ChatRequest(
            model: "gpt",
            messages: [
                .system("Be brief."), .user("2 + 2?"),
                .assistant(text: "Let me see.", toolCalls: [ToolCall(id: "c", name: "add", arguments: "{\"a\":2}")]),
                .tool(callID: "c", name: "add", content: "4"), .assistant(text: "Four.", toolCalls: []),
            ],
            tools: [ToolDeclaration(name: "add", description: "Adds.", parameters: parameters)], maximumTokens: 7)
        let sent = try JSONValue(parsing: try await self.request(request).body)
        let call: JSONValue = [
            "id": "c", "type": "function", "function": ["name": "add", "arguments": "{\"a\":2}"],
        ]
        let expected: JSONValue = [
            "model": "gpt", "max_tokens": 7, "stream": true, "stream_options": ["include_usage": true],
            "messages": [
                ["role": "system", "content": "Be brief."], ["role": "user", "content": "2 + 2?"],
                ["role": "assistant", "content": "Let me see.", "tool_calls": [call]],
                ["role": "tool", "tool_call_id": "c", "content": "4"], ["role": "assistant", "content": "Four."],
            ],
            "tools": [
                ["type": "function", "function": ["name": "add", "description": "Adds.", "parameters": parameters]]
            ],
        ]
        #expect(sent == expected)
    }

    @Test("It is posted below the base address, with or without a slash at its end", arguments: ["", "/"])
    func address(slash: String) async throws {
        let sent = try await request(hello, baseURL: "http://model.test/v1" + slash)
        #expect(sent.method == "POST")
        #expect(sent.url == "http://model.test/v1/chat/completions")
    }

    @Test("It carries the key and the trace when there are any")
    func headers() async throws {
        var traced = hello
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        traced.trace = Trace(requestID: "request-1", traceparent: traceparent)
        let sent = try await request(traced, apiKey: "secret")
        let expected = [
            "Content-Type: application/json", "Accept: text/event-stream", "Authorization: Bearer secret",
            "X-Request-Id: request-1", "traceparent: \(traceparent)",
        ]
        #expect(sent.headers.map { "\($0.name): \($0.value)" } == expected)
    }

    @Test("Without a key and a trace it carries neither")
    func noHeaders() async throws {
        let sent = try await request(hello)
        #expect(sent.headers.map(\.name) == ["Content-Type", "Accept"])
    }
}

@Suite("OpenAI: answers")
struct OpenAIAnswerTests {
    @Test("An answer is handed over as it comes, however its bytes are cut")
    func streams() async throws {
        let bytes = event("Hel") + event("lo") + end
        for size in [1, 7, 1000] {
            let pieces = stride(from: 0, to: bytes.count, by: size).map { String(bytes.dropFirst($0).prefix(size)) }
            let deltas = Deltas()
            let model = makeModel(FakeHTTP(.reply(200, pieces)))
            let completion = try await model.complete(hello) { delta in deltas.add(delta) }
            #expect(completion == ChatCompletion(text: "Hello"))
            #expect(deltas.all == [ChatDelta.text("Hel"), ChatDelta.text("lo")])
        }
    }

    @Test("An answer that ends without a finish reason was cut")
    func cutStream() async throws {
        let error = try await modelError(after: .reply(200, [event("Hel")]))
        #expect(error.code == .modelUnavailable)
        #expect(error.isRetryable)
    }

    @Test("An answer that is no event stream is said to be none of the protocol")
    func noProtocol() async throws {
        let error = try await modelError(after: .reply(200, ["data: <html>\n\n"]))
        #expect(error.code == .modelInvalidResponse)
    }

    @Test("An event that never ends is refused, and not tried again")
    func endlessEvent() async throws {
        let http = FakeHTTP(.reply(200, ["data: " + String(repeating: "x", count: 1 << 20) + "x"]))
        let error = try await #require(throws: ModelError.self) { try await complete(makeModel(http)) }
        #expect(error.code == .modelInvalidResponse)
        #expect(http.requests.count == 1)
    }

    @Test("What the receiver throws ends the call, without another try")
    func receiverThrows() async {
        let http = FakeHTTP(.reply(200, [event("Hi"), end]))
        await #expect(throws: CancellationError.self) {
            try await makeModel(http).complete(hello) { _ in throw CancellationError() }
        }
        #expect(http.requests.count == 1)
    }

    @Test("A refused key says which variable to check, and is not tried again", arguments: [401, 403])
    func refusedKey(status: Int) async throws {
        let http = FakeHTTP(.reply(status, [#"{"error":{"message":"Incorrect API key"}}"#]), .reply(200, [end]))
        let error = try await #require(throws: ModelError.self) { try await complete(makeModel(http)) }
        #expect(error.code == .modelRejected)
        #expect(!error.isRetryable)
        #expect(error.message.contains("\(status)"))
        #expect(error.message.contains("Incorrect API key"))
        #expect(error.message.contains("OPENAI_API_KEY"))
        #expect(http.requests.count == 1)
    }

    @Test("A rejected request says why, wherever the server puts it, and is not tried again", arguments: rejections)
    func rejection(status: Int, body: String) async throws {
        let http = FakeHTTP(.reply(status, [body]), .reply(200, [end]))
        let error = try await #require(throws: ModelError.self) { try await complete(makeModel(http)) }
        #expect(error == ModelError(.modelRejected, "The model server answered \(status): bad tool schema", isRetryable: false))
        #expect(http.requests.count == 1)
    }

    @Test("An error without a readable body still says its status", arguments: ["", "<html>", "{}"])
    func unreadableError(body: String) async throws {
        let error = try await modelError(after: .reply(418, [body]))
        #expect(error.message == "The model server answered 418: no reason given")
    }

    @Test(
        "A timeout is a timeout of the model, and says in which part",
        arguments: [HTTPFailure.Phase.connect, .firstByte, .idle, .total])
    func timeout(phase: HTTPFailure.Phase) async throws {
        let error = try await modelError(after: .broken(.timedOut(phase)))
        #expect(error == ModelError(.modelTimeout, "The model server took too long (\(phase.rawValue)).", isRetryable: true))
    }

    @Test("Where no connection is made, the message names the variable and keeps the address to itself")
    func notConnected() async throws {
        let error = try await modelError(after: .broken(.notConnected("refused by 10.0.0.7")))
        #expect(error.code == .modelUnavailable)
        #expect(error.message.contains("OPENAI_BASE_URL"))
        #expect(!error.message.contains("10.0.0.7"))
        #expect(!error.message.contains("model.test"))
    }
}

@Suite("OpenAI: trying again")
struct OpenAIRetryTests {
    @Test("A busy or broken server is asked again", arguments: [408, 409, 425, 429, 500, 502, 503])
    func retriesStatus(status: Int) async throws {
        let http = FakeHTTP(.reply(status, []), .reply(status, []), .reply(200, [event("Hi"), end]))
        let completion = try await complete(makeModel(http))
        #expect(completion.text == "Hi")
        #expect(http.requests.count == 3)
        #expect(Set(http.requests.map(\.body)).count == 1)
    }

    @Test(
        "A failure before the first delta is tried again",
        arguments: [HTTPFailure.notConnected("-"), .broken("-"), .timedOut(.firstByte)])
    func retriesFailure(failure: HTTPFailure) async throws {
        let http = FakeHTTP(.broken(failure), .broken(after: [": ping\n\n"], failure), .reply(200, [event("Hi"), end]))
        let completion = try await complete(makeModel(http))
        #expect(completion.text == "Hi")
        #expect(http.requests.count == 3)
    }

    @Test("After the last try the error is answered")
    func givesUp() async throws {
        let http = FakeHTTP(.reply(503, []), .reply(503, []), .reply(200, [end]))
        let error = try await #require(throws: ModelError.self) { try await complete(makeModel(http, attempts: 2)) }
        #expect(error.code == .modelUnavailable)
        #expect(http.requests.count == 2)
    }

    @Test("Once a delta was handed over nothing is tried again", arguments: [HTTPFailure.broken("-"), .timedOut(.idle)])
    func noRetryAfterDelta(failure: HTTPFailure) async throws {
        let http = FakeHTTP(.broken(after: [event("Hel")], failure), .reply(200, [event("Hello"), end]))
        let deltas = Deltas()
        let error = try await #require(throws: ModelError.self) {
            try await makeModel(http).complete(hello) { delta in deltas.add(delta) }
        }
        #expect(error.isRetryable)
        #expect(deltas.all == [ChatDelta.text("Hel")])
        #expect(http.requests.count == 1)
    }

    @Test("A wait that the server asks for is kept")
    func retryAfter() async throws {
        let http = FakeHTTP(.reply(429, headers: ["retry-after": "1"], []), .reply(200, [event("Hi"), end]))
        let started = ContinuousClock.now
        let completion = try await complete(makeModel(http))
        #expect(completion.text == "Hi")
        #expect(ContinuousClock.now - started >= .seconds(1))
    }

    @Test("A wait longer than allowed is not begun: the error says for how long")
    func longRetryAfter() async throws {
        let http = FakeHTTP(.reply(429, headers: ["retry-after": "3600"], []), .reply(200, [event("Hi"), end]))
        let started = ContinuousClock.now
        let error = try await #require(throws: ModelError.self) { try await complete(makeModel(http)) }
        #expect(error.retryAfter == .seconds(3600))
        #expect(error.isRetryable)
        #expect(http.requests.count == 1)
        #expect(ContinuousClock.now - started < .seconds(15))
    }

    @Test(
        "A Retry-After that is no number of seconds is passed over",
        arguments: ["soon", "", "-5", "Fri, 20 Nov 2026 17:00:00 GMT"])
    func otherRetryAfter(value: String) async throws {
        let http = FakeHTTP(.reply(503, headers: ["retry-after": value], []), .reply(200, [event("Hi"), end]))
        let completion = try await complete(makeModel(http))
        #expect(completion.text == "Hi")
    }

    @Test("A Retry-After that is not a number at all does not end the process")
    func retryAfterNaN() async {
        await #expect(processExitsWith: .success) {
            let http = FakeHTTP(.reply(503, headers: ["retry-after": "nan"], []), .reply(200, [event("Hi"), end]))
            let completion = try await complete(makeModel(http))
            #expect(completion.text == "Hi")
        }
    }
}
