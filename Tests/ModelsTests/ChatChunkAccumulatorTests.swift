import Domain
import Testing

@testable import Models

/// What these chunks add, one after another, and what they come to.
private func accumulate(
    _ chunks: String...
) throws(ModelError) -> (deltas: [ChatDelta], completion: ChatCompletion, isFinished: Bool) {
    var accumulator = ChatChunkAccumulator()
    var deltas: [ChatDelta] = []
    for chunk in chunks { deltas += try accumulator.append(chunk) }
    return (deltas, accumulator.completion, accumulator.isFinished)
}

private func text(_ text: String) -> String {
    JSONValue.object(["choices": [["index": 0, "delta": ["content": .string(text)]]]]).text
}

/// A chunk with these members of `tool_calls`.
private func calls(_ calls: String) -> String { #"{"choices":[{"index":0,"delta":{"tool_calls":[\#(calls)]}}]}"# }

private let stop = #"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#

/// Chunks that say nothing yet.
private let silent = [
    "{}", #"{"choices":[]}"#, #"{"choices":[{"index":0,"delta":{"role":"assistant"}}]}"#,
    #"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
    #"{"choices":[{"index":0,"delta":{"content":null,"tool_calls":null}}]}"#, #"{"choices":[{"index":0}],"usage":null}"#,
    #"{"choices":null,"error":null}"#, #"{"choices":[{"index":0,"delta":{"tool_calls":[]}}]}"#,
]

private let errors: [(String, String)] = [
    (#"{"error":{"message":"out of memory","code":500}}"#, "The model server stopped: out of memory"),
    (#"{"error":"out of memory"}"#, "The model server stopped: out of memory"),
    (#"{"error":{"code":500}}"#, #"The model server stopped: {"code":500}"#),
]

@Suite("Chat chunks")
struct ChatChunkAccumulatorTests {
    @Test("Text is handed over piece by piece, and comes to the whole")
    func textPieces() throws {
        let answer = try accumulate(text("Hel"), text("lo"), stop)
        #expect(answer.deltas == [ChatDelta.text("Hel"), ChatDelta.text("lo")])
        #expect(answer.completion == ChatCompletion(text: "Hello"))
        #expect(answer.isFinished)
    }

    @Test("A chunk without content adds nothing and ends nothing", arguments: silent)
    func silentChunk(chunk: String) throws {
        let answer = try accumulate(chunk)
        #expect(answer.deltas.isEmpty)
        #expect(answer.completion == ChatCompletion(text: ""))
        #expect(!answer.isFinished)
    }

    @Test("A call whose arguments come in pieces is one call")
    func splitCall() throws {
        let answer = try accumulate(
            calls(#"{"index":0,"id":"call_1","type":"function","function":{"name":"add","arguments":""}}"#),
            calls(#"{"index":0,"function":{"arguments":"{\"a\":"}}"#),
            calls(#"{"index":0,"function":{"arguments":"1}"}}"#), stop)
        let expected: [ChatDelta] = [
            .toolCallStart(index: 0, name: "add"), .toolCallArguments(index: 0, delta: "{\"a\":"),
            .toolCallArguments(index: 0, delta: "1}"),
        ]
        #expect(answer.deltas == expected)
        #expect(answer.completion.toolCalls == [ToolCall(id: "call_1", name: "add", arguments: "{\"a\":1}")])
    }

    @Test("Calls that come mixed are told apart by their index, and ordered by it")
    func mixedCalls() throws {
        let answer = try accumulate(
            calls(#"{"index":1,"id":"b","function":{"name":"g","arguments":"[1"}}"#),
            calls(#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}},{"index":1,"function":{"arguments":"]"}}"#),
            calls(#"{"index":0,"function":{"arguments":"}"}}"#))
        let expected = [ToolCall(id: "a", name: "f", arguments: "{}"), ToolCall(id: "b", name: "g", arguments: "[1]")]
        #expect(answer.completion.toolCalls == expected)
    }

    @Test("Text and a call in one chunk are both taken, the text first")
    func textAndCall() throws {
        let answer = try accumulate(
            #"{"choices":[{"delta":{"content":"Hm.","tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}}]}"#)
        #expect(answer.deltas == [ChatDelta.text("Hm."), ChatDelta.toolCallStart(index: 0, name: "f")])
    }

    @Test("Calls of one chunk without an index are numbered by their place")
    func missingIndex() throws {
        let answer = try accumulate(
            calls(#"{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"g","arguments":"[]"}}"#))
        let expected = [ToolCall(id: "a", name: "f", arguments: "{}"), ToolCall(id: "b", name: "g", arguments: "[]")]
        #expect(answer.completion.toolCalls == expected)
    }

    @Test("Whole calls without an index, one a chunk, stay calls of their own")
    func missingIndexInChunks() throws {
        let answer = try accumulate(
            calls(#"{"id":"a","function":{"name":"f","arguments":"{}"}}"#),
            calls(#"{"id":"b","function":{"name":"g","arguments":"[]"}}"#), stop)
        let expected = [ToolCall(id: "a", name: "f", arguments: "{}"), ToolCall(id: "b", name: "g", arguments: "[]")]
        #expect(answer.completion.toolCalls == expected)
    }

    @Test("A call without an id is given one that no other call of the answer has")
    func missingID() throws {
        let answer = try accumulate(
            calls(#"{"index":0,"function":{"name":"f"}},{"index":1,"function":{"name":"g"}}"#))
        let ids = answer.completion.toolCalls.map(\.id)
        #expect(Set(ids).count == 2)
        #expect(ids.allSatisfy { !$0.isEmpty })
    }

    @Test("Tokens are counted where the server counts them, also in a chunk without choices")
    func usage() throws {
        let answer = try accumulate(
            text("Hi"), stop, #"{"choices":[],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}"#)
        #expect(answer.completion.usage == TokenUsage(input: 12, output: 3))
    }

    @Test("A server that does not count gives no usage")
    func noUsage() throws {
        let answer = try accumulate(text("Hi"), stop)
        #expect(answer.completion.usage == nil)
    }

    @Test("Without a finish reason the answer is not finished, however long it is")
    func cutStream() throws {
        let answer = try accumulate(text("Hello"), calls(#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#))
        #expect(!answer.isFinished)
    }

    @Test("Every finish reason ends the answer", arguments: ["stop", "length", "tool_calls", "content_filter"])
    func finishReason(reason: String) throws {
        let answer = try accumulate(#"{"choices":[{"delta":{"content":"a"},"finish_reason":"\#(reason)"}]}"#)
        #expect(answer.isFinished)
        #expect(answer.completion.text == "a")
    }

    @Test("An error in place of a chunk ends the answer with what it says", arguments: errors)
    func errorChunk(chunk: String, message: String) {
        #expect(throws: ModelError(.modelUnavailable, message, isRetryable: true)) { try accumulate(text("Hi"), chunk) }
    }

    @Test("What is no JSON object is no chunk", arguments: ["", "hello", "[]", "1", "{", "null", #""[DONE]""#])
    func noChunk(chunk: String) throws {
        let error = try #require(throws: ModelError.self) { try accumulate(chunk) }
        #expect(error.code == .modelInvalidResponse)
    }
}
