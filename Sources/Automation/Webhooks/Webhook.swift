import Domain

/// An address that is told what happens in a tenant.
public struct Webhook: Hashable, Sendable {
    public static let maximumPerTenant = 50
    public static let urlCharacters = 1...2000
    public static let descriptionCharacters = 0...500
    public static let maximumEvents = 50
    /// How long the secret before signs beside a new one.
    public static let overlap: Duration = .seconds(24 * 3600)

    public let id: WebhookID
    public var url: String
    public var description: String?
    /// Patterns of the types that it wants.
    public var events: [String]
    /// What signs, sealed.
    public var sealed: String
    /// What signed before, sealed.
    public var previousSealed: String?
    /// Until when that signs too.
    public var previousUntil: Timestamp?
    public var disabledAt: Timestamp?
    /// Why, where nobody did it by hand.
    public var disabledReason: String?
    /// Grows with every change.
    public var version: Int64
    public let createdAt: Timestamp
    public var updatedAt: Timestamp

    public init(
        id: WebhookID, url: String, description: String?, events: [String], sealed: String, previousSealed: String? = nil,
        previousUntil: Timestamp? = nil, disabledAt: Timestamp? = nil, disabledReason: String? = nil,
        version: Int64 = 1, createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.id = id
        self.url = url
        self.description = description
        self.events = events
        self.sealed = sealed
        self.previousSealed = previousSealed
        self.previousUntil = previousUntil
        self.disabledAt = disabledAt
        self.disabledReason = disabledReason
        self.version = version
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }

    public func wants(_ type: String) -> Bool { disabledAt == nil && events.contains { EventType.matches($0, type) } }
}

/// One event on its way to one webhook.
public struct WebhookDelivery: Hashable, Sendable {
    public enum State: String, CaseIterable, Sendable {
        case pending
        case delivered
        /// Given up: a dead letter, until somebody replays it.
        case failed
    }

    /// The last try.
    public struct Attempt: Hashable, Sendable {
        /// Characters of an answer that are kept.
        public static let keptCharacters = 1000

        /// The answer's HTTP status; `nil` when there was none.
        public let status: Int?
        /// What was wrong.
        public let error: String?
        /// How the answer's body begins.
        public let response: String?
        public let duration: Duration
        public let time: Timestamp

        public init(status: Int?, error: String?, response: String?, duration: Duration, time: Timestamp) {
            self.status = status
            self.error = error
            self.response = response
            self.duration = duration
            self.time = time
        }
    }

    public let id: DeliveryID
    public let webhook: WebhookID
    public let event: EventID
    public let type: String
    public let state: State
    public let attempts: Int
    public let lastAttempt: Attempt?
    public let createdAt: Timestamp
    public let deliveredAt: Timestamp?

    public init(
        id: DeliveryID, webhook: WebhookID, event: EventID, type: String, state: State = .pending, attempts: Int = 0,
        lastAttempt: Attempt? = nil, createdAt: Timestamp, deliveredAt: Timestamp? = nil
    ) {
        self.id = id
        self.webhook = webhook
        self.event = event
        self.type = type
        self.state = state
        self.attempts = attempts
        self.lastAttempt = lastAttempt
        self.createdAt = createdAt
        self.deliveredAt = deliveredAt
    }
}
