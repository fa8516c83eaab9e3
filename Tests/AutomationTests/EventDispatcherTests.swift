import Accounts
import Automation
import Domain
import Foundation
import Logging
import Queue
import Storage
import TestSupport
import Testing

@Suite("EventDispatcher")
struct EventDispatcherTests {
    private func makeDispatcher(_ database: TestDatabase, available: Signal = Signal()) -> EventDispatcher {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return EventDispatcher(store: database.webhooks, available: available, ambient: database.ambient, logger: logger)
    }

    private func addWebhook(
        _ database: TestDatabase, _ tenant: TenantID, _ events: [String], isEnabled: Bool = true
    ) async throws -> Webhook {
        let now = database.ambient.now()
        let webhook = Webhook(
            id: WebhookID(database.ambient.makeID()), url: "https://shop.example.com/", description: nil, events: events,
            sealed: "sealed", disabledAt: isEnabled ? nil : now, createdAt: now, updatedAt: now)
        try await database.webhooks.add(tenant: tenant, webhook, audit: .test(.webhookCreated, in: tenant))
        return webhook
    }

    /// Has events of these types happen in the tenant.
    private func happen(_ database: TestDatabase, _ tenant: TenantID, _ types: [String]) async throws {
        let (ambient, now) = (database.ambient, database.ambient.now())
        let events = types.map { type in
            MetaEvent(id: EventID(ambient.makeID()), type: type, data: [:], time: now, receivedAt: now)
        }
        for start in stride(from: 0, to: events.count, by: MetaEvent.maximumTogether) {
            let together = events[start...].prefix(MetaEvent.maximumTogether)
            try await database.metaEvents.add(tenant: tenant, together.map { ($0, ambient.makeID()) })
        }
    }

    /// The types of which a webhook has deliveries, in order.
    private func types(_ database: TestDatabase, _ tenant: TenantID, to webhook: Webhook) async throws -> [String] {
        let page = try await database.webhooks.deliveries(
            tenant: tenant, of: webhook.id, state: .pending, page: PageRequest(limit: 100))
        return page.items.map(\.type).sorted()
    }

    @Test("events go to the webhooks that want them, and those that nobody wants to none")
    func wanted() async throws {
        try await TestDatabase.with { database in
            let tenant = try await database.makePrincipal().tenant
            let runs = try await addWebhook(database, tenant, ["run.*"])
            let few = try await addWebhook(database, tenant, ["run.failed", "document.indexed"])
            let all = try await addWebhook(database, tenant, ["*"])
            let disabled = try await addWebhook(database, tenant, ["*"], isEnabled: false)
            let happened = ["document.indexed", "order.paid", "run.failed", "run.succeeded", "runner.started"]
            try await happen(database, tenant, happened)
            let available = Signal()
            let generation = available.generation
            #expect(try await makeDispatcher(database, available: available).dispatch() == 9)
            #expect(available.generation > generation, "the workers are told")
            #expect(try await types(database, tenant, to: runs) == ["run.failed", "run.succeeded"])
            #expect(try await types(database, tenant, to: few) == ["document.indexed", "run.failed"])
            #expect(try await types(database, tenant, to: all) == happened)
            #expect(try await types(database, tenant, to: disabled).isEmpty)
            #expect(try await database.jobs.claim(WebhookHandler.kind, limit: 20).count == 9)
            // Nobody wants it any more: it does not stay pending.
            for webhook in [runs, few, all] {
                try await database.webhooks.delete(tenant: tenant, webhook.id, audit: .test(.webhookDeleted, in: tenant))
            }
            _ = try await addWebhook(database, tenant, ["order.refunded"])
            try await happen(database, tenant, ["order.paid"])
            #expect(try await makeDispatcher(database).dispatch() == 0)
            #expect(try await database.webhooks.pending(limit: 1).isEmpty)
        }
    }

