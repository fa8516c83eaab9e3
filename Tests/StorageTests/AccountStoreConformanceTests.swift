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

/// What every engine holds of accounts, beyond what the API's tests ask on one of them.
@Suite("Account store")
struct AccountStoreConformanceTests {
    private func outcome(_ work: () async throws -> Void) async -> Bool {
        do { try await work() } catch { return false }
        return true
    }

    @Test("of two owners who leave at the same time one stays", arguments: TestEngine.allCases)
    func lastOwner(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            for _ in 0..<5 {
                let principal = try await database.makePrincipal()
                let other = try await database.makePrincipal().user
                let invitation = Invitation(
                    id: InvitationID(database.ambient.makeID()), tenant: principal.tenant, email: "\(other)@example.com",
                    role: .owner, createdAt: database.ambient.now(), expiresAt: database.ambient.now().adding(.seconds(60)))
                try await database.accounts.invite(
                    tenant: principal.tenant, invitation, tokenHash: "\(invitation.id)",
                    audit: .test(.memberInvited, in: principal.tenant))
                let user = try #require(try await database.accounts.user(other))
                try await database.accounts.accept(
                    invitation, as: user, newPasswordHash: nil, audit: [.test(.memberJoined, in: principal.tenant)])
                async let first = outcome {
                    try await database.accounts.remove(
                        tenant: principal.tenant, user: principal.user, audit: .test(.memberRemoved, in: principal.tenant))
                }
                async let second = outcome {
                    try await database.accounts.changeRole(
                        tenant: principal.tenant, user: other, to: .viewer,
                        audit: .test(.memberRoleChanged, in: principal.tenant))
                }
                let done = await [first, second]
                #expect(done.count { $0 } == 1)
                let owners = try await database.accounts.members(tenant: principal.tenant, page: PageRequest()).items
                    .count { $0.role == .owner }
                #expect(owners == 1)
            }
        }
    }

    @Test("a refresh token is used up once, whoever else tries at the same time", arguments: TestEngine.allCases)
    func rotation(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let signIn = SignInID(database.ambient.makeID())
            func token(_ hash: String) -> RefreshToken {
                RefreshToken(
                    hash: "\(signIn) \(hash)", signIn: signIn, user: principal.user, tenant: principal.tenant,
                    expiresAt: database.ambient.now().adding(RefreshToken.lifetime))
            }
            try await database.accounts.begin(token("first"), audit: .test(.signedIn, in: principal.tenant))
            let used = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        await outcome { try await database.accounts.rotate(token("first"), to: token("\(number)")) }
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(used == 1)
            await #expect(throws: RefreshTokenReused.self) {
                try await database.accounts.rotate(token("first"), to: token("again"))
            }
        }
    }

    @Test("erasing a tenant or a person leaves no trace in any table", arguments: TestEngine.allCases)
    func erasure(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let gone = try await Footprint.leave(in: database, "saffron")
            let stays = try await Footprint.leave(in: database, "vanilla")
            // Somebody of the one tenant has worked in the other, and is a member of both.
            let guest = try await Footprint.join(database, stays, as: gone)
            try await database.erasure.erase(tenant: gone.tenant, audit: .test(.tenantErased, in: nil, target: "tenant"))
            #expect(try await Footprint.remains(of: ["saffron", "\(gone.tenant)"], in: database, engine) == [])
            #expect(try await database.accounts.user(guest) != nil, "they belong to the other tenant")
            #expect(try await !database.runs.runs(tenant: stays.tenant, status: nil, page: .init()).items.isEmpty)
            try await database.erasure.erase(user: guest, audit: .test(.userErased, in: nil, target: "user"))
            #expect(try await Footprint.remains(of: ["\(guest)"], in: database, engine) == [])
            await #expect(throws: Problem.self) {
                try await database.erasure.erase(user: stays.user, audit: .test(.userErased, in: nil))
            }
            #expect(try await !Footprint.remains(of: ["vanilla"], in: database, engine).isEmpty)
            let facts = try await database.audit.platformEntries(
                AuditFilter(), page: PageRequest(limit: 100), reading: .test(.auditRead, in: nil)
            ).items.map(\.action)
            #expect(facts.contains(.tenantErased) && facts.contains(.userErased))
        }
    }

    @Test("usage is written with the step, and added up by day, user and name", arguments: TestEngine.allCases)
    func usage(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            for _ in 0..<3 { try await Footprint.work(database, principal, "prompt") }
            let (from, to) = (database.ambient.now().adding(.seconds(-3600)), database.ambient.now().adding(.seconds(3600)))
            let all = try await database.usage.usage(tenant: principal.tenant, from: from, to: to, by: [], limit: 10)
            #expect(all.map(\.calls) == [3] && all.map(\.inputTokens) == [15] && all.map(\.outputTokens) == [21])
            let groups = try await database.usage.usage(
                tenant: principal.tenant, from: from, to: to, by: UsageDimension.allCases, limit: 10)
            #expect(groups.allSatisfy { $0.group[1] == "\(principal.user)" && $0.group.last == "test/model" })
            let none = try await database.usage.usage(tenant: principal.tenant, from: to, to: to, by: [.day], limit: 10)
            #expect(none.isEmpty)
        }
    }
}

