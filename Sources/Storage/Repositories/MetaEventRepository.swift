import Accounts
import Agents
import Automation
import Domain
import Foundation

/// Events of tenants' own products, and their schemas.
public struct MetaEventRepository: MetaEventStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    // MARK: Events

    public func add(tenant: TenantID, _ events: [(event: MetaEvent, place: UUID)]) async throws {
        guard !events.isEmpty else { return }
        // In one order, so that requests with the same events do not wait for each other in a circle.
        let events = events.sorted { $0.event.id.uuid < $1.event.id.uuid }
        let rows = Bucket(
            rows: events.map { event, place in
                [
                    .uuid(place), .id(event.id), .text(event.type), .json(event.data.text), .time(event.time),
                    .time(event.receivedAt),
                ]
            }, after: 1)
        let places = Bucket(rows: events.map { [.uuid($0.place)] }, after: 1)
        let statements = [
            SQLStatement(
                """
                INSERT INTO meta_events (tenant_id, place, id, type, data, occurred_at, created_at)
                SELECT ?1, n.column1, n.column2, n.column3, n.column4, n.column5, n.column6
                FROM (VALUES \(rows.places)) AS n WHERE n.column1 IS NOT NULL
                ON CONFLICT DO NOTHING
                """,
                [.id(tenant)] + rows.arguments),
            // Those that were stored just now: what was there before has another place.
            SQLStatement(
                """
                INSERT INTO outbox (tenant_id, id, type, data, state, occurred_at, created_at)
                SELECT ?1, m.id, m.type, m.data, 'pending', m.occurred_at, current_micros()
                FROM meta_events m WHERE m.tenant_id = ?1 AND m.place IN (\(places.places)) AND \(OutgoingEvent.isWanted)
                ON CONFLICT (tenant_id, id) DO NOTHING
                """,
                [.id(tenant)] + places.arguments),
        ]
        _ = try await engine.write(Batch(.tenant(tenant), statements, isRepeatable: true))
    }

    public func events(tenant: TenantID, _ filter: MetaEventFilter, page: PageRequest) async throws -> Page<MetaEvent> {
        let select = SQLStatement.page(
            of: "meta_events", columns: "place, id, type, data, occurred_at, created_at", tenant, page,
            where: filter.type.map { [("type", .text($0))] } ?? [], key: "place",
            from: filter.from.map { .lowestVersion7(at: $0) }, to: filter.to.map { .lowestVersion7(at: $0) })
        let rows = try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.map { row in
            let event = MetaEvent(
                id: row.id(1), type: row.text(2), data: row.json(3), time: row.time(4), receivedAt: row.time(5))
            return (place: row.uuid(0), event: event)
        }
        let page = Page(fetched: rows, limit: page.limit) { $0.place }
        return page.map(\.event)
    }

    // MARK: Schemas

    public func schemas(tenant: TenantID) async throws -> [EventSchema] {
        let select = SQLStatement(
            "SELECT type, schema, created_at, updated_at FROM event_schemas WHERE tenant_id = ?1 ORDER BY type", [.id(tenant)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.map { row in
            EventSchema(
                type: row.text(0), schema: try JSONSchema(row.json(1)), createdAt: row.time(2), updatedAt: row.time(3))
        }
    }

    public func put(tenant: TenantID, _ schema: EventSchema, audit: AuditEntry) async throws {
        let full = Problem(
            .invalidRequest, "The tenant has \(EventSchema.maximumPerTenant) schemas already. Delete one that is not needed.")
        let put = SQLStatement(
            """
            INSERT INTO event_schemas (tenant_id, type, schema, created_at, updated_at)
            SELECT ?1, ?2, ?3, ?4, ?5
            WHERE (SELECT count(*) FROM event_schemas WHERE tenant_id = ?1 AND type <> ?2) < ?6
            ON CONFLICT (tenant_id, type) DO UPDATE SET schema = excluded.schema, updated_at = excluded.updated_at
            """,
            [
                .id(tenant), .text(schema.type), .json(schema.schema.json.text), .time(schema.createdAt),
                .time(schema.updatedAt), .int(EventSchema.maximumPerTenant),
            ],
            expect: .rows(1, otherwise: full))
        _ = try await engine.write(Batch(.tenant(tenant), [put, audit.insert]))
    }

    public func delete(tenant: TenantID, schema type: String, audit: AuditEntry) async throws {
        let delete = SQLStatement(
            "DELETE FROM event_schemas WHERE tenant_id = ?1 AND type = ?2", [.id(tenant), .text(type)],
            expect: .rows(1, otherwise: Problem.notFound("schema")))
        _ = try await engine.write(Batch(.tenant(tenant), [delete, audit.insert]))
    }
}
