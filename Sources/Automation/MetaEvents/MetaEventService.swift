import Accounts
import Agents
import Domain

/// An event on its way in.
public struct NewMetaEvent: Sendable {
    public let id: EventID?
    public let type: String
    public let data: JSONValue
    public let time: Timestamp?

    public init(id: EventID?, type: String, data: JSONValue, time: Timestamp?) {
        self.id = id
        self.type = type
        self.data = data
        self.time = time
    }
}

/// Takes the events of tenants' own products, each held against the schema of its type.
public struct MetaEventService: Sendable {
    private let store: any MetaEventStore
    private let ambient: Ambient

    public init(store: any MetaEventStore, ambient: Ambient = .system) {
        self.store = store
        self.ambient = ambient
    }

    /// Stores all of the events, or none.
    ///
    /// - Throws: `Problem` with `invalid_request` and every fault.
    public func receive(_ principal: Principal, _ events: [NewMetaEvent]) async throws -> [MetaEvent] {
        let schemas = Dictionary(
            uniqueKeysWithValues: try await store.schemas(tenant: principal.tenant).map { ($0.type, $0.schema) })
        var faults: [Problem.Fault] = []
        for (place, event) in events.enumerated() where faults.count < Self.maximumFaults {
            guard let schema = schemas[event.type] else {
                faults.append(
                    .init(
                        field: "events[\(place)].type",
                        message: "has no schema; register one with PUT /api/meta-events/schemas/\(event.type)"))
                continue
            }
            for violation in schema.violations(of: event.data, at: "events[\(place)].data") {
                faults.append(.init(field: violation.path, message: violation.message))
            }
        }
        if let first = faults.first {
            throw Problem(
                .invalidRequest, "\(first.field) \(first.message). No event was stored.",
                faults: Array(faults.prefix(Self.maximumFaults)))
        }
        let now = ambient.now()
        let received = events.map { event in
            MetaEvent(
                id: event.id ?? EventID(ambient.makeID()), type: event.type, data: event.data, time: event.time ?? now,
                receivedAt: now)
        }
        try await store.add(tenant: principal.tenant, received.map { ($0, ambient.makeID()) })
        return received
    }

    /// Faults beyond these help nobody.
    private static let maximumFaults = 50

    /// The last received first.
    public func events(
        _ principal: Principal, _ filter: MetaEventFilter, page: PageRequest
    ) async throws -> Page<MetaEvent> {
        try await store.events(tenant: principal.tenant, filter, page: page)
    }

    /// By their types.
    public func schemas(_ principal: Principal) async throws -> [EventSchema] {
        try await store.schemas(tenant: principal.tenant)
    }

    /// Registers what the data of a type must be; for events that come from now on.
    ///
    /// - Throws: `Problem` with `invalid_request`.
    public func put(
        _ principal: Principal, _ type: String, schema: JSONValue, requester: Requester
    ) async throws -> EventSchema {
        let now = ambient.now()
        let schema = try JSONSchema(schema)
        let before = try await store.schemas(tenant: principal.tenant).first { $0.type == type }
        let registered = EventSchema(type: type, schema: schema, createdAt: before?.createdAt ?? now, updatedAt: now)
        try await store.put(
            tenant: principal.tenant, registered, audit: entry(.eventSchemaChanged, type, principal, requester))
        return registered
    }

    /// Events of the type stay, and no more are taken.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func delete(_ principal: Principal, schema type: String, requester: Requester) async throws {
        try await store.delete(
            tenant: principal.tenant, schema: type, audit: entry(.eventSchemaDeleted, type, principal, requester))
    }

    private func entry(
        _ action: AuditAction, _ type: String, _ principal: Principal, _ requester: Requester
    ) -> AuditEntry {
        AuditEntry(
            id: AuditID(ambient.makeID()), tenant: principal.tenant, requester: requester, action: action,
            target: "event_schema/\(type)", time: ambient.now())
    }
}