/// What a tenant and a person leave behind in every table.
/// What working leaves in the tables.
enum Footprint {
    /// Rows with a word in all that can hold one.
    static func leave(in database: TestDatabase, _ word: String) async throws -> Principal {
        let now = database.ambient.now()
        let user = User(id: UserID(database.ambient.makeID()), email: "\(word)@example.com", createdAt: now)
        let tenant = Tenant(id: TenantID(database.ambient.makeID()), name: word, createdAt: now)
        try await database.accounts.create(
            user, passwordHash: word, tenant: tenant, role: .owner, onlyFirst: false,
            audit: [.test(.userRegistered, in: tenant.id, by: user.id, target: "user/\(user.id)")])
        let principal = Principal(tenant: tenant.id, user: user.id, scopes: ["*"])
        func note(_ action: AuditAction) -> AuditEntry { .test(action, in: tenant.id, by: user.id, target: "user/\(user.id)") }
        _ = try await database.makeSignIn(principal)
        try await database.accounts.addPasswordReset(
            tokenHash: word, user: user.id, expiresAt: now, audit: note(.passwordResetRequested))
        try await database.accounts.change(
            tenant: tenant.id, name: nil, corsOrigins: ["https://\(word).example.com"], audit: note(.tenantChanged))
        let invitation = Invitation(
            id: InvitationID(database.ambient.makeID()), tenant: tenant.id, email: "guest@\(word).example.com", role: .viewer,
            createdAt: now, expiresAt: now)
        try await database.accounts.invite(tenant: tenant.id, invitation, tokenHash: word, audit: note(.memberInvited))
        let key = APIKey(
            id: APIKeyID(database.ambient.makeID()), tenant: tenant.id, user: user.id, name: word, prefix: word, scopes: [],
            createdAt: now, expiresAt: nil)
        try await database.apiKeys.add(tenant: tenant.id, key, hash: word, audit: note(.keyCreated))
        try await automate(database, principal, word)
        try await work(database, principal, word)
        let document = DocumentID(database.ambient.makeID())
        try await database.knowledge.add(
            tenant: tenant.id,
            NewDocument(id: document, title: word, mediaType: .plain, content: Array("A pinch of \(word).".utf8)))
        try await database.knowledge.finishIndexing(
            tenant: tenant.id, document,
            chunks: [Chunk(id: ChunkID(database.ambient.makeID()), ordinal: 0, heading: word, text: "A pinch of \(word).")])
        return principal
    }

    /// A schedule that fired, a webhook that was told something, an event of the tenant's product and its schema.
    static func automate(_ database: TestDatabase, _ principal: Principal, _ word: String) async throws {
        let (tenant, now, ambient) = (principal.tenant, database.ambient.now(), database.ambient)
        func note(_ action: AuditAction) -> AuditEntry { .test(action, in: tenant) }
        let schedule = Schedule(
            id: ScheduleID(ambient.makeID()), principal: principal, name: word,
            recurrence: try Recurrence(cron: "@daily", zone: "UTC"), missed: .once, request: RunRequest(prompt: word),
            nextAt: nil, createdAt: now, updatedAt: now)
        try await database.schedules.add(tenant: tenant, schedule, audit: note(.scheduleCreated))
        let firing = ScheduleFiring(
            id: FiringID(ambient.makeID()), schedule: schedule.id, time: now, cause: .time, outcome: .skipped, error: word,
            createdAt: now)
        try await database.schedules.fire(tenant: tenant, schedule, [firing], jobs: [], next: nil)
        let webhook = Webhook(
            id: WebhookID(ambient.makeID()), url: "https://\(word).example.com/", description: word, events: ["*"],
            sealed: word, createdAt: now, updatedAt: now)
        try await database.webhooks.add(tenant: tenant, webhook, audit: note(.webhookCreated))
        let event = OutgoingEvent(id: EventID(ambient.makeID()), type: "webhook.test", data: ["word": .string(word)], time: now)
        let delivery = WebhookDelivery(
            id: DeliveryID(ambient.makeID()), webhook: webhook.id, event: event.id, type: event.type, createdAt: now)
        let job = NewJob(
            id: JobID(ambient.makeID()), kind: WebhookHandler.kind, subject: delivery.id.uuid, maximumAttempts: 1)
        try await database.webhooks.send(
            tenant: tenant, event, delivery: delivery, job: job, audit: note(.webhookTested))
        let schema = EventSchema(
            type: "order.paid", schema: try JSONSchema(["description": .string(word)]), createdAt: now, updatedAt: now)
        try await database.metaEvents.put(tenant: tenant, schema, audit: note(.eventSchemaChanged))
        let meta = MetaEvent(
            id: EventID(ambient.makeID()), type: "order.paid", data: ["word": .string(word)], time: now, receivedAt: now)
        try await database.metaEvents.add(tenant: tenant, [(meta, ambient.makeID())])
    }

