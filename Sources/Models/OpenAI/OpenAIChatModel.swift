import Domain
import Logging
import Synchronization

public struct OpenAIConfiguration: Sendable {
    /// Where the API is, with its version: `https://api.openai.com/v1`.
    public var baseURL: String
    /// Sent as a bearer token when present.
    public var apiKey: String?
    public var timeouts: HTTPTimeouts
    /// Tries of one call, the first included, as long as nothing of an answer has come.
    public var maximumAttempts: Int
    /// The first wait between tries; doubles each time.
    public var retryBase: Duration
    /// A server may ask by `Retry-After` for a wait up to this; longer ones fail at once, the queue is the place to wait.
    public var maximumRetryAfter: Duration

    public init(
        baseURL: String, apiKey: String? = nil, timeouts: HTTPTimeouts = .init(), maximumAttempts: Int = 3,
        retryBase: Duration = .milliseconds(500), maximumRetryAfter: Duration = .seconds(20)
    ) {
        self.baseURL = baseURL
        self.apiKey = apiKey
        self.timeouts = timeouts
        self.maximumAttempts = maximumAttempts
        self.retryBase = retryBase
        self.maximumRetryAfter = maximumRetryAfter
    }
}

/// Chat completions of OpenAI and of every server that speaks the same protocol (llama.cpp, vLLM, Ollama, …), streamed.
public struct OpenAIChatModel: ChatModel {
    private let configuration: OpenAIConfiguration
    private let http: any OutgoingHTTP
    private let ambient: Ambient
    private let logger: Logger

    /// An error's body is read up to here; what matters stands at its beginning.
    private static let maximumErrorBytes = 16 * 1024

    public init(
        configuration: OpenAIConfiguration, http: any OutgoingHTTP, ambient: Ambient = .system, logger: Logger
    ) {
        self.configuration = configuration
        self.http = http
        self.ambient = ambient
        self.logger = logger
    }

    public func complete(
        _ request: ChatRequest, onDelta: @escaping @Sendable (ChatDelta) async throws -> Void
    ) async throws -> ChatCompletion {
        let outgoing = self.request(for: request)
        var attempt = 1
        while true {
            let answer = Answer(onDelta: onDelta)
            do {
                return try await ask(outgoing, answer)
            } catch let error as ModelError where error.isRetryable && !answer.hasBegun {
                guard attempt < configuration.maximumAttempts else { throw error }
                let wait = try wait(after: error, attempt: attempt)
                logger.warning(
                    "The model call failed and is tried again.",
                    metadata: ["error": "\(error.message)", "attempt": "\(attempt)", "wait": "\(wait)"])
                try await Task.sleep(for: wait)
                attempt += 1
            }
        }
    }

    /// Exponential with jitter, or what the server asked for.
    private func wait(after error: ModelError, attempt: Int) throws(ModelError) -> Duration {
        let own = configuration.retryBase * (1 << (attempt - 1)) * (0.5 + ambient.random() / 2)
        guard let asked = error.retryAfter else { return own }
        guard asked <= configuration.maximumRetryAfter else { throw error }
        return max(own, asked)
    }

    private func ask(_ request: OutgoingRequest, _ answer: Answer) async throws -> ChatCompletion {
        do {
            let head = try await http.exchange(request, timeouts: configuration.timeouts) { head, bytes in
                if head.status == 200 {
                    try await answer.receive(bytes)
                } else {
                    answer.receiveError(bytes, limit: Self.maximumErrorBytes)
                }
            }
            guard head.status == 200 else { throw rejection(head, body: answer.errorBody) }
            return try answer.finish()
        } catch let failure as HTTPFailure {
            throw modelError(failure)
        }
    }

    /// Whoever started the run reads the message; where the server is, is for the log.
    private func modelError(_ failure: HTTPFailure) -> ModelError {
        logger.error("A model call failed.", metadata: ["failure": "\(failure)", "server": "\(configuration.baseURL)"])
        return switch failure {
        case .timedOut(let phase):
            ModelError(.modelTimeout, "The model server took too long (\(phase.rawValue)).", isRetryable: true)
        case .notConnected:
            ModelError(
                .modelUnavailable, "No connection to the model server. Is OPENAI_BASE_URL right, and the server up?",
                isRetryable: true)
        case .broken:
            ModelError(.modelUnavailable, "The model server's answer broke off.", isRetryable: true)
        }
    }

