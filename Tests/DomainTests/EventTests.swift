import Domain
import Testing

/// An event with what stands in the log for it.
struct EventSample: Sendable, CustomTestStringConvertible {
    let event: RunEvent
    let type: String
    let fields: String

    init(_ event: RunEvent, _ type: String, _ fields: String) {
        self.event = event
        self.type = type
        self.fields = fields
    }

    var testDescription: String { type }
}

private let samples = [
    EventSample(.runStarted, "RUN_STARTED", #"{"protocolVersion":"1.0"}"#),
    EventSample(.stepStarted(name: "model-1"), "STEP_STARTED", #"{"stepName":"model-1"}"#),
    EventSample(.stepFinished(name: "tool-2"), "STEP_FINISHED", #"{"stepName":"tool-2"}"#),
    EventSample(.textMessageStart(messageID: "m"), "TEXT_MESSAGE_START", #"{"messageId":"m","role":"assistant"}"#),
    EventSample(
        .textMessageContent(messageID: "m", delta: "Say \"hi\"\n"), "TEXT_MESSAGE_CONTENT",
        #"{"delta":"Say \"hi\"\n","messageId":"m"}"#),
    EventSample(.textMessageEnd(messageID: "m"), "TEXT_MESSAGE_END", #"{"messageId":"m"}"#),
    EventSample(
        .toolCallStart(toolCallID: "t", toolName: "calculator", parentMessageID: "m"), "TOOL_CALL_START",
        #"{"parentMessageId":"m","toolCallId":"t","toolCallName":"calculator"}"#),
    EventSample(
        .toolCallArguments(toolCallID: "t", delta: #"{"a":"#), "TOOL_CALL_ARGS", #"{"delta":"{\"a\":","toolCallId":"t"}"#),
    EventSample(.toolCallEnd(toolCallID: "t"), "TOOL_CALL_END", #"{"toolCallId":"t"}"#),
    EventSample(
        .toolCallResult(messageID: "r", toolCallID: "t", content: "4"), "TOOL_CALL_RESULT",
        #"{"content":"4","messageId":"r","role":"tool","toolCallId":"t"}"#),
    EventSample(
        .custom(name: .attemptDiscarded, value: ["ids": ["m", "t"]]), "CUSTOM",
        #"{"name":"sba.attempt_discarded","value":{"ids":["m","t"]}}"#),
    EventSample(.runFinished(outcome: .success), "RUN_FINISHED", #"{"outcome":{"type":"success"}}"#),
    EventSample(.runFinished(outcome: .cancelled), "RUN_FINISHED", #"{"outcome":{"type":"cancelled"}}"#),
    EventSample(
        .runError(code: .modelTimeout, message: "Too slow."), "RUN_ERROR", #"{"code":"model_timeout","message":"Too slow."}"#),
]

private let runText = "0192f3a1-7b2c-7def-8123-456789abcdef"
private let sessionText = "0192f3a1-7b2c-7def-8123-0000000000aa"
private let instant = Timestamp(microseconds: 1_700_000_000_123_456)

@Suite("Events")
struct EventTests {
    @Test("An event has the type and the members that AG-UI gives it", arguments: samples)
    func typeAndFields(sample: EventSample) {
        #expect(sample.event.type == sample.type)
        #expect(JSONValue.object(sample.event.fields).text == sample.fields)
    }

    @Test("A stream sends the type, the envelope, then the members", arguments: samples)
    func envelope(sample: EventSample) throws {
        let run = try #require(RunID(runText))
        let session = try #require(SessionID(sessionText))
        let event = LoggedEvent(seq: 42, timestamp: instant, event: sample.event)
        let envelope = #""seq":42,"runId":"\#(runText)","threadId":"\#(sessionText)","timestamp":1700000000123"#
        let expected = #"{"type":"\#(sample.type)",\#(envelope),\#(sample.fields.dropFirst())"#
        #expect(event.json(run: run, session: session) == expected)
    }

    @Test("What a stream sends is JSON", arguments: samples)
    func isJSON(sample: EventSample) throws {
        let run = try #require(RunID(runText))
        let session = try #require(SessionID(sessionText))
        let text = LoggedEvent(seq: 1, timestamp: instant, event: sample.event).json(run: run, session: session)
        let json = try JSONValue(parsing: text)
        #expect(json.text.utf8.count == text.utf8.count)
        #expect(json["type"]?.string == sample.type)
    }

    @Test("An event without members of its own ends after the envelope")
    func emptyFields() throws {
        let run = try #require(RunID(runText))
        let session = try #require(SessionID(sessionText))
        let event = LoggedEvent(seq: 7, type: "CUSTOM", timestamp: Timestamp(microseconds: 0), fields: "{}")
        #expect(
            event.json(run: run, session: session)
                == #"{"type":"CUSTOM","seq":7,"runId":"\#(runText)","threadId":"\#(sessionText)","timestamp":0}"#)
    }

    @Test("Only the end of a run is terminal, as an event and in the log", arguments: samples)
    func terminal(sample: EventSample) {
        let isEnd = sample.type == "RUN_FINISHED" || sample.type == "RUN_ERROR"
        #expect(sample.event.isTerminal == isEnd)
        #expect(LoggedEvent(seq: 1, timestamp: instant, event: sample.event).isTerminal == isEnd)
    }

    @Test("Every custom name is ours", arguments: RunEvent.CustomName.allCases)
    func customNames(name: RunEvent.CustomName) {
        #expect(name.rawValue.hasPrefix("sba."))
    }
}

@Suite("Run signals")
struct RunSignalTests {
    private func makeSignal(_ fields: [String]) throws -> RunSignal {
        let tenant = try #require(TenantID(sessionText))
        let run = try #require(RunID(runText))
        let events = fields.enumerated().map { offset, text in
            LoggedEvent(seq: Int64(offset) + 5, type: "CUSTOM", timestamp: instant, fields: text)
        }
        return RunSignal(tenant: tenant, run: run, events: events)
    }

    @Test("A signal of at most 8 KiB carries its events")
    func carriesEvents() throws {
        let signal = try makeSignal([String(repeating: "x", count: 4096), String(repeating: "y", count: 4096)])
        #expect(signal.events.map(\.seq) == [5, 6])
    }

    @Test("A larger signal drops the events and keeps their numbers")
    func dropsEvents() throws {
        let signal = try makeSignal([String(repeating: "x", count: 4096), String(repeating: "y", count: 4096), "z"])
        #expect(signal.events.isEmpty)
        #expect(signal.first == 5)
        #expect(signal.last == 7)
    }

    @Test("Bytes count, not characters")
    func countsBytes() throws {
        let signal = try makeSignal([String(repeating: "\u{E9}", count: 4097)])
        #expect(signal.events.isEmpty)
    }
}
