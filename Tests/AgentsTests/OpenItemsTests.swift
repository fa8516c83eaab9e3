import Agents
import Domain
import Testing

private let instant = Timestamp(microseconds: 0)

private func fold(_ events: [RunEvent]) -> OpenItems {
    var items = OpenItems()
    for event in events { items.apply(event) }
    return items
}

/// A model step that has streamed a message and begun two calls.
private let crashed: [RunEvent] = [
    .runStarted,
    .stepStarted(name: "model-1"),
    .textMessageStart(messageID: "m"),
    .textMessageContent(messageID: "m", delta: "Hello"),
    .textMessageEnd(messageID: "m"),
    .toolCallStart(toolCallID: "a", toolName: "f", parentMessageID: "m"),
    .toolCallEnd(toolCallID: "a"),
    .toolCallStart(toolCallID: "b", toolName: "f", parentMessageID: "m"),
    .toolCallArguments(toolCallID: "b", delta: "{"),
]

private let ending: [RunEvent] = [
    .toolCallEnd(toolCallID: "b"), .stepFinished(name: "model-1"),
]

/// Goes on after `crashed` with every other kind of event.
private let goingOn: [RunEvent] = [
    .toolCallEnd(toolCallID: "b"),
    .textMessageStart(messageID: "n"),
    .custom(name: .attemptDiscarded, value: ["ids": ["m", "a", "b"]]),
    .textMessageEnd(messageID: "n"),
    .stepFinished(name: "model-1"),
    .stepStarted(name: "tool-2"),
    .toolCallResult(messageID: "r", toolCallID: "a", content: "4"),
    .custom(name: .citations, value: []),
    .custom(name: .waiting, value: .null),
    .custom(name: .resumed, value: .null),
    .stepFinished(name: "tool-2"),
    .runFinished(outcome: .success),
    .runError(code: .internalError, message: "-"),
]

private let everyKind = crashed + goingOn

private let damaged = [
    LoggedEvent(seq: 1, type: "STEP_STARTED", timestamp: instant, fields: "not JSON"),
    LoggedEvent(seq: 1, type: "TEXT_MESSAGE_END", timestamp: instant, fields: "[]"),
    LoggedEvent(seq: 1, type: "SOMETHING_NEW", timestamp: instant, fields: #"{"stepName":"model-1"}"#),
]

@Suite("Open items")
struct OpenItemsTests {
    @Test("Nothing is open before the first event, and there is nothing to close")
    func empty() {
        let items = OpenItems()
        #expect(items.closing.isEmpty)
        #expect(items.discarding.isEmpty)
    }

    @Test("What was begun and not ended is open")
    func openItems() {
        let items = fold(crashed)
        #expect(items.messages.isEmpty)
        #expect(items.toolCalls == ["b"])
        #expect(items.steps == ["model-1"])
        #expect(items.streamed == ["m", "a", "b"])
    }

    @Test("Closing ends messages and calls before the steps they belong to")
    func closingOrder() {
        let begun: [RunEvent] = [
            .stepStarted(name: "model-1"), .textMessageStart(messageID: "m"),
            .toolCallStart(toolCallID: "a", toolName: "f", parentMessageID: "m"),
        ]
        let expected: [RunEvent] = [
            .textMessageEnd(messageID: "m"), .toolCallEnd(toolCallID: "a"), .stepFinished(name: "model-1"),
        ]
        #expect(fold(begun).closing == expected)
    }

    @Test("After its closing events nothing is open, wherever the log was cut", arguments: 0...everyKind.count)
    func closingCloses(length: Int) {
        var items = fold(Array(everyKind.prefix(length)))
        for event in items.closing { items.apply(event) }
        #expect(items.messages.isEmpty)
        #expect(items.toolCalls.isEmpty)
        #expect(items.steps.isEmpty)
    }

    @Test("Discarding ends what is open and lists everything the attempt has streamed")
    func discarding() {
        let expected: [RunEvent] = [
            .toolCallEnd(toolCallID: "b"),
            .custom(name: .attemptDiscarded, value: ["stepName": "model-1", "ids": ["m", "a", "b"]]),
        ]
        #expect(fold(crashed).discarding == expected)
    }

    @Test("An attempt is discarded once, and its step stays open")
    func discardingOnce() {
        var items = fold(crashed)
        for event in items.discarding { items.apply(event) }
        #expect(items.discarding.isEmpty)
        #expect(items.steps == ["model-1"])
    }

    @Test("A new step has streamed nothing yet")
    func newStep() {
        let items = fold(crashed + ending)
        #expect(items == OpenItems())
    }

    @Test("The log gives the same as the events it was written from", arguments: 0...everyKind.count)
    func fromLog(length: Int) {
        let events = Array(everyKind.prefix(length))
        var fromLog = OpenItems()
        for event in events { fromLog.apply(LoggedEvent(seq: 1, timestamp: instant, event: event)) }
        #expect(fromLog == fold(events))
    }

    @Test("An unreadable or unknown event in the log leaves calls and messages as they are", arguments: damaged)
    func damagedLog(event: LoggedEvent) {
        var items = fold(crashed)
        items.apply(event)
        #expect(items.messages.isEmpty)
        #expect(items.toolCalls == ["b"])
    }
}