    /// A run with one finished step.
    static func work(_ database: TestDatabase, _ principal: Principal, _ word: String) async throws {
        let run = try await database.runs.create(
            tenant: principal.tenant, database.newRun(principal, prompt: word, key: (word + "\(UUID())", "digest")))
        let leases = try await database.jobs.claim(RunExecutor.kind, limit: 10, lease: .seconds(60))
        let lease = try #require(leases.first { $0.subject == run.id.uuid })
        let step = RunStep(
            id: StepID(database.ambient.makeID()), index: 1, kind: .model, startedAt: database.ambient.now())
        _ = try await database.runs.commit(
            RunCommit(
                tenant: principal.tenant, run: run.id, authority: .taking(token: 0, lastSeq: 1, lease: lease),
                events: [.textMessageContent(messageID: "m", delta: word)],
                effects: [
                    .status(.running), .stepStarted(step),
                    .stepFinished(
                        step.id, output: ModelTurn(text: word, toolCalls: []),
                        StepUse(name: "test/model", inputTokens: 5, outputTokens: 7)),
                    .answered(messageID: database.ambient.makeID(), text: word),
                    .status(.succeeded, output: word), .jobCompleted(lease),
                ], time: database.ambient.now()))
    }

    /// Makes the owner of `guest` a member of `host`, where they begin a run.
    static func join(_ database: TestDatabase, _ host: Principal, as guest: Principal) async throws -> UserID {
        let user = try #require(try await database.accounts.user(guest.user))
        let now = database.ambient.now()
        let invitation = Invitation(
            id: InvitationID(database.ambient.makeID()), tenant: host.tenant, email: "vanilla-guest@example.com", role: .member,
            createdAt: now, expiresAt: now.adding(.seconds(60)))
        try await database.accounts.invite(
            tenant: host.tenant, invitation, tokenHash: "guest", audit: .test(.memberInvited, in: host.tenant))
        try await database.accounts.accept(
            invitation, as: user, newPasswordHash: nil,
            audit: [.test(.memberJoined, in: host.tenant, by: user.id, target: "user/\(user.id)")])
        try await work(database, Principal(tenant: host.tenant, user: user.id, scopes: ["*"]), "of the guest")
        return user.id
    }

    /// Tables that hold one of the words, or of the ids.
    static func remains(of words: [String], in database: TestDatabase, _ engine: TestEngine) async throws -> [String] {
        var found: [String] = []
        // A person who belongs elsewhere too keeps their account.
        let account = words.contains("saffron") ? ["users", "password_resets"] : []
        for table in try await tables(database, engine) where !account.contains(table.name) {
            for word in words where try await table.holds(word) { found.append("\(table.name): \(word)") }
        }
        return found
    }

    private struct Table {
        let name: String
        let holds: (String) async throws -> Bool
    }

    private static func tables(_ database: TestDatabase, _ engine: TestEngine) async throws -> [Table] {
        guard engine.isPostgres else {
            let names = SQLStatement("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'chunks_fts_%'")
            return try await database.engine.read(Batch(.system, [names]))[0].rows.map { row in
                let name = row.text(0)
                return Table(name: name) { word in
                    let columns = SQLStatement("SELECT name FROM pragma_table_info('\(name)')")
                    let list = try await database.engine.read(Batch(.system, [columns]))[0].rows.map { $0.text(0) }
                    let id = word.filter { $0 != "-" }
                    let conditions = list.map { column in
                        "instr(lower(CAST(\(column) AS TEXT)), '\(word)') OR lower(hex(\(column))) = '\(id)'"
                    }
                    let search = SQLStatement("SELECT 1 FROM \(name) WHERE \(conditions.joined(separator: " OR ")) LIMIT 1")
                    return try await !database.engine.read(Batch(.system, [search]))[0].rows.isEmpty
                }
            }
        }
        let urls = try #require(database.urls)
        var names: [String] = []
        try await TestPostgres.connected(to: urls.owner) { owner in
            names = try await owner.ask(
                "SELECT relname FROM pg_class WHERE relnamespace = 'sba'::regnamespace AND relkind = 'r'")
        }
        return names.map { name in
            Table(name: name) { word in
                var rows: [String] = []
                try await TestPostgres.connected(to: urls.owner) { owner in
                    try await owner.run("SET app.maintenance = 'on'")
                    rows = try await owner.ask(
                        "SELECT 1 FROM sba.\(name) t WHERE strpos(lower(t::text), '\(word)') > 0 LIMIT 1")
                }
                return !rows.isEmpty
            }
        }
    }
}
