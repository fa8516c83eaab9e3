import Accounts
import Domain
import Models
import Queue

/// What somebody wants of a webhook; what is absent stays as it is.
public struct WebhookChange: Sendable {
    public var url: String?
    public var description: String?
    public var events: [String]?
    public var isEnabled: Bool?

    public init(url: String? = nil, description: String? = nil, events: [String]? = nil, isEnabled: Bool? = nil) {
        self.url = url
        self.description = description
        self.events = events
        self.isEnabled = isEnabled
    }

    var names: [JSONValue] {
        let all: [(String, Bool)] = [
            ("url", url != nil), ("description", description != nil), ("events", events != nil), ("enabled", isEnabled != nil),
        ]
        return all.filter(\.1).map { .string($0.0) }
    }
}

/// Makes, changes and tries webhooks, and shows what became of what they were told.
public struct WebhookService: Sendable {
    private let store: any WebhookStore
    private let sealer: SecretSealer
    private let http: OutwardHTTP
    /// Notified when a job became available.
    private let available: Signal
    private let ambient: Ambient

    /// - Parameter http: what messages are sent by.
    public init(
        store: any WebhookStore, sealer: SecretSealer, http: OutwardHTTP, available: Signal, ambient: Ambient = .system
    ) {
        self.store = store
        self.sealer = sealer
        self.http = http
        self.available = available
        self.ambient = ambient
    }

    /// Why no message would ever go to an address; `nil` when one may.
    public func fault(url: String) -> String? { http.fault(url: url) }

    /// Answers the secret too, which is shown this once.
    public func create(
        _ principal: Principal, url: String, description: String?, events: [String], requester: Requester
    ) async throws -> (Webhook, WebhookSecret) {
        let (id, now, secret) = (WebhookID(ambient.makeID()), ambient.now(), WebhookSecret.make())
        let webhook = Webhook(
            id: id, url: url, description: description, events: events,
            sealed: try sealer.seal(secret.text, row: Self.row(id)), createdAt: now, updatedAt: now)
        try await store.add(tenant: principal.tenant, webhook, audit: entry(.webhookCreated, id, principal, requester))
        return (webhook, secret)
    }

    /// - Throws: `Problem` with `not_found`.
    public func webhook(_ principal: Principal, _ id: WebhookID) async throws -> Webhook {
        guard let webhook = try await store.webhook(tenant: principal.tenant, id) else { throw Problem.notFound("webhook") }
        return webhook
    }

    /// Newest first.
    public func webhooks(_ principal: Principal, page: PageRequest) async throws -> Page<Webhook> {
        try await store.webhooks(tenant: principal.tenant, page: page)
    }

    /// - Throws: `Problem` with `not_found`.
    public func change(
        _ principal: Principal, _ id: WebhookID, _ change: WebhookChange, requester: Requester
    ) async throws -> Webhook {
        guard !change.names.isEmpty else { return try await webhook(principal, id) }
        let details: JSONValue = ["changed": .array(change.names)]
        return try await changing(principal, id, { entry(.webhookChanged, id, principal, requester, details) }) { webhook in
            if let url = change.url { webhook.url = url }
            if let description = change.description { webhook.description = description }
            if let events = change.events { webhook.events = events }
            if let isEnabled = change.isEnabled, isEnabled != (webhook.disabledAt == nil) {
                webhook.disabledAt = isEnabled ? nil : ambient.now()
                webhook.disabledReason = nil
            }
        }
    }

    /// How often a change looks again when the webhook was changed meanwhile.
    private static let maximumChangeTries = 10

    private func changing(
        _ principal: Principal, _ id: WebhookID, _ audit: () -> AuditEntry, _ change: (inout Webhook) throws -> Void
    ) async throws -> Webhook {
        for _ in 0..<Self.maximumChangeTries {
            var webhook = try await webhook(principal, id)
            try change(&webhook)
            webhook.updatedAt = ambient.now()
            do {
                try await store.change(tenant: principal.tenant, webhook, audit: audit())
                webhook.version += 1
                return webhook
            } catch is WebhookMoved {
                continue
            }
        }
        throw Problem(.overloaded, "The webhook keeps changing. Try again.", retryAfter: .seconds(1))
    }

    /// - Throws: `Problem` with `not_found`.
    public func delete(_ principal: Principal, _ id: WebhookID, requester: Requester) async throws {
        try await store.delete(tenant: principal.tenant, id, audit: entry(.webhookDeleted, id, principal, requester))
    }

