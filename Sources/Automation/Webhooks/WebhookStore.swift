import Accounts
import Domain
import Queue

/// An event whose deliveries are not there yet.
public struct PendingEvent: Hashable, Sendable {
    public let tenant: TenantID
    public let event: EventID
    public let type: String
    /// When it was stored.
    public let time: Timestamp

    public init(tenant: TenantID, event: EventID, type: String, time: Timestamp) {
        self.tenant = tenant
        self.event = event
        self.type = type
        self.time = time
    }
}

/// Another process has sent an event on; nothing was stored.
public struct EventMoved: Error, Hashable, Sendable {
    public init() {}
}

/// A webhook was changed or deleted at the same time; nothing was stored.
public struct WebhookMoved: Error, Hashable, Sendable {
    public init() {}
}

/// Holds webhooks, the events that are to be told, and what became of each telling.
///
/// Every call is atomic, and sees one tenant only unless it says otherwise. Events are stored by whatever makes them happen,
/// in its own transaction, where the tenant has an enabled webhook; they are pending until their deliveries are stored.
public protocol WebhookStore: Sendable {
    /// - Throws: `Problem` with `invalid_request` when the tenant has `Webhook.maximumPerTenant`.
    func add(tenant: TenantID, _ webhook: Webhook, audit: AuditEntry) async throws

    func webhook(tenant: TenantID, _ id: WebhookID) async throws -> Webhook?

    /// Newest first.
    func webhooks(tenant: TenantID, page: PageRequest) async throws -> Page<Webhook>

    /// All that are enabled.
    func enabled(tenant: TenantID) async throws -> [Webhook]

    /// Stores a webhook in the place of the one with its version, which moves on.
    ///
    /// - Throws: `WebhookMoved`.
    func change(tenant: TenantID, _ webhook: Webhook, audit: AuditEntry) async throws

    /// Deletes a webhook and its deliveries.
    ///
    /// - Throws: `Problem` with `not_found`.
    func delete(tenant: TenantID, _ id: WebhookID, audit: AuditEntry) async throws

    /// Seals the secrets of all tenants anew; answers of how many webhooks.
    func reseal(_ change: (_ sealed: String, _ webhook: WebhookID) throws -> String) async throws -> Int

    /// Events of all tenants that are pending, the oldest first.
    ///
    /// - Parameter last: only what comes after it.
    func pending(after last: PendingEvent?, limit: Int) async throws -> [PendingEvent]

    /// Stores the deliveries of pending events, and the jobs that carry them out.
    ///
    /// - Throws: `EventMoved`; `StorageError.foreignKeyViolation` when a webhook is gone.
    func send(tenant: TenantID, _ events: [EventID], deliveries: [WebhookDelivery], jobs: [NewJob]) async throws

    /// Stores an event that is for one webhook only, with its delivery and job.
    func send(
        tenant: TenantID, _ event: OutgoingEvent, delivery: WebhookDelivery, job: NewJob, audit: AuditEntry
    ) async throws

    /// A delivery and what it tells.
    func delivery(tenant: TenantID, _ id: DeliveryID) async throws -> (delivery: WebhookDelivery, event: OutgoingEvent)?

    /// Newest first; only those in `state` when it is given.
    func deliveries(
        tenant: TenantID, of webhook: WebhookID, state: WebhookDelivery.State?, page: PageRequest
    ) async throws -> Page<WebhookDelivery>

    /// Has a delivery made once more.
    ///
    /// - Throws: `Problem` with `delivery_pending`.
    func replay(tenant: TenantID, _ id: DeliveryID, job: NewJob, audit: AuditEntry) async throws

    /// Notes a try that failed and will be repeated.
    ///
    /// - Throws: `FenceLost` when the job is no longer the lease's.
    func note(_ lease: JobLease, _ attempt: WebhookDelivery.Attempt) async throws

    /// Ends a delivery together with its job.
    ///
    /// - Parameter disabling: why its webhook is disabled with it; `nil` leaves it as it is.
    /// - Throws: `FenceLost` when the job is no longer the lease's.
    func settle(
        _ lease: JobLease, as state: WebhookDelivery.State, _ attempt: WebhookDelivery.Attempt, disabling: String?
    ) async throws

    /// Ends a delivery whose job is given up.
    func fail(tenant: TenantID, _ id: DeliveryID, error: String) async throws
}
