import Domain

/// Something that happened in a tenant, as other servers are told it.
public struct OutgoingEvent: Hashable, Sendable {
    /// Told with every try, so that a receiver knows an event that it has had before.
    public let id: EventID
    /// `run.succeeded`.
    public let type: String
    public let data: JSONValue
    public let time: Timestamp

    public init(id: EventID, type: String, data: JSONValue, time: Timestamp) {
        self.id = id
        self.type = type
        self.data = data
        self.time = time
    }

    /// What is sent (Standard Webhooks 1.0.0).
    public var body: JSONValue { ["type": .string(type), "timestamp": .string(time.iso8601), "data": data] }
}

/// The names of events: words in lower case, divided by dots.
public enum EventType {
    public static let characters = 1...100
    /// First words of the platform's own events.
    public static let reserved: Set<String> = ["run", "document", "schedule", "webhook"]
    /// What tries a webhook.
    static let test = "webhook.test"

    public static func isValid(_ text: String) -> Bool {
        characters.contains(text.utf8.count)
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { word in
                word.first.map { ("a"..."z").contains($0) } ?? false
                    && word.unicodeScalars.allSatisfy { ("a"..."z").contains($0) || ("0"..."9").contains($0) || $0 == "_" }
            }
    }

    public static func isReserved(_ text: String) -> Bool { reserved.contains(String(text.prefix { $0 != "." })) }

    /// Whether `pattern` is a type, `words.*`, or `*`.
    public static func isPattern(_ pattern: String) -> Bool {
        characters.contains(pattern.utf8.count)
            && (pattern == "*" || isValid(pattern.hasSuffix(".*") ? String(pattern.dropLast(2)) : pattern))
    }

    /// Whether the pattern holds the type: `run.*` holds whatever begins with `run.`.
    public static func matches(_ pattern: String, _ type: String) -> Bool {
        pattern == "*" || pattern == type || pattern.hasSuffix(".*") && type.hasPrefix(pattern.dropLast())
    }
}
