import Domain
import Models

/// Turns the deltas of one model answer into AG-UI events, one message or tool call open at a time, under ids of ours.
struct AnswerStream: Sendable {
    private struct Call {
        let id: String
        let name: String
        var arguments = ""
        /// How many bytes of `arguments` have been sent.
        var sent = 0
        var isStarted = false
        var isEnded = false
    }

    private let makeID: @Sendable () -> String
    private var openText: String?
    private var lastMessage: String?
    private var calls: [Int: Call] = [:]
    private var openCall: Int?
    private var waitingText = ""

    init(makeID: @escaping @Sendable () -> String) { self.makeID = makeID }

    /// Whether anything of the answer has come.
    var hasBegun: Bool { lastMessage != nil || !calls.isEmpty }

    mutating func take(_ delta: ChatDelta) -> [RunEvent] {
        switch delta {
        case .text(let text):
            guard !text.isEmpty else { return [] }
            guard openCall == nil else {
                // More arguments may come for the open call: the text waits for its end.
                waitingText += text
                return []
            }
            return say(text)
        case .toolCallStart(let index, let name):
            calls[index] = Call(id: makeID(), name: name)
            return openCall == nil ? send(index) : []
        case .toolCallArguments(let index, let piece):
            calls[index]?.arguments += piece
            return openCall == nil || openCall == index ? send(index) : []
        }
    }

    /// Ends what is open, after sending the calls that had to wait for another to end.
    mutating func finish() -> [RunEvent] {
        var events = endCall()
        if !waitingText.isEmpty { events += say(waitingText) }
        waitingText = ""
        events += endText()
        for index in calls.keys.sorted() where calls[index]?.isEnded == false { events += send(index) + endCall() }
        return events
    }

    /// The calls under our ids, in order.
    var toolCalls: [ToolCall] {
        calls.sorted { $0.key < $1.key }.map { ToolCall(id: $1.id, name: $1.name, arguments: $1.arguments) }
    }

    private mutating func say(_ text: String) -> [RunEvent] {
        let message = openText ?? makeID()
        let start: [RunEvent] = openText == nil ? [.textMessageStart(messageID: message)] : []
        (openText, lastMessage) = (message, message)
        return start + [.textMessageContent(messageID: message, delta: text)]
    }

    private mutating func send(_ index: Int) -> [RunEvent] {
        guard var call = calls[index], !call.isEnded else { return [] }
        var events = endText()
        if !call.isStarted {
            let parent = lastMessage ?? makeID()
            lastMessage = parent
            events.append(.toolCallStart(toolCallID: call.id, toolName: call.name, parentMessageID: parent))
            call.isStarted = true
        }
        let rest = String(decoding: call.arguments.utf8.dropFirst(call.sent), as: UTF8.self)
        if !rest.isEmpty { events.append(.toolCallArguments(toolCallID: call.id, delta: rest)) }
        call.sent = call.arguments.utf8.count
        calls[index] = call
        openCall = index
        return events
    }

    private mutating func endText() -> [RunEvent] {
        defer { openText = nil }
        return openText.map { [.textMessageEnd(messageID: $0)] } ?? []
    }

    private mutating func endCall() -> [RunEvent] {
        guard let index = openCall, let call = calls[index] else { return [] }
        calls[index]?.isEnded = true
        openCall = nil
        return [.toolCallEnd(toolCallID: call.id)]
    }
}