    private func rejection(_ head: OutgoingResponseHead, body: [UInt8]) -> ModelError {
        let json = try? JSONValue(parsing: body)
        let said = json?["error"]?["message"]?.string ?? json?["error"]?.string ?? json?["message"]?.string
        let message = "The model server answered \(head.status): \(said ?? "no reason given")"
        switch head.status {
        case 401, 403:
            return ModelError(.modelRejected, message + " Check OPENAI_API_KEY.", isRetryable: false)
        case 408, 409, 425, 429, 500...:
            let seconds = head.headers["retry-after"].flatMap { Double($0) }.flatMap { number in
                number.isNaN ? nil : min(max(number, 0), 86400)
            }
            return ModelError(
                .modelUnavailable, message, isRetryable: true,
                retryAfter: seconds.map { .milliseconds(Int64($0 * 1000)) })
        default:
            return ModelError(.modelRejected, message, isRetryable: false)
        }
    }

    // MARK: Request

    private func request(for request: ChatRequest) -> OutgoingRequest {
        var body: [String: JSONValue] = [
            "model": .string(request.model),
            "messages": .array(request.messages.map(Self.json)),
            "max_tokens": .int(Int64(request.maximumTokens)),
            "stream": true,
            "stream_options": ["include_usage": true],
        ]
        if !request.tools.isEmpty { body["tools"] = .array(request.tools.map(Self.json)) }
        var headers = [(name: "Content-Type", value: "application/json"), ("Accept", "text/event-stream")]
        if let key = configuration.apiKey { headers.append(("Authorization", "Bearer \(key)")) }
        if let trace = request.trace {
            headers.append(("X-Request-Id", trace.requestID))
            if let traceparent = trace.traceparent { headers.append(("traceparent", traceparent)) }
        }
        let base = configuration.baseURL.hasSuffix("/") ? String(configuration.baseURL.dropLast()) : configuration.baseURL
        return OutgoingRequest(
            url: base + "/chat/completions", headers: headers, body: Array(JSONValue.object(body).text.utf8))
    }

    private static func json(_ tool: ToolDeclaration) -> JSONValue {
        [
            "type": "function",
            "function": [
                "name": .string(tool.name), "description": .string(tool.description), "parameters": tool.parameters,
            ],
        ]
    }

    private static func json(_ message: ChatMessage) -> JSONValue {
        switch message {
        case .system(let text): ["role": "system", "content": .string(text)]
        case .user(let text): ["role": "user", "content": .string(text)]
        case .tool(let callID, _, let content):
            ["role": "tool", "tool_call_id": .string(callID), "content": .string(content)]
        case .assistant(let text, let calls) where calls.isEmpty: ["role": "assistant", "content": .string(text)]
        case .assistant(let text, let calls):
            ["role": "assistant", "content": .string(text), "tool_calls": .array(calls.map(json))]
        }
    }

    private static func json(_ call: ToolCall) -> JSONValue {
        [
            "id": .string(call.id), "type": "function",
            "function": ["name": .string(call.name), "arguments": .string(call.arguments)],
        ]
    }
}

/// What has come of one answer so far. Bytes come one piece at a time, so the lock is never held across a delta.
private final class Answer: Sendable {
    private struct State {
        var events = ServerSentEventParser()
        var chunks = ChatChunkAccumulator()
        var hasBegun = false
        var error: [UInt8] = []
    }

    private let state = Mutex(State())
    private let onDelta: @Sendable (ChatDelta) async throws -> Void

    init(onDelta: @escaping @Sendable (ChatDelta) async throws -> Void) { self.onDelta = onDelta }

    /// Whether anything was handed over: the call can then not be repeated unnoticed.
    var hasBegun: Bool { state.withLock { $0.hasBegun } }
    var errorBody: [UInt8] { state.withLock { $0.error } }

    func receive(_ bytes: [UInt8]) async throws {
        let deltas = try state.withLock { state -> [ChatDelta] in
            let events: [String]
            do {
                events = try state.events.append(bytes)
            } catch {
                throw ModelError(
                    .modelInvalidResponse, "The model server sent an event that is too large.", isRetryable: false)
            }
            var deltas: [ChatDelta] = []
            for event in events where event != "[DONE]" { deltas += try state.chunks.append(event) }
            if !deltas.isEmpty { state.hasBegun = true }
            return deltas
        }
        for delta in deltas { try await onDelta(delta) }
    }

    func receiveError(_ bytes: [UInt8], limit: Int) {
        state.withLock { $0.error.append(contentsOf: bytes.prefix(limit - $0.error.count)) }
    }

    func finish() throws(ModelError) -> ChatCompletion {
        let (isFinished, completion) = state.withLock { ($0.chunks.isFinished, $0.chunks.completion) }
        guard isFinished else {
            throw ModelError(.modelUnavailable, "The model server ended its answer in the middle.", isRetryable: true)
        }
        return completion
    }
}
