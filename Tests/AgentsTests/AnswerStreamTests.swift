import Domain
import Models
import Synchronization
import Testing

@testable import Agents

/// Counts ids: `id-1`, `id-2`, …
private final class IDs: Sendable {
    private let last = Mutex(0)

    func next() -> String {
        let number = last.withLock { last in
            last += 1
            return last
        }
        return "id-\(number)"
    }
}

private func makeStream() -> AnswerStream {
    let ids = IDs()
    return AnswerStream(makeID: { ids.next() })
}

/// Everything that an answer of these deltas writes, and the calls it asks for.
private func play(_ deltas: [ChatDelta]) -> (events: [RunEvent], calls: [ToolCall]) {
    var stream = makeStream()
    var events: [RunEvent] = []
    for delta in deltas { events += stream.take(delta) }
    events += stream.finish()
    return (events, stream.toolCalls)
}

/// The arguments of each call as the log holds them.
private func loggedArguments(_ events: [RunEvent]) -> [String: String] {
    var arguments: [String: String] = [:]
    for event in events {
        if case .toolCallArguments(let id, let delta) = event { arguments[id, default: ""] += delta }
    }
    return arguments
}

/// What breaks AG-UI's rules: everything is begun once, is the only thing open, and is ended once.
private func violations(_ events: [RunEvent]) -> [String] {
    var found: [String] = []
    var current: String?
    var begun: Set<String> = []
    for event in events {
        switch event {
        case .textMessageStart(let id), .toolCallStart(let id, _, _):
            if let current { found.append("\(id) begins while \(current) is open") }
            if !begun.insert(id).inserted { found.append("\(id) begins twice") }
            current = id
        case .textMessageContent(let id, _), .toolCallArguments(let id, _):
            if current != id { found.append("\(id) goes on and is not open") }
        case .textMessageEnd(let id), .toolCallEnd(let id):
            if current != id { found.append("\(id) ends and is not open") }
            current = nil
        default: found.append("\(event.type) does not belong to an answer")
        }
    }
    if let current { found.append("\(current) never ends") }
    return found
}

/// A repeatable series of deltas as no provider would send them: text and calls in any order.
private func randomDeltas(seed: UInt64) -> [ChatDelta] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
    func roll(_ sides: UInt64) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % sides)
    }
    var deltas: [ChatDelta] = []
    var calls = 0
    for number in 0..<40 {
        switch roll(4) {
        case 0: deltas.append(.text("t\(number) "))
        case 1:
            deltas.append(.toolCallStart(index: calls, name: "f\(calls)"))
            calls += 1
        default:
            if calls > 0 { deltas.append(.toolCallArguments(index: roll(UInt64(calls)), delta: "a\(number) ")) }
        }
    }
    return deltas
}

@Suite("Answer streams")
struct AnswerStreamTests {
    @Test("Text is one message: begun by its first piece, ended with the answer")
    func text() {
        let events = play([.text("Hel"), .text("lo")]).events
        let expected: [RunEvent] = [
            .textMessageStart(messageID: "id-1"), .textMessageContent(messageID: "id-1", delta: "Hel"),
            .textMessageContent(messageID: "id-1", delta: "lo"), .textMessageEnd(messageID: "id-1"),
        ]
        #expect(events == expected)
    }

    @Test("An empty piece of text writes nothing")
    func emptyText() {
        #expect(play([.text(""), .text("")]).events.isEmpty)
    }

    @Test("A call after text ends the message first, and names it as its parent")
    func textThenCall() {
        let answer = play([.text("Look:"), .toolCallStart(index: 0, name: "f"), .toolCallArguments(index: 0, delta: "{}")])
        let expected: [RunEvent] = [
            .textMessageStart(messageID: "id-1"), .textMessageContent(messageID: "id-1", delta: "Look:"),
            .textMessageEnd(messageID: "id-1"),
            .toolCallStart(toolCallID: "id-2", toolName: "f", parentMessageID: "id-1"),
            .toolCallArguments(toolCallID: "id-2", delta: "{}"), .toolCallEnd(toolCallID: "id-2"),
        ]
        #expect(answer.events == expected)
        #expect(answer.calls == [ToolCall(id: "id-2", name: "f", arguments: "{}")])
    }

