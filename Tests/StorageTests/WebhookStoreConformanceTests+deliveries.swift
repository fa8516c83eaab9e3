import Accounts
import Automation
import Domain
import Foundation
import Queue
import Storage
import TestSupport
import Testing

/// One event on its way to one webhook.
private struct Sending {
    let tenant: TenantID
    let webhook: Webhook
    var delivery: WebhookDelivery
    let lease: JobLease

    /// Stores an event with its delivery, and claims its job.
    static func make(_ database: TestDatabase, _ tenant: TenantID, to webhook: Webhook) async throws -> Sending {
        let event = OutgoingEvent(
            id: EventID(database.ambient.makeID()), type: "order.paid", data: ["total": 12], time: database.ambient.now())
        let delivery = delivery(of: event.id, to: webhook)
        try await database.webhooks.send(
            tenant: tenant, event, delivery: delivery, job: job(of: delivery), audit: .test(.webhookReplayed, in: tenant))
        let leases = try await database.jobs.claim(WebhookHandler.kind, limit: 100)
        let lease = try #require(leases.first { $0.subject == delivery.id.uuid })
        return Sending(tenant: tenant, webhook: webhook, delivery: delivery, lease: lease)
    }

    static func make(_ database: TestDatabase) async throws -> Sending {
        let tenant = try await database.makePrincipal().tenant
        return try await make(database, tenant, to: try await database.addWebhook(tenant))
    }

    static func delivery(of event: EventID, to webhook: Webhook) -> WebhookDelivery {
        WebhookDelivery(
            id: DeliveryID(Ambient.system.makeID()), webhook: webhook.id, event: event, type: "order.paid",
            createdAt: webhook.createdAt)
    }

    static func job(of delivery: WebhookDelivery) -> NewJob {
        NewJob(
            id: JobID(Ambient.system.makeID()), kind: WebhookHandler.kind, subject: delivery.id.uuid, maximumAttempts: 18)
    }

    static func attempt(_ status: Int? = 204, _ error: String? = nil, _ response: String? = nil) -> WebhookDelivery.Attempt {
        .init(
            status: status, error: error, response: response, duration: .milliseconds(12), time: Ambient.system.now())
    }

    /// The delivery as it is stored now.
    func now(_ database: TestDatabase) async throws -> WebhookDelivery {
        try #require(try await database.webhooks.delivery(tenant: tenant, delivery.id)).delivery
    }

    func settle(
        _ database: TestDatabase, as state: WebhookDelivery.State = .delivered,
        _ attempt: WebhookDelivery.Attempt = Self.attempt(), disabling reason: String? = nil
    ) async throws {
        try await database.webhooks.settle(lease, as: state, attempt, disabling: reason)
    }
}

extension WebhookStoreConformanceTests {
    /// Two pending events of the tenant, as dispatchers see them.
    private func pending(_ database: TestDatabase, _ principal: Principal) async throws -> [EventID] {
        for _ in 0..<2 { _ = try await database.endRun(principal) }
        return try await database.webhooks.pending(limit: 10).map(\.event)
    }

