import Accounts
import Domain
import Foundation

/// Holds events of tenants' own products, and their schemas. Every call is atomic, and sees one tenant only.
public protocol MetaEventStore: Sendable {
    /// Stores events, but those whose ids are there already, and has webhooks told of what is new.
    ///
    /// - Parameter places: where each comes in the list, by arrival: UUIDv7.
    func add(tenant: TenantID, _ events: [(event: MetaEvent, place: UUID)]) async throws

    /// The last received first.
    func events(tenant: TenantID, _ filter: MetaEventFilter, page: PageRequest) async throws -> Page<MetaEvent>

    /// By their types.
    func schemas(tenant: TenantID) async throws -> [EventSchema]

    /// Stores a schema, in the place of one of the same type.
    ///
    /// - Throws: `Problem` with `invalid_request` when the tenant has `EventSchema.maximumPerTenant`.
    func put(tenant: TenantID, _ schema: EventSchema, audit: AuditEntry) async throws

    /// - Throws: `Problem` with `not_found`.
    func delete(tenant: TenantID, schema type: String, audit: AuditEntry) async throws
}