    @Test("Each delta's events are answered at once, not at the end")
    func isStreamed() {
        var stream = makeStream()
        let first = stream.take(.text("a"))
        let second = stream.take(.toolCallStart(index: 0, name: "f"))
        let third = stream.take(.toolCallArguments(index: 0, delta: "{"))
        let last = stream.finish()
        #expect([first.count, second.count, third.count, last.count] == [2, 2, 1, 1])
    }

    @Test("Calls without text share one parent of their own")
    func callsWithoutText() {
        let events = play([.toolCallStart(index: 0, name: "f"), .toolCallStart(index: 1, name: "g")]).events
        let parents = Set(
            events.compactMap { event -> String? in
                if case .toolCallStart(_, _, let parent) = event { return parent }
                return nil
            })
        #expect(events.count == 4)
        #expect(parents.count == 1)
    }

    @Test("A call that begins while another is open waits for its end, and loses nothing")
    func interleavedCalls() {
        let answer = play([
            .toolCallStart(index: 0, name: "f"), .toolCallStart(index: 1, name: "g"),
            .toolCallArguments(index: 1, delta: "[1"), .toolCallArguments(index: 0, delta: "{\"a\":"),
            .toolCallArguments(index: 1, delta: ",2]"), .toolCallArguments(index: 0, delta: "1}"),
        ])
        #expect(violations(answer.events).isEmpty)
        #expect(answer.calls.map(\.arguments) == ["{\"a\":1}", "[1,2]"])
        for call in answer.calls { #expect(loggedArguments(answer.events)[call.id] == call.arguments) }
    }

    @Test("Text between two calls ends the first and is a message of its own")
    func textBetweenCalls() {
        let answer = play([
            .toolCallStart(index: 0, name: "f"), .toolCallArguments(index: 0, delta: "{}"), .text("And:"),
            .toolCallStart(index: 1, name: "g"), .toolCallArguments(index: 1, delta: "[]"),
        ])
        let types = answer.events.map(\.type)
        #expect(
            types == [
                "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT",
                "TEXT_MESSAGE_END", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END",
            ])
    }

    @Test("Arguments that come after a text in between reach the log like those before it")
    func argumentsAfterText() throws {
        let answer = play([
            .toolCallStart(index: 0, name: "f"), .toolCallArguments(index: 0, delta: "{\"a\":"), .text("Hm."),
            .toolCallArguments(index: 0, delta: "1}"),
        ])
        let call = try #require(answer.calls.first)
        #expect(call.arguments == "{\"a\":1}")
        #expect(loggedArguments(answer.events)[call.id] == call.arguments)
    }

    @Test("Calls are answered in the order of their index, whichever began first")
    func orderOfCalls() {
        let calls = play([.toolCallStart(index: 1, name: "g"), .toolCallStart(index: 0, name: "f")]).calls
        #expect(calls.map(\.name) == ["f", "g"])
    }

    @Test("Arguments of a call that never began write nothing")
    func unknownCall() {
        let answer = play([.toolCallArguments(index: 3, delta: "{}")])
        #expect(answer.events.isEmpty)
        #expect(answer.calls.isEmpty)
    }

    @Test("Characters of several bytes come through whole")
    func severalBytes() {
        let answer = play([
            .toolCallStart(index: 0, name: "f"), .toolCallArguments(index: 0, delta: "e"),
            .toolCallArguments(index: 0, delta: "\u{301}\u{1F600}"),
        ])
        #expect(answer.calls.last?.arguments == "e\u{301}\u{1F600}")
        #expect(loggedArguments(answer.events).values.joined() == "e\u{301}\u{1F600}")
    }

    @Test("One thing is open at a time, in whatever order the deltas come", arguments: UInt64(1)...100)
    func orderingRules(seed: UInt64) {
        let deltas = randomDeltas(seed: seed)
        let answer = play(deltas)
        #expect(violations(answer.events).isEmpty)
        let text = deltas.compactMap { delta -> String? in
            if case .text(let text) = delta { return text }
            return nil
        }
        let logged = answer.events.compactMap { event -> String? in
            if case .textMessageContent(_, let text) = event { return text }
            return nil
        }
        #expect(logged.joined() == text.joined())
    }
}