    @Test("of many who send the same events on at once one does, with deliveries and jobs", arguments: TestEngine.allCases)
    func concurrentSending(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let tenant = principal.tenant
            let webhook = try await database.addWebhook(tenant)
            let events = try await pending(database, principal)
            #expect(events.count == 2)
            let sent = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<6 {
                    let deliveries = events.map { Sending.delivery(of: $0, to: webhook) }
                    group.addTask {
                        do {
                            try await database.webhooks.send(
                                tenant: tenant, events, deliveries: deliveries, jobs: deliveries.map { Sending.job(of: $0) })
                            return true
                        } catch is EventMoved {
                            return false
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(sent.count == 6 && sent.count { $0 } == 1)
            #expect(try await database.webhooks.pending(limit: 10).isEmpty)
            let deliveries = try await database.webhooks.deliveries(
                tenant: tenant, of: webhook.id, state: nil, page: PageRequest()
            ).items
            #expect(Set(deliveries.map(\.event)) == Set(events) && deliveries.count == 2)
            #expect(deliveries.allSatisfy { $0.type == "run.succeeded" && $0.state == .pending && $0.attempts == 0 })
            let leases = try await database.jobs.claim(WebhookHandler.kind, limit: 20)
            #expect(Set(leases.map(\.subject)) == Set(deliveries.map(\.id.uuid)) && leases.count == 2)
        }
    }

    @Test("events stay pending when a webhook is gone, or one of them was sent already", arguments: TestEngine.allCases)
    func refusedSending(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let tenant = principal.tenant
            let (gone, webhook) = (try await database.addWebhook(tenant), try await database.addWebhook(tenant))
            let events = try await pending(database, principal)
            try await database.webhooks.delete(tenant: tenant, gone.id, audit: .test(.webhookDeleted, in: tenant))
            let both = [webhook, gone].map { Sending.delivery(of: events[0], to: $0) }
            await #expect(throws: StorageError.foreignKeyViolation) {
                try await database.webhooks.send(
                    tenant: tenant, [events[0]], deliveries: both, jobs: both.map { Sending.job(of: $0) })
            }
            #expect(try await database.webhooks.pending(limit: 10).map(\.event) == events)
            try await database.webhooks.send(tenant: tenant, [events[0]], deliveries: [], jobs: [])
            let one = Sending.delivery(of: events[1], to: webhook)
            await #expect(throws: EventMoved.self) {
                try await database.webhooks.send(
                    tenant: tenant, [events[1], events[0]], deliveries: [one], jobs: [Sending.job(of: one)])
            }
            #expect(try await database.webhooks.pending(limit: 10).map(\.event) == [events[1]])
            #expect(try await database.jobs.claim(WebhookHandler.kind).isEmpty)
        }
    }

    @Test("deliveries are listed newest first, in pages, and by what became of them", arguments: TestEngine.allCases)
    func listing(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let (webhook, other) = (try await database.addWebhook(tenant), try await database.addWebhook(tenant))
            var sendings: [Sending] = []
            for _ in 0..<5 { sendings.append(try await Sending.make(database, tenant, to: webhook)) }
            _ = try await Sending.make(database, tenant, to: other)
            try await sendings[0].settle(database)
            try await sendings[3].settle(database)
            try await sendings[1].settle(database, as: .failed, Sending.attempt(500, "It broke."))
            func list(_ state: WebhookDelivery.State?, limit: Int = 20) async throws -> [DeliveryID] {
                var found: [DeliveryID] = []
                var cursor: PageCursor?
                repeat {
                    let page = try await database.webhooks.deliveries(
                        tenant: tenant, of: webhook.id, state: state, page: PageRequest(limit: limit, cursor: cursor))
                    #expect(page.items.count <= limit)
                    found += page.items.map(\.id)
                    cursor = page.next
                } while cursor != nil
                return found
            }
            let ids = sendings.map(\.delivery.id)
            #expect(try await list(nil, limit: 2) == ids.reversed())
            #expect(try await list(.delivered, limit: 1) == [ids[3], ids[0]])
            #expect(try await list(.failed) == [ids[1]])
            #expect(try await list(.pending, limit: 1) == [ids[4], ids[2]])
            let found = try #require(try await database.webhooks.delivery(tenant: tenant, ids[4]))
            #expect(found.delivery == sendings[4].delivery)
            #expect(found.event.id == sendings[4].delivery.event && found.event.data == ["total": 12])
        }
    }

    @Test("what was given up or delivered is made once more, what is being tried is not", arguments: TestEngine.allCases)
    func replay(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let sending = try await Sending.make(database)
            let (tenant, id) = (sending.tenant, sending.delivery.id)
            func replay() async throws {
                try await database.webhooks.replay(
                    tenant: tenant, id, job: Sending.job(of: sending.delivery), audit: .test(.webhookReplayed, in: tenant))
            }
            let early = await #expect(throws: Problem.self) { try await replay() }
            #expect(early?.code == .deliveryPending)
            #expect(try await database.jobs.claim(WebhookHandler.kind).isEmpty)
            let first = Sending.attempt(200, nil, "thanks")
            try await sending.settle(database, first)
            try await replay()
            let again = try await sending.now(database)
            #expect(again.state == .pending && again.deliveredAt == nil && again.attempts == 1)
            #expect(again.lastAttempt == first)
            let lease = try #require(try await database.jobs.claim(WebhookHandler.kind).first)
            #expect(lease.subject == id.uuid && lease.job != sending.lease.job)
            try await database.webhooks.settle(lease, as: .failed, Sending.attempt(500, "It broke."), disabling: nil)
            try await replay()
            #expect(try await sending.now(database).state == .pending)
            let rows = try await database.audit.entries(
                tenant: tenant, AuditFilter(action: .webhookReplayed), page: PageRequest(),
                reading: .test(.auditRead, in: tenant))
            #expect(rows.items.count == 3, "the sending and two replays; what is refused is not noted")
        }
    }

    @Test("tries are noted and end under the lease, and not under one that has passed on", arguments: TestEngine.allCases)
    func fences(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let sending = try await Sending.make(database)
            let first = Sending.attempt(503, "The other side answered 503.", "later")
            try await database.webhooks.note(sending.lease, first)
            var expected = WebhookDelivery(
                id: sending.delivery.id, webhook: sending.webhook.id, event: sending.delivery.event, type: "order.paid",
                attempts: 1, lastAttempt: first, createdAt: sending.delivery.createdAt)
            #expect(try await sending.now(database) == expected)
            #expect(try await database.jobs.rescue(all: true) == 1)
            let lease = try #require(try await database.jobs.claim(WebhookHandler.kind).first)
            await #expect(throws: FenceLost.self) { try await database.webhooks.note(sending.lease, Sending.attempt(500)) }
            await #expect(throws: FenceLost.self) { try await sending.settle(database, disabling: "gone") }
            #expect(try await sending.now(database) == expected)
            #expect(try await database.webhooks.enabled(tenant: sending.tenant) == [sending.webhook])
            let last = Sending.attempt()
            try await database.webhooks.settle(lease, as: .delivered, last, disabling: nil)
            expected = WebhookDelivery(
                id: expected.id, webhook: expected.webhook, event: expected.event, type: expected.type, state: .delivered,
                attempts: 2, lastAttempt: last, createdAt: expected.createdAt, deliveredAt: last.time)
            #expect(try await sending.now(database) == expected)
            #expect(try await database.jobs.depths().isEmpty)
            await #expect(throws: FenceLost.self, "the job is done") {
                try await database.webhooks.settle(lease, as: .failed, Sending.attempt(500), disabling: nil)
            }
            #expect(try await sending.now(database) == expected)
        }
    }

    @Test("only a delivery that is pending can fail for good", arguments: TestEngine.allCases)
    func failing(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let sending = try await Sending.make(database)
            let attempt = Sending.attempt(503, "The other side answered 503.")
            try await database.webhooks.note(sending.lease, attempt)
            try await database.webhooks.fail(tenant: sending.tenant, sending.delivery.id, error: "given up")
            let failed = try await sending.now(database)
            #expect(failed.state == .failed && failed.lastAttempt == attempt, "what the other side said says more")
            await #expect(throws: FenceLost.self) { try await sending.settle(database) }
            let delivered = try await Sending.make(database, sending.tenant, to: sending.webhook)
            try await delivered.settle(database)
            try await database.webhooks.fail(tenant: sending.tenant, delivered.delivery.id, error: "given up")
            #expect(try await delivered.now(database).state == .delivered)
        }
    }

    @Test("the end of a delivery disables its webhook, and no other", arguments: TestEngine.allCases)
    func disabling(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let sending = try await Sending.make(database)
            let tenant = sending.tenant
            let other = try await database.addWebhook(tenant)
            let second = try await Sending.make(database, tenant, to: sending.webhook)
            let attempt = Sending.attempt(410, "The other side answered 410.")
            try await sending.settle(database, as: .failed, attempt, disabling: "It is gone.")
            let disabled = try #require(try await database.webhooks.webhook(tenant: tenant, sending.webhook.id))
            #expect(disabled.disabledAt == attempt.time && disabled.disabledReason == "It is gone.")
            #expect(try await database.webhooks.enabled(tenant: tenant) == [other])
            try await second.settle(database, as: .failed, Sending.attempt(410), disabling: "It is gone again.")
            #expect(try await database.webhooks.webhook(tenant: tenant, sending.webhook.id) == disabled)
        }
    }

    @Test("with a webhook its deliveries go, and those of others stay", arguments: TestEngine.allCases)
    func deleting(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let sending = try await Sending.make(database)
            let tenant = sending.tenant
            let kept = try await Sending.make(database, tenant, to: try await database.addWebhook(tenant))
            try await database.webhooks.delete(tenant: tenant, sending.webhook.id, audit: .test(.webhookDeleted, in: tenant))
            #expect(try await database.webhooks.webhook(tenant: tenant, sending.webhook.id) == nil)
            #expect(try await database.webhooks.delivery(tenant: tenant, sending.delivery.id) == nil)
            #expect(try await kept.now(database) == kept.delivery)
            await #expect(throws: FenceLost.self) { try await sending.settle(database) }
        }
    }

    @Test("nothing of one tenant is seen, changed or sent from another", arguments: TestEngine.allCases)
    func tenancy(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let owner = try await database.makePrincipal()
            let there = try await database.makePrincipal().tenant
            let theirs = try await database.addWebhook(there)
            let sending = try await Sending.make(database, owner.tenant, to: try await database.addWebhook(owner.tenant))
            let (store, webhook, id) = (database.webhooks, sending.webhook, sending.delivery.id)
            let event = try #require(try await pending(database, owner).first)
            #expect(try await store.webhook(tenant: there, webhook.id) == nil)
            #expect(try await store.webhooks(tenant: there, page: PageRequest()).items == [theirs])
            #expect(try await store.enabled(tenant: there) == [theirs])
            #expect(try await store.delivery(tenant: there, id) == nil)
            let list = try await store.deliveries(tenant: there, of: webhook.id, state: nil, page: PageRequest())
            #expect(list.items.isEmpty)
            await #expect(throws: WebhookMoved.self) {
                try await store.change(tenant: there, webhook, audit: .test(.webhookChanged, in: there))
            }
            await #expect(throws: Problem.notFound("webhook")) {
                try await store.delete(tenant: there, webhook.id, audit: .test(.webhookDeleted, in: there))
            }
            await #expect(throws: EventMoved.self) {
                try await store.send(
                    tenant: there, [event], deliveries: [Sending.delivery(of: event, to: theirs)], jobs: [])
            }
            await #expect(throws: Problem.notFound("webhook")) {
                let own = OutgoingEvent(id: EventID(UUID()), type: "webhook.test", data: [:], time: webhook.createdAt)
                let delivery = Sending.delivery(of: own.id, to: webhook)
                try await store.send(
                    tenant: there, own, delivery: delivery, job: Sending.job(of: delivery),
                    audit: .test(.webhookReplayed, in: there))
            }
            try await store.fail(tenant: there, id, error: "theirs")
            let job = sending.lease
            let forged = JobLease(
                job: job.job, tenant: there, kind: job.kind, subject: job.subject, attempt: 1, maximumAttempts: 1,
                token: job.token)
            await #expect(throws: FenceLost.self) { try await store.note(forged, Sending.attempt(500)) }
            await #expect(throws: FenceLost.self) {
                try await store.settle(forged, as: .failed, Sending.attempt(500), disabling: "theirs")
            }
            #expect(try await sending.now(database) == sending.delivery)
            #expect(try await store.webhook(tenant: owner.tenant, webhook.id) == webhook)
        }
    }
}
