import Accounts
import Agents
import Automation
import Domain
import Foundation
import Knowledge
import Queue
import Storage
import TestSupport
import Testing

/// What `WebhookStore` promises, on every engine. `WebhookStoreConformanceTests+deliveries.swift` has what it says of
/// deliveries.
@Suite("WebhookStore")
struct WebhookStoreConformanceTests {
    // MARK: Webhooks

    @Test("a webhook is read as it was stored, and pages list every one once, newest first", arguments: TestEngine.allCases)
    func reading(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            var added: [Webhook] = []
            for isEnabled in [true, false, true] {
                added.append(try await database.addWebhook(tenant, events: ["run.*", "order.paid"], isEnabled: isEnabled))
            }
            for webhook in added { #expect(try await database.webhooks.webhook(tenant: tenant, webhook.id) == webhook) }
            let first = try await database.webhooks.webhooks(tenant: tenant, page: PageRequest(limit: 2))
            let second = try await database.webhooks.webhooks(tenant: tenant, page: PageRequest(limit: 2, cursor: first.next))
            #expect(first.items + second.items == added.reversed())
            #expect(first.items.count == 2 && second.next == nil)
            #expect(try await database.webhooks.enabled(tenant: tenant) == [added[0], added[2]])
        }
    }

    @Test("a tenant has so many webhooks and no more, whatever others have", arguments: TestEngine.allCases)
    func limit(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            for _ in 0..<Webhook.maximumPerTenant { _ = try await database.addWebhook(tenant) }
            let full = await #expect(throws: Problem.self) { try await database.addWebhook(tenant) }
            #expect(full?.code == .invalidRequest)
            _ = try await database.addWebhook(try await database.makePrincipal().tenant)
            let all = try await database.webhooks.enabled(tenant: tenant)
            #expect(all.count == Webhook.maximumPerTenant)
            try await database.webhooks.delete(tenant: tenant, all[0].id, audit: .test(.webhookDeleted, in: tenant))
            _ = try await database.addWebhook(tenant)
        }
    }

    @Test("every change of a webhook is stored, and noted with it", arguments: TestEngine.allCases)
    func change(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            var webhook = try await database.addWebhook(tenant)
            let now = webhook.createdAt.adding(.seconds(1))
            (webhook.url, webhook.description, webhook.events) = ("https://other.example.com/", nil, ["a.b"])
            (webhook.sealed, webhook.previousSealed, webhook.previousUntil) = ("new", "old", now.adding(.seconds(60)))
            (webhook.disabledAt, webhook.disabledReason, webhook.updatedAt) = (now, "gone", now)
            let note = AuditEntry.test(.webhookChanged, in: tenant)
            try await database.webhooks.change(tenant: tenant, webhook, audit: note)
            // A change that was decided on before this one is none.
            await #expect(throws: WebhookMoved.self) {
                try await database.webhooks.change(tenant: tenant, webhook, audit: .test(.webhookChanged, in: tenant))
            }
            webhook.version += 1
            #expect(try await database.webhooks.webhook(tenant: tenant, webhook.id) == webhook)
            try await database.webhooks.delete(tenant: tenant, webhook.id, audit: .test(.webhookDeleted, in: tenant))
            await #expect(throws: WebhookMoved.self) {
                try await database.webhooks.change(tenant: tenant, webhook, audit: .test(.webhookChanged, in: tenant))
            }
            await #expect(throws: Problem.notFound("webhook")) {
                try await database.webhooks.delete(tenant: tenant, webhook.id, audit: .test(.webhookDeleted, in: tenant))
            }
            let rows = try await database.audit.entries(
                tenant: tenant, AuditFilter(), page: PageRequest(limit: 100), reading: .test(.auditRead, in: tenant))
            let actions = rows.items.map(\.action).filter { $0 != .auditRead }
            #expect(actions == [.webhookDeleted, .webhookChanged, .webhookCreated], "what is refused is not noted")
        }
    }

    @Test("the secrets of all tenants are sealed anew, all or none", arguments: TestEngine.allCases)
    func reseal(engine: TestEngine) async throws {
        struct Unknown: Error {}
        try await TestDatabase.with(engine) { database in
            #expect(try await database.webhooks.reseal { sealed, _ in sealed } == 0)
            let (one, other) = (try await database.makePrincipal().tenant, try await database.makePrincipal().tenant)
            let plain = try await database.addWebhook(one)
            var rotated = try await database.addWebhook(other, isEnabled: false)
            (rotated.previousSealed, rotated.previousUntil) = ("before", rotated.createdAt)
            try await database.webhooks.change(tenant: other, rotated, audit: .test(.webhookSecretRotated, in: other))
            await #expect(throws: Unknown.self) {
                try await database.webhooks.reseal { sealed, id in
                    guard id == plain.id else { throw Unknown() }
                    return "half " + sealed
                }
            }
            #expect(try await database.webhooks.webhook(tenant: one, plain.id) == plain)
            let count = try await database.webhooks.reseal { sealed, id in "\(id): \(sealed)" }
            #expect(count == 2)
            let first = try #require(try await database.webhooks.webhook(tenant: one, plain.id))
            #expect(first.sealed == "\(plain.id): \(plain.sealed)" && first.previousSealed == nil)
            let second = try #require(try await database.webhooks.webhook(tenant: other, rotated.id))
            #expect(second.sealed == "\(rotated.id): \(rotated.sealed)")
            #expect(second.previousSealed == "\(rotated.id): before")
        }
    }

    // MARK: Events

    @Test("what happens is an event where an enabled webhook is, and nowhere else", arguments: TestEngine.allCases)
    func events(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let told = try await database.makePrincipal()
            let deaf = try await database.makePrincipal()
            let alone = try await database.makePrincipal()
            _ = try await database.addWebhook(told.tenant)
            _ = try await database.addWebhook(deaf.tenant, isEnabled: false)
            for principal in [alone, deaf, told] {
                _ = try await database.endRun(principal)
                _ = try await database.index(principal.tenant)
                _ = try await database.index(principal.tenant, failure: "unreadable")
            }
            let pending = try await database.webhooks.pending(limit: 10)
            #expect(pending.map(\.type) == ["run.succeeded", "document.indexed", "document.failed"], "the oldest first")
            #expect(pending.allSatisfy { $0.tenant == told.tenant })
            #expect(try await database.webhooks.pending(limit: 2).map(\.event) == pending.prefix(2).map(\.event))
        }
    }

    @Test("an event of a run tells which one, and what became of it", arguments: TestEngine.allCases)
    func runEvents(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let webhook = try await database.addWebhook(principal.tenant)
            for status in RunStatus.allCases where status.isAtRest {
                let failure: Run.Failure? = status == .failed ? .init(code: "step_limit", message: "Too long.") : nil
                let run = try await database.endRun(principal, as: status, failure)
                let event = try #require(try await database.webhooks.pending(limit: 2).first)
                #expect(event.type == "run.\(status.rawValue)")
                let told = try await database.told(principal.tenant, event.event, to: webhook)
                let error: JSONValue = failure == nil ? nil : ["code": "step_limit", "message": "Too long."]
                #expect(
                    told.data == ["runId": .string("\(run.id)"), "status": .string(status.rawValue), "error": error])
                #expect(told.time == TestDatabase.endOfRuns)
            }
        }
    }

    @Test("an event of a document tells which one, and of one that is gone there is none", arguments: TestEngine.allCases)
    func documentEvents(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let webhook = try await database.addWebhook(tenant)
            for failure in [nil, "unreadable"] {
                let document = try await database.index(tenant, failure: failure)
                let event = try #require(try await database.webhooks.pending(limit: 2).first)
                let told = try await database.told(tenant, event.event, to: webhook)
                #expect(told.data == ["documentId": .string("\(document)"), "error": JSONValue(failure)])
                #expect(try await database.knowledge.delete(tenant: tenant, document))
                try await database.knowledge.finishIndexing(tenant: tenant, document, chunks: [])
                try await database.knowledge.failIndexing(tenant: tenant, document, reason: "late")
                #expect(try await database.webhooks.pending(limit: 2).isEmpty)
            }
        }
    }

    @Test("what is refused or only begins is no event", arguments: TestEngine.allCases)
    func refusedCommits(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            _ = try await database.addWebhook(principal.tenant)
            let run = try await database.runs.create(tenant: principal.tenant, database.newRun(principal))
            let lease = try #require(try await database.jobs.claim(RunExecutor.kind).first)
            func commit(_ authority: RunCommit.Authority, _ effects: [RunEffect]) -> RunCommit {
                RunCommit(
                    tenant: run.tenant, run: run.id, authority: authority, events: [], effects: effects, time: run.createdAt)
            }
            _ = try await database.runs.commit(commit(.taking(token: 0, lastSeq: 1, lease: lease), [.status(.running)]))
            await #expect(throws: FenceLost.self, "under an old token") {
                try await database.runs.commit(commit(.holding(token: 0, lastSeq: 1), [.status(.succeeded)]))
            }
            let missing = RunEffect.toolCallMoved(id: "none", from: .requested, to: .dispatching, attempt: 1, result: nil)
            await #expect(throws: FenceLost.self, "a later part does not hold") {
                try await database.runs.commit(commit(.holding(token: 1, lastSeq: 1), [.status(.succeeded), missing]))
            }
            #expect(try await database.webhooks.pending(limit: 10).isEmpty)
            _ = try await database.runs.commit(commit(.holding(token: 1, lastSeq: 1), [.status(.succeeded)]))
            #expect(try await database.webhooks.pending(limit: 10).map(\.type) == ["run.succeeded"])
        }
    }
}