    /// Gives a webhook a new secret; the one before signs too for `Webhook.overlap`.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func rotateSecret(
        _ principal: Principal, _ id: WebhookID, requester: Requester
    ) async throws -> (Webhook, WebhookSecret) {
        let secret = WebhookSecret.make()
        let sealed = try sealer.seal(secret.text, row: Self.row(id))
        let audit = { entry(.webhookSecretRotated, id, principal, requester) }
        let webhook = try await changing(principal, id, audit) { webhook in
            webhook.previousSealed = webhook.sealed
            webhook.previousUntil = ambient.now().adding(Webhook.overlap)
            webhook.sealed = sealed
        }
        return (webhook, secret)
    }

    // MARK: Deliveries

    /// Tells a webhook an event that says nothing.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func test(_ principal: Principal, _ id: WebhookID, requester: Requester) async throws -> WebhookDelivery {
        _ = try await webhook(principal, id)
        let event = OutgoingEvent(id: EventID(ambient.makeID()), type: EventType.test, data: [:], time: ambient.now())
        let delivery = WebhookDelivery(of: event.id, type: event.type, to: id, ambient)
        try await store.send(
            tenant: principal.tenant, event, delivery: delivery, job: delivery.job(ambient),
            audit: entry(.webhookTested, id, principal, requester, ["deliveryId": .string("\(delivery.id)")]))
        available.notify()
        return delivery
    }

    /// Newest first.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func deliveries(
        _ principal: Principal, of id: WebhookID, state: WebhookDelivery.State?, page: PageRequest
    ) async throws -> Page<WebhookDelivery> {
        _ = try await webhook(principal, id)
        return try await store.deliveries(tenant: principal.tenant, of: id, state: state, page: page)
    }

    /// - Throws: `Problem` with `not_found`.
    public func delivery(
        _ principal: Principal, of webhook: WebhookID, _ id: DeliveryID
    ) async throws -> (delivery: WebhookDelivery, event: OutgoingEvent) {
        guard let found = try await store.delivery(tenant: principal.tenant, id), found.delivery.webhook == webhook else {
            throw Problem.notFound("delivery")
        }
        return found
    }

    /// Has a delivery made once more, whatever became of it.
    ///
    /// - Throws: `Problem` with `not_found` or `delivery_pending`.
    public func replay(
        _ principal: Principal, of webhook: WebhookID, _ id: DeliveryID, requester: Requester
    ) async throws -> WebhookDelivery {
        let before = try await delivery(principal, of: webhook, id).delivery
        try await store.replay(
            tenant: principal.tenant, id, job: before.job(ambient),
            audit: entry(.webhookReplayed, webhook, principal, requester, ["deliveryId": .string("\(id)")]))
        available.notify()
        return try await delivery(principal, of: webhook, id).delivery
    }

    /// Seals every secret anew, under the sealer's first master key; answers of how many webhooks.
    public static func reseal(_ store: any WebhookStore, _ sealer: SecretSealer) async throws -> Int {
        try await store.reseal { sealed, id in try sealer.seal(try sealer.open(sealed, row: row(id)), row: row(id)) }
    }

    /// What a webhook's secrets are sealed for.
    static func row(_ id: WebhookID) -> String { "webhooks/\(id)" }

    private func entry(
        _ action: AuditAction, _ id: WebhookID, _ principal: Principal, _ requester: Requester, _ details: JSONValue = [:]
    ) -> AuditEntry {
        AuditEntry(
            id: AuditID(ambient.makeID()), tenant: principal.tenant, requester: requester, action: action,
            target: "webhook/\(id)", details: details, time: ambient.now())
    }
}

extension WebhookDelivery {
    /// Tries, over 18 to 35 hours: from seconds after the first, to six hours between the last.
    private static let maximumAttempts = 18

    init(of event: EventID, type: String, to webhook: WebhookID, _ ambient: Ambient) {
        self.init(
            id: DeliveryID(ambient.makeID()), webhook: webhook, event: event, type: type, createdAt: ambient.now())
    }

    /// The job that makes it.
    func job(_ ambient: Ambient) -> NewJob {
        NewJob(
            id: JobID(ambient.makeID()), kind: WebhookHandler.kind, subject: id.uuid, maximumAttempts: Self.maximumAttempts)
    }
}
