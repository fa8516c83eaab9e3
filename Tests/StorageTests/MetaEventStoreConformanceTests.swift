import Accounts
import Agents
import Automation
import Domain
import Foundation
import Storage
import TestSupport
import Testing

/// What `MetaEventStore` promises, on every engine.
@Suite("MetaEventStore")
struct MetaEventStoreConformanceTests {
    private static let start = Timestamp(microseconds: 1_800_000_000_000_000)

    /// An event that came so many seconds after the start.
    private func event(
        _ type: String = "order.paid", _ data: JSONValue = ["total": 12], id: EventID? = nil, after seconds: Int = 0
    ) -> MetaEvent {
        let time = Self.start.adding(.seconds(seconds))
        return MetaEvent(
            id: id ?? EventID(Ambient.system.makeID()), type: type, data: data, time: time.adding(.seconds(-3600)),
            receivedAt: time)
    }

    private func add(_ database: TestDatabase, _ tenant: TenantID, _ events: [MetaEvent]) async throws {
        try await database.metaEvents.add(tenant: tenant, events.map { ($0, .version7(at: $0.receivedAt)) })
    }

    private func list(
        _ database: TestDatabase, _ tenant: TenantID, _ filter: MetaEventFilter = MetaEventFilter(), limit: Int = 100
    ) async throws -> [MetaEvent] {
        var found: [MetaEvent] = []
        var cursor: PageCursor?
        repeat {
            let page = try await database.metaEvents.events(
                tenant: tenant, filter, page: PageRequest(limit: limit, cursor: cursor))
            #expect(page.items.count <= limit)
            found += page.items
            cursor = page.next
        } while cursor != nil
        return found
    }

