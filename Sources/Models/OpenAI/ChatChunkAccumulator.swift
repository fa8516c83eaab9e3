import Domain

/// Puts the chunks of a streamed chat completion together
/// (platform.openai.com/docs/api-reference/chat/streaming), tolerating what compatible servers leave out.
struct ChatChunkAccumulator {
    private struct PartialCall {
        var id: String
        var name: String
        var arguments: String
    }

    private var text = ""
    private var calls: [Int: PartialCall] = [:]
    private var usage: TokenUsage?
    /// Whether a chunk named a finish reason: without it, the stream was cut.
    private(set) var isFinished = false

    /// Takes one chunk and answers what it adds.
    ///
    /// - Throws: `ModelError` for an error that the server sent in place of a chunk, or for something else than a chunk.
    mutating func append(_ data: String) throws(ModelError) -> [ChatDelta] {
        guard let chunk = try? JSONValue(parsing: data), chunk.object != nil else {
            throw ModelError(.modelInvalidResponse, "The model server sent a chunk that is not JSON.", isRetryable: true)
        }
        if let error = chunk["error"], error != .null {
            let message = error["message"]?.string ?? error.string ?? error.text
            throw ModelError(.modelUnavailable, "The model server stopped: \(message)", isRetryable: true)
        }
        if let counted = chunk["usage"], let input = counted["prompt_tokens"]?.int {
            let output = counted["completion_tokens"]?.int ?? 0
            usage = TokenUsage(input: Self.plausible(input), output: Self.plausible(output))
        }
        guard let choice = chunk["choices"]?.array?.first else { return [] }
        if choice["finish_reason"]?.string != nil { isFinished = true }
        guard let delta = choice["delta"] else { return [] }
        var deltas: [ChatDelta] = []
        if let piece = delta["content"]?.string, !piece.isEmpty {
            text += piece
            deltas.append(.text(piece))
        }
        for (position, call) in (delta["tool_calls"]?.array ?? []).enumerated() {
            deltas += append(call, position: position)
        }
        return deltas
    }

    private mutating func append(_ call: JSONValue, position: Int) -> [ChatDelta] {
        let index = call["index"]?.int.map { Int($0) } ?? self.index(of: call["id"]?.string, position: position)
        let function = call["function"]
        let piece = function?["arguments"]?.string ?? ""
        var deltas: [ChatDelta] = []
        if calls[index] == nil {
            let name = function?["name"]?.string ?? ""
            calls[index] = PartialCall(id: call["id"]?.string ?? "call-\(index)", name: name, arguments: "")
            deltas.append(.toolCallStart(index: index, name: name))
        }
        if !piece.isEmpty {
            calls[index]?.arguments += piece
            deltas.append(.toolCallArguments(index: index, delta: piece))
        }
        return deltas
    }

    /// No answer has a thousand million tokens: a count beyond is the server's mistake, and must not overflow a sum.
    private static func plausible(_ count: Int64) -> Int { Int(min(max(count, 0), 1_000_000_000)) }

    /// Where a call without an index belongs: with the call of its id, behind the others under a new id, else by position.
    private func index(of id: String?, position: Int) -> Int {
        guard let id else { return position }
        return calls.first { $0.value.id == id }?.key ?? calls.count
    }

    var completion: ChatCompletion {
        ChatCompletion(
            text: text,
            toolCalls: calls.sorted { $0.key < $1.key }.map { _, call in
                ToolCall(id: call.id, name: call.name, arguments: call.arguments)
            },
            usage: usage)
    }
}
