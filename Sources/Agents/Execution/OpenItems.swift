import Domain

/// What a run's log has begun and not yet ended: a fold over its events. Whoever goes on with the run closes these first,
/// so that AG-UI's ordering rules hold over crashes.
public struct OpenItems: Hashable, Sendable {
    public private(set) var messages: [String] = []
    public private(set) var toolCalls: [String] = []
    public private(set) var steps: [String] = []
    /// The ids of the messages and tool calls that the open model step has streamed and nothing has discarded yet.
    public private(set) var streamed: [String] = []

    /// How much of a log is read at once.
    static let logPage = 500

    public init() {}

    public mutating func apply(_ event: RunEvent) {
        switch event {
        case .stepStarted(let name):
            steps.append(name)
            streamed = []
        case .stepFinished(let name):
            steps.removeAll { $0 == name }
            streamed = []
        case .textMessageStart(let id):
            messages.append(id)
            streamed.append(id)
        case .textMessageEnd(let id): messages.removeAll { $0 == id }
        case .toolCallStart(let id, _, _):
            toolCalls.append(id)
            streamed.append(id)
        case .toolCallEnd(let id): toolCalls.removeAll { $0 == id }
        case .custom(.attemptDiscarded, _): streamed = []
        default: break
        }
    }

    /// Applies an event as it stands in the log.
    public mutating func apply(_ event: LoggedEvent) {
        let fields = try? JSONValue(parsing: event.fields)
        func id(_ name: String) -> String { fields?[name]?.string ?? "" }
        switch event.type {
        case "STEP_STARTED": apply(.stepStarted(name: id("stepName")))
        case "STEP_FINISHED": apply(.stepFinished(name: id("stepName")))
        case "TEXT_MESSAGE_START": apply(.textMessageStart(messageID: id("messageId")))
        case "TEXT_MESSAGE_END": apply(.textMessageEnd(messageID: id("messageId")))
        case "TOOL_CALL_START": apply(.toolCallStart(toolCallID: id("toolCallId"), toolName: "", parentMessageID: ""))
        case "TOOL_CALL_END": apply(.toolCallEnd(toolCallID: id("toolCallId")))
        case "CUSTOM" where id("name") == RunEvent.CustomName.attemptDiscarded.rawValue:
            apply(.custom(name: .attemptDiscarded, value: .null))
        default: break
        }
    }

    /// Ends what the current attempt of a model step has open and tells that its content does not count.
    public var discarding: [RunEvent] {
        guard !streamed.isEmpty else { return [] }
        let value: JSONValue = [
            "stepName": JSONValue(steps.last), "ids": .array(streamed.map { .string($0) }),
        ]
        return closingStreams + [.custom(name: .attemptDiscarded, value: value)]
    }

    /// Ends everything, so that the run may end.
    public var closing: [RunEvent] {
        closingStreams + steps.reversed().map { .stepFinished(name: $0) }
    }

    private var closingStreams: [RunEvent] {
        messages.map { .textMessageEnd(messageID: $0) } + toolCalls.map { .toolCallEnd(toolCallID: $0) }
    }
}

extension RunStore {
    /// What earlier workers left open in the run's log. Only a run with an unfinished step can have anything open.
    func openItems(_ snapshot: RunSnapshot) async throws -> OpenItems {
        var open = OpenItems()
        guard snapshot.steps.contains(where: { $0.status == .started }) else { return open }
        var seq: Int64 = 0
        while seq < snapshot.lastSeq {
            let page = try await events(
                tenant: snapshot.run.tenant, run: snapshot.run.id, after: seq, limit: OpenItems.logPage)
            guard let last = page.last else { break }
            for event in page { open.apply(event) }
            seq = last.seq
        }
        return open
    }
}