// MARK: What there is to tell

extension TestDatabase {
    /// When runs end here.
    static let endOfRuns = Timestamp(microseconds: 1_800_000_000_000_000)

    func addWebhook(_ tenant: TenantID, events: [String] = ["*"], isEnabled: Bool = true) async throws -> Webhook {
        let now = ambient.now()
        let webhook = Webhook(
            id: WebhookID(ambient.makeID()), url: "https://shop.example.com/hook", description: "The shop", events: events,
            sealed: "sealed", disabledAt: isEnabled ? nil : now, createdAt: now, updatedAt: now)
        try await webhooks.add(tenant: tenant, webhook, audit: .test(.webhookCreated, in: tenant))
        return webhook
    }

    /// A run that came to rest.
    func endRun(_ principal: Principal, as status: RunStatus = .succeeded, _ failure: Run.Failure? = nil) async throws -> Run {
        let run = try await runs.create(tenant: principal.tenant, newRun(principal))
        let lease = try #require(try await jobs.claim(RunExecutor.kind).first { $0.subject == run.id.uuid })
        _ = try await runs.commit(
            RunCommit(
                tenant: principal.tenant, run: run.id, authority: .taking(token: 0, lastSeq: 1, lease: lease), events: [],
                effects: [.status(.running), .status(status, failure: failure), .jobCompleted(lease)], time: Self.endOfRuns))
        return run
    }

    /// A document that was indexed, or could not be.
    func index(_ tenant: TenantID, failure: String? = nil) async throws -> DocumentID {
        let id = DocumentID(ambient.makeID())
        try await knowledge.add(
            tenant: tenant, NewDocument(id: id, title: "Handbook", mediaType: .plain, content: Array("Text".utf8)))
        if let failure {
            try await knowledge.failIndexing(tenant: tenant, id, reason: failure)
        } else {
            try await knowledge.finishIndexing(tenant: tenant, id, chunks: [])
        }
        return id
    }

    /// Sends a pending event on to one webhook; answers what it says.
    func told(_ tenant: TenantID, _ event: EventID, to webhook: Webhook) async throws -> OutgoingEvent {
        let delivery = WebhookDelivery(
            id: DeliveryID(ambient.makeID()), webhook: webhook.id, event: event, type: "", createdAt: ambient.now())
        try await webhooks.send(tenant: tenant, [event], deliveries: [delivery], jobs: [])
        return try #require(try await webhooks.delivery(tenant: tenant, delivery.id)).event
    }
}
