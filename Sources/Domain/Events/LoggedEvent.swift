/// An event with its place in the log of one run.
public struct LoggedEvent: Hashable, Sendable {
    /// The position, gapless from 1.
    public let seq: Int64
    /// AG-UI's `type`.
    public let type: String
    public let timestamp: Timestamp
    /// The members besides `type` and the envelope, as a JSON object.
    public let fields: String

    public init(seq: Int64, type: String, timestamp: Timestamp, fields: String) {
        self.seq = seq
        self.type = type
        self.timestamp = timestamp
        self.fields = fields
    }

    public init(seq: Int64, timestamp: Timestamp, event: RunEvent) {
        self.init(seq: seq, type: event.type, timestamp: timestamp, fields: JSONValue.object(event.fields).text)
    }

    public var isTerminal: Bool { type == "RUN_FINISHED" || type == "RUN_ERROR" }

    /// The run now waits for a person.
    public var isWaiting: Bool { type == "CUSTOM" && fields.hasPrefix("{\"name\":\"\(RunEvent.CustomName.waiting.rawValue)\"") }

    /// The event as every stream sends it: AG-UI's members plus `seq`, `runId`, `threadId`, `timestamp` (milliseconds).
    public func json(run: RunID, session: SessionID) -> String {
        var text = "{\"type\":\"\(type)\",\"seq\":\(seq),\"runId\":\"\(run)\",\"threadId\":\"\(session)\""
        text += ",\"timestamp\":\(timestamp.milliseconds)"
        if fields.utf8.count > 2 {
            text += ","
            text += fields.dropFirst()
        } else {
            text += "}"
        }
        return text
    }
}
