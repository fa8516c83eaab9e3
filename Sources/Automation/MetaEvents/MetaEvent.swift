import Agents
import Domain

/// An event of a tenant's own product.
public struct MetaEvent: Hashable, Sendable {
    /// Events that come together.
    public static let maximumTogether = 100
    public static let maximumDataBytes = 64 * 1024

    /// The sender's or ours: of two events with one id, the first is stored.
    public let id: EventID
    /// A type with a schema.
    public let type: String
    public let data: JSONValue
    /// When it happened, by the sender's word.
    public let time: Timestamp
    public let receivedAt: Timestamp

    public init(id: EventID, type: String, data: JSONValue, time: Timestamp, receivedAt: Timestamp) {
        self.id = id
        self.type = type
        self.data = data
        self.time = time
        self.receivedAt = receivedAt
    }
}

/// What of the events is asked for.
public struct MetaEventFilter: Hashable, Sendable {
    public var type: String?
    /// Received from this time on.
    public var from: Timestamp?
    /// Received before this time.
    public var to: Timestamp?

    public init(type: String? = nil, from: Timestamp? = nil, to: Timestamp? = nil) {
        self.type = type
        self.from = from
        self.to = to
    }
}

/// What the data of a type of event must be.
public struct EventSchema: Hashable, Sendable {
    public static let maximumPerTenant = 200
    public static let maximumBytes = 64 * 1024

    public let type: String
    public let schema: JSONSchema
    public let createdAt: Timestamp
    public let updatedAt: Timestamp

    public init(type: String, schema: JSONSchema, createdAt: Timestamp, updatedAt: Timestamp) {
        self.type = type
        self.schema = schema
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}