    @Test("of two events with one id the first is stored, also when they come together", arguments: TestEngine.allCases)
    func once(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let first = event(after: 1)
            try await add(database, tenant, [])
            try await add(database, tenant, [first, event("order.refunded", id: first.id, after: 2)])
            let second = event(after: 3)
            try await add(database, tenant, [event("order.paid", ["total": 99], id: first.id, after: 4), second])
            #expect(try await list(database, tenant) == [second, first])
        }
    }

    @Test("events that many send at once are stored and told once each", arguments: TestEngine.allCases)
    func concurrently(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            _ = try await database.addWebhook(tenant)
            let ids = (0..<20).map { _ in EventID(database.ambient.makeID()) }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for sender in 0..<8 {
                    // Each id comes from up to three.
                    let window = ids[(sender * 2)..<(sender * 2 + 6)]
                    let events = window.enumerated().map { event(id: $1, after: sender * 100 + $0) }
                    group.addTask { try await self.add(database, tenant, events) }
                }
                try await group.waitForAll()
            }
            #expect(try await Set(list(database, tenant).map(\.id)) == Set(ids))
            #expect(try await list(database, tenant).count == ids.count)
            let pending = try await database.webhooks.pending(limit: 100)
            #expect(pending.count == ids.count && Set(pending.map(\.event)) == Set(ids))
        }
    }

    @Test("events are listed by arrival, newest first, by type and by when they came", arguments: TestEngine.allCases)
    func filters(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let events = (0..<7).map { event($0 % 2 == 0 ? "a.even" : "a.odd", ["number": .int(Int64($0))], after: $0 * 10) }
            // When they arrived counts, not in which order they were made or stored.
            try await add(database, tenant, events.shuffled())
            func numbers(_ filter: MetaEventFilter, limit: Int = 100) async throws -> [Int64?] {
                try await list(database, tenant, filter, limit: limit).map { $0.data["number"]?.int }
            }
            let time = { (seconds: Int) in Self.start.adding(.seconds(seconds)) }
            #expect(try await list(database, tenant, limit: 3) == events.reversed())
            #expect(try await numbers(MetaEventFilter(type: "a.even"), limit: 3) == [6, 4, 2, 0])
            #expect(try await numbers(MetaEventFilter(type: "a")).isEmpty)
            #expect(try await numbers(MetaEventFilter(from: time(50))) == [6, 5], "from is inside")
            #expect(try await numbers(MetaEventFilter(to: time(20))) == [1, 0], "to is outside")
            #expect(try await numbers(MetaEventFilter(from: time(10), to: time(41)), limit: 2) == [4, 3, 2, 1])
            let narrow = MetaEventFilter(type: "a.odd", from: time(20), to: time(50))
            #expect(try await numbers(narrow, limit: 1) == [3])
        }
    }

    @Test("what is new is told, once, where an enabled webhook is", arguments: TestEngine.allCases)
    func told(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let (told, deaf) = (try await database.makePrincipal().tenant, try await database.makePrincipal().tenant)
            let old = event(after: 0)
            try await add(database, told, [old])
            let webhook = try await database.addWebhook(told)
            _ = try await database.addWebhook(deaf, isEnabled: false)
            try await add(database, deaf, [event()])
            #expect(try await database.webhooks.pending(limit: 10).isEmpty)
            let new = event("order.refunded", ["total": 3, "why": "Zu groß"], after: 1)
            try await add(database, told, [event(id: old.id, after: 2), new])
            try await add(database, told, [new])
            let pending = try await database.webhooks.pending(limit: 10)
            #expect(pending.map(\.event) == [new.id] && pending.map(\.type) == ["order.refunded"])
            #expect(pending.map(\.tenant) == [told])
            let message = try await database.told(told, new.id, to: webhook)
            #expect(message == OutgoingEvent(id: new.id, type: new.type, data: new.data, time: new.time))
            try await add(database, told, [event("order.refunded", ["total": 4], id: new.id, after: 5)])
            #expect(try await database.webhooks.pending(limit: 10).isEmpty, "what was sent on is not told again")
        }
    }

    private func schema(_ type: String, _ json: JSONValue = ["type": "object"], at seconds: Int = 0) throws -> EventSchema {
        let time = Self.start.adding(.seconds(seconds))
        return EventSchema(type: type, schema: try JSONSchema(json), createdAt: time, updatedAt: time)
    }

    private func put(_ database: TestDatabase, _ tenant: TenantID, _ schema: EventSchema) async throws {
        try await database.metaEvents.put(tenant: tenant, schema, audit: .test(.eventSchemaChanged, in: tenant))
    }

    @Test("schemas are listed by type, replaced and deleted, and events outlive theirs", arguments: TestEngine.allCases)
    func schemas(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            for type in ["c.third", "a.first", "b.second"] { try await put(database, tenant, try schema(type)) }
            let list = try await database.metaEvents.schemas(tenant: tenant)
            #expect(try list == ["a.first", "b.second", "c.third"].map { try schema($0) })
            let json: JSONValue = ["type": "object", "properties": ["plan": ["enum": ["free", "pro"]]], "required": ["plan"]]
            try await put(database, tenant, try schema("b.second", json, at: 60))
            let replaced = try await database.metaEvents.schemas(tenant: tenant)[1]
            #expect(replaced.schema.json == json)
            #expect(replaced.createdAt == Self.start && replaced.updatedAt == Self.start.adding(.seconds(60)))
            try await add(database, tenant, [event("b.second")])
            let note = AuditEntry.test(.eventSchemaDeleted, in: tenant)
            try await database.metaEvents.delete(tenant: tenant, schema: "b.second", audit: note)
            #expect(try await database.metaEvents.schemas(tenant: tenant).map(\.type) == ["a.first", "c.third"])
            #expect(try await self.list(database, tenant).count == 1)
            await #expect(throws: Problem.notFound("schema")) {
                try await database.metaEvents.delete(
                    tenant: tenant, schema: "b.second", audit: .test(.eventSchemaDeleted, in: tenant))
            }
            let rows = try await database.audit.entries(
                tenant: tenant, AuditFilter(), page: PageRequest(), reading: .test(.auditRead, in: tenant))
            let actions = rows.items.map(\.action).filter { $0 != .auditRead }
            #expect(actions == [.eventSchemaDeleted] + Array(repeating: .eventSchemaChanged, count: 4))
        }
    }

    @Test("a tenant has so many schemas and no more, and still replaces each", arguments: TestEngine.allCases)
    func limit(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            try await put(database, tenant, try schema("first"))
            let copies = (1..<EventSchema.maximumPerTenant).map { number in
                SQLStatement(
                    """
                    INSERT INTO event_schemas (tenant_id, type, schema, created_at, updated_at)
                    SELECT tenant_id, ?2, schema, created_at, updated_at FROM event_schemas
                    WHERE tenant_id = ?1 AND type = 'first'
                    """,
                    [.id(tenant), .text("type_\(number)")])
            }
            _ = try await database.engine.write(Batch(.tenant(tenant), copies))
            let full = await #expect(throws: Problem.self) { try await put(database, tenant, try schema("last")) }
            #expect(full?.code == .invalidRequest)
            try await put(database, tenant, try schema("type_7", ["type": "array"]))
            let schemas = try await database.metaEvents.schemas(tenant: tenant)
            #expect(schemas.count == EventSchema.maximumPerTenant)
            #expect(schemas.first { $0.type == "type_7" }?.schema.json == ["type": "array"])
            try await put(database, try await database.makePrincipal().tenant, try schema("last"))
        }
    }

    @Test("nothing of one tenant is seen or changed from another, and both may use one id", arguments: TestEngine.allCases)
    func tenancy(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let (owner, there) = (try await database.makePrincipal().tenant, try await database.makePrincipal().tenant)
            let event = event()
            try await put(database, owner, try schema("order.paid"))
            try await add(database, owner, [event])
            #expect(try await list(database, there).isEmpty)
            #expect(try await database.metaEvents.schemas(tenant: there).isEmpty)
            await #expect(throws: Problem.notFound("schema")) {
                try await database.metaEvents.delete(
                    tenant: there, schema: "order.paid", audit: .test(.eventSchemaDeleted, in: there))
            }
            try await put(database, there, try schema("order.paid", ["type": "array"]))
            let theirs = self.event("order.paid", ["total": 99], id: event.id)
            try await add(database, there, [theirs])
            #expect(try await list(database, there) == [theirs])
            #expect(try await list(database, owner) == [event])
            #expect(try await database.metaEvents.schemas(tenant: owner) == [try schema("order.paid")])
        }
    }
}