    @Test("several that look at once make one delivery of each event", arguments: TestEngine.allCases)
    func concurrently(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            var webhooks: [(tenant: TenantID, webhook: Webhook)] = []
            for _ in 0..<3 {
                let tenant = try await database.makePrincipal().tenant
                for _ in 0..<2 { webhooks.append((tenant, try await addWebhook(database, tenant, ["*"]))) }
                try await happen(database, tenant, ["a.first", "b.second", "c.third", "d.fourth"])
            }
            let dispatcher = makeDispatcher(database)
            let made = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<6 { group.addTask { try await dispatcher.dispatch() } }
                return try await group.reduce(0, +)
            }
            #expect(made == 24)
            for (tenant, webhook) in webhooks {
                let types = try await types(database, tenant, to: webhook)
                #expect(types == ["a.first", "b.second", "c.third", "d.fourth"])
            }
            let leases = try await database.jobs.claim(WebhookHandler.kind, limit: 100)
            #expect(leases.count == 24 && Set(leases.map(\.subject)).count == 24)
            #expect(try await database.webhooks.pending(limit: 1).isEmpty)
        }
    }

    @Test("a tenant whose events cannot be sent on keeps no other from it")
    func failing() async throws {
        try await TestDatabase.with { database in
            let (broken, tenant) = (try await database.makePrincipal().tenant, try await database.makePrincipal().tenant)
            // More than are looked at together.
            for (tenant, count) in [(broken, 600), (tenant, 1)] {
                _ = try await addWebhook(database, tenant, ["*"])
                try await happen(database, tenant, Array(repeating: "order.paid", count: count))
            }
            let id = "\(broken)".filter { $0 != "-" }
            let trigger = SQLStatement(
                """
                CREATE TRIGGER broken BEFORE INSERT ON webhook_deliveries WHEN NEW.tenant_id = x'\(id)'
                BEGIN SELECT RAISE(ABORT, 'the disk is broken here'); END
                """)
            _ = try await database.engine.write(Batch(.system, [trigger]))
            let dispatcher = makeDispatcher(database)
            #expect(try await dispatcher.dispatch() == 1)
            #expect(try await database.jobs.claim(WebhookHandler.kind).map(\.tenant) == [tenant])
            let pending = try await database.webhooks.pending(limit: 1000)
            #expect(pending.count == 600 && pending.allSatisfy { $0.tenant == broken }, "it is tried again")
            _ = try await database.engine.write(Batch(.system, [SQLStatement("DROP TRIGGER broken")]))
            #expect(try await dispatcher.dispatch() == 600)
            #expect(try await database.webhooks.pending(limit: 10).isEmpty)
        }
    }

    @Test("more events than are looked at together are all sent on")
    func many() async throws {
        try await TestDatabase.with { database in
            let tenant = try await database.makePrincipal().tenant
            _ = try await addWebhook(database, tenant, ["order.*"])
            try await happen(database, tenant, Array(repeating: "order.paid", count: 1100))
            #expect(try await makeDispatcher(database).dispatch() == 1100)
            #expect(try await database.webhooks.pending(limit: 1).isEmpty)
        }
    }
}

@Suite("Event types")
struct EventTypeTests {
    @Test(
        "a pattern holds a type, all that begin with its words, or all",
        arguments: [
            ("*", "run.succeeded", true), ("run.succeeded", "run.succeeded", true), ("run.*", "run.succeeded", true),
            ("run.*", "run.step.failed", true), ("run.step.*", "run.step.failed", true), ("run.*", "run", false),
            ("run.*", "runner.started", false), ("run", "run.succeeded", false),
            ("run.succeeded", "run.succeeded.twice", false), ("run.step.*", "run.succeeded", false),
            ("order.*", "run.succeeded", false),
        ])
    func matches(pattern: String, type: String, isHeld: Bool) {
        #expect(EventType.matches(pattern, type) == isHeld)
    }

    @Test("a type is words in lower case, divided by dots")
    func types() {
        for type in ["a", "order.paid", "a1.b_2.c3", String(repeating: "a", count: 100)] {
            #expect(EventType.isValid(type) && EventType.isPattern(type), "\(type)")
        }
        let wrong = [
            "", ".", "a.", ".a", "a..b", "Order.paid", "order paid", "1a", "_a", "a.1b", "a-b", "a/b", "a.b*", "ä",
            "a.\u{661}", "a\u{301}", String(repeating: "a", count: 101),
        ]
        for type in wrong { #expect(!EventType.isValid(type) && !EventType.isPattern(type), "\(type)") }
    }

    @Test("a pattern is a type, words and a star, or a star")
    func patterns() {
        for pattern in ["*", "run.*", "order.item.*"] {
            #expect(EventType.isPattern(pattern) && !EventType.isValid(pattern), "\(pattern)")
        }
        for pattern in ["**", ".*", "*.paid", "run.*.failed", "run*", "run.**", "Run.*", "run.* "] {
            #expect(!EventType.isPattern(pattern), "\(pattern)")
        }
    }

    @Test("the platform's own types are nobody else's")
    func reserved() {
        for type in ["run.succeeded", "run", "document.indexed", "schedule.x", "webhook.test"] {
            #expect(EventType.isReserved(type), "\(type)")
        }
        for type in ["runner.started", "order.run", "documents.x"] { #expect(!EventType.isReserved(type), "\(type)") }
    }
}
