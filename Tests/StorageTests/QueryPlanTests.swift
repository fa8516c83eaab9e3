import Accounts
import Agents
import Automation
import Domain
import Foundation
import Knowledge
import Operations
import Queue
import Storage
import Synchronization
import TestSupport
import Testing

/// How the repositories' queries find their rows among many.
@Suite("Query plans")
struct QueryPlanTests {
    private typealias Query = RecordingEngine.Query

    private enum Mode: String {
        case fresh = "SQLite without statistics, as a server has it"
        case analyzed = "SQLite with statistics"
        case chosen = "PostgreSQL by cost"
        /// A sequential scan is left only where no index serves.
        case forced = "PostgreSQL without sequential scans"
    }

    /// What the stores' protocols declare.
    private static let methods: [String: String] = [
        "AccountRepository": """
        create isEmpty user setOperator users tenant tenants change allowsOrigin memberships standing members member \
        changeRole remove invite invitations revokeInvitation invitation accept begin refreshToken rotate end endAll \
        setPassword addPasswordReset passwordReset resetPassword note admit
        """,
        "SigningKeyRepository": "signingKeys addFirst rotate reseal",
        "APIKeyRepository": "add keys revoke key touch",
        "AuditRepository": "entries platformEntries",
        "UsageRepository": "usage",
        "ErasureRepository": "erase beginExport exportPage",
        "JobRepository": "enqueue claim renew complete fail release rescue depths",
        "QueueRepository": "register queues changeQueue shares setShare removeShare jobs job requeue giveUp edit",
        "RetentionRepository": "isDue prune",
        "ScheduleRepository": "add schedule schedules change delete due fire firing firings settle fail",
        "WebhookRepository": """
        add webhook webhooks enabled change delete reseal pending send delivery deliveries replay note settle fail
        """,
        "MetaEventRepository": "add events schemas put delete",
        "KnowledgeRepository": "add document documents content finishIndexing failIndexing delete search",
        "RunRepository": "create run runs steps toolCalls events snapshot commit requestCancel isCancelRequested depths",
    ]

    /// What asks by itself, besides.
    private static let inner: Set<String> = [
        "RunRepository.earlierRun", "RunRepository.settle", "ErasureRepository.eraseTenant",
    ]

    /// What asks nothing by itself.
    private static let silent: Set<String> = ["AccountRepository.membership", "ErasureRepository.scrub"]

    /// What may be read from end to end: one row of it, what is few by its nature, a partial index of what is unfinished,
    /// and what is no table.
    private static let wholly: [String: [String]] = [
        // SQLite looks for rows that wait for a new user only while a deferred constraint is broken; there is none.
        "AccountRepository.create": ["users", "SCAN agent_runs", "SCAN sessions"],
        "AccountRepository.isEmpty": ["users"],
        "SigningKeyRepository.addFirst": ["signing_keys"], "SigningKeyRepository.signingKeys": ["signing_keys"],
        "SigningKeyRepository.rotate": ["signing_keys"], "SigningKeyRepository.reseal": ["signing_keys"],
        // Lists of all, a page at a time.
        "AccountRepository.users": ["users"], "AccountRepository.tenants": ["tenants"],
        // All that a tenant or a person has, once in their life.
        "ErasureRepository.eraseTenant": [" ", "jobs"], "ErasureRepository.exportPage": [" "],
        "ErasureRepository.erase": ["memberships", "SEARCH m ", "SEARCH o ", "SCAN o", "users o"],
        "AccountRepository.setOperator": ["SCAN o", "users o"],
        // Few in a tenant: origins, owners and members with a role, and keys, of which there is a bound.
        "AccountRepository.change": ["tenant_origins"], "AccountRepository.tenant": ["tenant_origins"],
        "AccountRepository.changeRole": ["memberships", "SEARCH o "],
        "AccountRepository.remove": ["memberships", "SEARCH o ", "SEARCH m "], "AccountRepository.invite": ["memberships"],
        "AccountRepository.member": ["memberships"], "APIKeyRepository.add": ["api_keys"],
        "JobRepository.depths": ["jobs_executing", "jobs_available", "jobs_due"],
        "JobRepository.rescue": ["jobs_executing"],
        "QueueRepository.queues": ["jobs_executing", "jobs_available", "jobs_due", "jobs_ended_badly", "job_queues"],
        // What is done has no index by its queue.
        "QueueRepository.jobs": ["SCAN jobs", "jobs_pkey"],
        // Once an hour: dead letters by the index of those, and the oldest sign-ins that have no token any more.
        "RetentionRepository.prune": ["jobs_ended_badly", "sign_ins", "refresh_tokens"],
        "KnowledgeRepository.search": ["SCAN chunks_fts VIRTUAL TABLE INDEX 0:M"],
        // Whether a tenant has a webhook, of which there are few.
        "RunRepository.commit": ["webhooks"], "KnowledgeRepository.finishIndexing": ["webhooks"],
        "KnowledgeRepository.failIndexing": ["webhooks"], "MetaEventRepository.add": ["webhooks"],
        "WebhookRepository.add": ["webhooks"], "WebhookRepository.enabled": ["webhooks"],
        "WebhookRepository.reseal": ["webhooks"], "WebhookRepository.settle": ["webhooks"],
        "WebhookRepository.pending": ["outbox_pending"],
        "ScheduleRepository.add": ["schedules"], "MetaEventRepository.schemas": ["event_schemas"],
        "MetaEventRepository.put": ["event_schemas"],

        "RunRepository.depths": ["agent_runs_unfinished"],
    ]

    /// What a statement has made itself, of rows that were found or given.
    private static let derived: Set<String> = [
        "SCAN e", "SCAN n", "SCAN held", "SCAN d", "SCAN due", "SCAN ahead", "SCAN waiting",
    ]

    /// So few rows here that PostgreSQL may choose to read them all.
    private static let small: Set<String> = [
        "users", "tenants", "memberships", "signing_keys", "job_queues", "upkeep", "webhooks",
    ]

    /// Pages, newest first: they walk the tenant's rows in order until they are full. A filter needs an index of its own.
    private static let pages: Set<String> = [
        "RunRepository.runs", "KnowledgeRepository.documents", "AccountRepository.members", "AccountRepository.invitations",
        "APIKeyRepository.keys", "AuditRepository.entries", "AuditRepository.platformEntries", "ScheduleRepository.schedules",
        "WebhookRepository.webhooks", "MetaEventRepository.events",
    ]
    private static let filters = [
        "status = ?", "collection = ?", "action = ?", "type = ?", "schedule_id = ?", "webhook_id = ?",
    ]

    @Test(
        "every query of every repository finds its rows by an index",
        arguments: [TestEngine.sqliteFile, .postgres18, .postgres15])
    func plans(kind: TestEngine) async throws {
        try await SeededDatabase.with(kind) { engine in
            let recorder = RecordingEngine(engine, countsScans: kind.isPostgres)
            try await EveryMethod(recorder).call()
            let queries = recorder.queries
            let names = Self.methods.flatMap { type, names in names.split(separator: " ").map { "\(type).\($0)" } }
            #expect(Set(queries.map(\.operation)) == Self.inner.union(names))
            for (operation, table) in recorder.scans
            where !Self.small.contains(table) && Self.wholly[operation]?.contains(table) != true {
                Issue.record("\(operation) made a function, a trigger or a foreign key read all of \(table)")
            }
            let leading = kind.isPostgres ? try await leadingColumns(engine) : [:]
            for mode in kind.isPostgres ? [Mode.chosen, .forced] : [.fresh, .analyzed] {
                if mode == .analyzed { _ = try await engine.write(Batch(.system, [SQLStatement("ANALYZE")])) }
                for query in queries {
                    let plan = try await explain(query, mode, engine)
                    let faults =
                        kind.isPostgres
                        ? postgresFaults(plan, query, mode, leading) : sqliteFaults(plan, query, mode)
                    for fault in faults {
                        let lines = ([query.sql] + plan).joined(separator: "\n")
                        Issue.record("\(query.operation), \(mode.rawValue): \(fault)\n\(lines)")
                    }
                }
            }
            for query in queries { checkText(query) }
        }
    }

    @Test("the list of methods is the repositories' own")
    func methodsAreListed() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Sources/Storage/Repositories")
        var found = 0
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            let listed = Self.methods[String(file.prefix { $0 != "." && $0 != "+" })]?.split(separator: " ") ?? []
            for match in text.matches(of: #/public func (\w+)/#) {
                found += 1
                let isSilent = Self.silent.contains("\(file.prefix { $0 != "." && $0 != "+" }).\(match.output.1)")
                #expect(
                    listed.contains(match.output.1) || isSilent, "\(file): \(match.output.1) is not in the list")
            }
        }
        #expect(found > 30)
    }

    private func explain(_ query: Query, _ mode: Mode, _ engine: any SQLEngine) async throws -> [String] {
        let statements: [SQLStatement]
        switch mode {
        case .fresh, .analyzed: statements = [SQLStatement("EXPLAIN QUERY PLAN " + query.sql, query.arguments)]
        case .chosen, .forced:
            let scans = SQLValue.text(mode == .forced ? "off" : "on")
            statements = [
                SQLStatement("SELECT set_config('enable_seqscan', ?1, true)", [scans]),
                SQLStatement("EXPLAIN (COSTS OFF) " + query.sql, query.arguments),
            ]
        }
        let answers = try await engine.write(Batch(query.scope, statements))
        return answers[statements.count - 1].rows.map { $0.text(statements.count == 1 ? 3 : 0) }
    }

    private func mayReadWholly(_ query: Query, _ line: String) -> Bool {
        Self.wholly[query.operation]?.contains { line.contains($0) } ?? false
    }

    private func isFiltered(_ query: Query) -> Bool { Self.filters.contains { query.sql.contains($0) } }

    private func mayWalkTenant(_ query: Query, _ mode: Mode) -> Bool {
        !isFiltered(query) && Self.pages.contains(query.operation)
    }

    /// The lines of a plan that read more than they need.
    private func sqliteFaults(_ plan: [String], _ query: Query, _ mode: Mode) -> [String] {
        plan.filter { line in
            if line.contains("AUTOMATIC") { return true }
            if line.hasPrefix("SCAN (subquery") || Self.derived.contains(line) { return false }
            if line.hasPrefix("SCAN ") {
                return !line.hasSuffix("CONSTANT ROW") && !line.hasSuffix("CONSTANT ROWS") && !mayReadWholly(query, line)
            }
            return line.hasSuffix("(tenant_id=?)") && !mayWalkTenant(query, mode) && !mayReadWholly(query, line)
        }
    }

    /// The first column of each of PostgreSQL's indexes.
    private func leadingColumns(_ engine: any SQLEngine) async throws -> [String: String] {
        let columns = SQLStatement(
            """
            SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relkind = 'i' AND c.relnamespace = 'sba'::regnamespace AND a.attnum = 1
            """)
        let rows = try await engine.read(Batch(.system, [columns]))[0].rows
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.text(0), $0.text(1)) })
    }

    /// An index is read from end to end without a condition on its first column. The condition follows, before the next node.
    private func postgresFaults(
        _ plan: [String], _ query: Query, _ mode: Mode, _ leading: [String: String]
    ) -> [String] {
        plan.indices.compactMap { place in
            let line = plan[place]
            if let scan = line.firstRange(of: "Seq Scan on ") {
                let isSmall = Self.small.contains(String(line[scan.upperBound...].prefix { $0 != " " }))
                return mode == .chosen && isSmall || mayReadWholly(query, line) ? nil : line
            }
            guard let match = line.firstMatch(of: #/Index (?:Only )?Scan (?:Backward )?(?:using|on) (\w+)/#) else { return nil }
            let details = plan[(place + 1)...].prefix { !$0.contains("->  ") }
            let condition = details.first { $0.contains("Index Cond: ") } ?? ""
            let isLed = leading[String(match.output.1)].map { condition.contains("(\($0) ") } ?? false
            let isTenantOnly = condition.contains("(tenant_id = ") && !condition.contains(" AND ")
            return isLed && (!isTenantOnly || mayWalkTenant(query, mode)) || mayReadWholly(query, line)
                ? nil : line + condition
        }
    }

    private func checkText(_ query: Query) {
        let (operation, sql) = (query.operation, query.sql)
        #expect(!sql.contains(#/(?:SELECT|RETURNING|,)\s+(?:\w+\.)?\*/#), "\(operation) takes every column: \(sql)")
        guard case .tenant = query.scope else { return }
        let namesTenant =
            sql.contains("tenant_id = ?1") || sql.hasPrefix("INSERT INTO ") && sql.contains("tenant_id")
            || sql.contains(" tenants ") && sql.contains(" id = ?1")
        #expect(namesTenant, "\(operation) does not name the tenant: \(sql)")
    }
}

/// Forwards batches, and remembers every distinct statement.
private final class RecordingEngine: SQLEngine {
    struct Query: Sendable {
        let operation: String
        let scope: Batch.Scope
        let sql: String
        let arguments: [SQLValue]
    }

    private struct State {
        var queries: [Query] = []
        var scans: [(operation: String, table: String)] = []
        var losesNextAnswer = false
    }

    private let engine: any SQLEngine
    private let countsScans: Bool
    private let state = Mutex(State())

    /// - Parameter countsScans: PostgreSQL counts the sequential scans of a transaction, also those in functions, triggers and
    ///   foreign keys, of which no plan tells.
    init(_ engine: any SQLEngine, countsScans: Bool) {
        self.engine = engine
        self.countsScans = countsScans
    }

    var queries: [Query] { state.withLock { $0.queries } }
    var scans: [(operation: String, table: String)] { state.withLock { $0.scans } }
    var dialect: any SQLDialect { engine.dialect }
    var commitCount: Int { engine.commitCount }

    /// The next batch takes effect, and whoever sent it is not told.
    func loseNextAnswer() { state.withLock { $0.losesNextAnswer = true } }

    func read(_ batch: Batch) async throws -> [ResultSet] {
        try await recording(batch) { try await engine.read($0) }
    }

    func write(_ batch: Batch) async throws -> [ResultSet] {
        try await recording(batch) { try await engine.write($0) }
    }

    func close() async { await engine.close() }

    private func recording(_ batch: Batch, _ run: (Batch) async throws -> [ResultSet]) async throws -> [ResultSet] {
        let operation = batch.operation
        state.withLock { state in
            for statement in batch.statements {
                let isKnown = state.queries.contains { query in
                    query.operation == operation && query.sql == statement.sql && query.arguments == statement.arguments
                }
                guard !isKnown else { continue }
                state.queries.append(
                    Query(operation: operation, scope: batch.scope, sql: statement.sql, arguments: statement.arguments))
            }
        }
        let answers = try await countsScans ? counting(batch, run) : run(batch)
        let isLost = state.withLock { state in
            defer { state.losesNextAnswer = false }
            return state.losesNextAnswer
        }
        if isLost { throw StorageError.outcomeUnknown }
        return answers
    }

    private func counting(_ batch: Batch, _ run: (Batch) async throws -> [ResultSet]) async throws -> [ResultSet] {
        let count = SQLStatement("SELECT relname::text, seq_scan FROM pg_stat_xact_user_tables ORDER BY relid")
        let answers = try await run(
            Batch(batch.scope, [count] + batch.statements + [count], isRepeatable: batch.isRepeatable))
        for (before, after) in zip(answers[0].rows, answers[answers.count - 1].rows) where before.int(1) < after.int(1) {
            state.withLock { $0.scans.append((batch.operation, after.text(0))) }
        }
        return Array(answers.dropFirst().dropLast())
    }
}

/// Calls every method of the repositories, in every variant that makes other SQL, as one of the seeded tenants.
private struct EveryMethod {
    private let recorder: RecordingEngine
    private let ambient = Ambient.system
    private let accounts: AccountRepository
    private let jobs: JobRepository
    private let queues: QueueRepository
    private let runs: RunRepository
    private let knowledge: KnowledgeRepository
    private let signingKeys: SigningKeyRepository
    private let apiKeys: APIKeyRepository
    private let audit: AuditRepository
    private let usage: UsageRepository
    private let erasure: ErasureRepository
    /// Number 7 of 50 tenants: the rows 7, 57, 107, … of every table are its own.
    private let tenant = TenantID(Seed.id(7))
    private let user = UserID(Seed.id(7))
    private let kind = JobKind(rawValue: "plan")

    init(_ recorder: RecordingEngine) {
        self.recorder = recorder
        accounts = AccountRepository(engine: recorder)
        jobs = JobRepository(engine: recorder)
        queues = QueueRepository(engine: recorder)
        runs = RunRepository(engine: recorder)
        knowledge = KnowledgeRepository(engine: recorder)
        signingKeys = SigningKeyRepository(engine: recorder)
        apiKeys = APIKeyRepository(engine: recorder)
        audit = AuditRepository(engine: recorder)
        usage = UsageRepository(engine: recorder)
        erasure = ErasureRepository(engine: recorder)
    }

    func call() async throws {
        try await callAccounts()
        try await callMembers()
        try await callSignIns()
        try await callKeys()
        try await callRecords()
        try await callJobs()
        try await readRuns()
        try await commitRuns()
        try await callKnowledge()
        try await callSchedules()
        try await callWebhooks()
        try await callMetaEvents()
        try await callRetention()
        try await callErasure()
    }

    private func callSchedules() async throws {
        let (store, now) = (ScheduleRepository(engine: recorder), ambient.now())
        let note = entry(.scheduleChanged, tenant)
        var schedule = Schedule(
            id: ScheduleID(ambient.makeID()), principal: Principal(tenant: tenant, user: user, scopes: ["*"]), name: "plan",
            recurrence: try Recurrence(cron: "@daily", zone: "UTC"), missed: .all, request: RunRequest(prompt: "Why?"),
            nextAt: now, createdAt: now, updatedAt: now)
        try await store.add(tenant: tenant, schedule, audit: note())
        #expect(try await store.schedule(tenant: tenant, schedule.id) == schedule)
        for page in [PageRequest(limit: 1), PageRequest(limit: 1, cursor: PageCursor(after: ambient.makeID()))] {
            #expect(try await store.schedules(tenant: tenant, page: page).items.map(\.id) == [schedule.id])
            let firings = try await store.firings(tenant: tenant, of: ScheduleID(Seed.id(7)), page: page)
            #expect(firings.items.count == 1)
        }
        try await store.change(tenant: tenant, schedule, audit: note())
        schedule.version += 1
        let due = try await store.due(limit: 5)
        #expect(due.count == 5)
        #expect(try await store.due(after: due.last, limit: 5).allSatisfy { !due.contains($0) })
        func firing(_ cause: ScheduleFiring.Cause) -> ScheduleFiring {
            ScheduleFiring(
                id: FiringID(ambient.makeID()), schedule: schedule.id, time: now, cause: cause, outcome: .pending, createdAt: now)
        }
        let (timed, manual) = (firing(.time), firing(.manual))
        func job(_ firing: ScheduleFiring) -> NewJob {
            NewJob(id: JobID(ambient.makeID()), kind: ScheduleHandler.kind, subject: schedule.id.uuid, maximumAttempts: 1)
        }
        try await store.fire(tenant: tenant, schedule, [timed], jobs: [job(timed)], next: nil)
        try await store.fire(tenant: tenant, manual, job: job(manual), audit: note())
        #expect(try await store.firing(tenant: tenant, timed.id) == timed)
        let lease = try #require(try await jobs.claim(ScheduleHandler.kind, limit: 2).first)
        try await store.settle(lease, timed.id, as: .started, error: nil)
        try await store.fail(tenant: tenant, manual.id, error: "no")
        try await store.delete(tenant: tenant, schedule.id, audit: note())
    }

    private func callWebhooks() async throws {
        let (store, now) = (WebhookRepository(engine: recorder), ambient.now())
        let note = entry(.webhookChanged, tenant)
        let webhook = Webhook(
            id: WebhookID(ambient.makeID()), url: "https://example.com", description: nil, events: ["*"], sealed: "x",
            createdAt: now, updatedAt: now)
        try await store.add(tenant: tenant, webhook, audit: note())
        #expect(try await store.webhook(tenant: tenant, webhook.id) == webhook)
        try await store.change(tenant: tenant, webhook, audit: note())
        #expect(try await store.enabled(tenant: tenant).contains { $0.id == webhook.id })
        #expect(try await store.reseal { sealed, _ in sealed + "y" } > 100)
        let all = try await store.pending(limit: 100)
        #expect(try await store.pending(after: all[1], limit: 1) == [all[2]])
        let pending = try #require(all.first { $0.tenant == tenant })
        func delivery(_ event: EventID) -> WebhookDelivery {
            WebhookDelivery(
                id: DeliveryID(ambient.makeID()), webhook: webhook.id, event: event, type: "run.failed", createdAt: now)
        }
        func job(_ delivery: WebhookDelivery) -> NewJob {
            NewJob(id: JobID(ambient.makeID()), kind: WebhookHandler.kind, subject: delivery.id.uuid, maximumAttempts: 1)
        }
        let first = delivery(pending.event)
        try await store.send(tenant: tenant, [pending.event], deliveries: [first], jobs: [job(first)])
        let event = OutgoingEvent(id: EventID(ambient.makeID()), type: "webhook.test", data: [:], time: now)
        let second = delivery(event.id)
        try await store.send(tenant: tenant, event, delivery: second, job: job(second), audit: note())
        #expect(try await store.delivery(tenant: tenant, second.id)?.event == event)
        for page in [PageRequest(limit: 1), PageRequest(limit: 1, cursor: PageCursor(after: ambient.makeID()))] {
            #expect(try await store.webhooks(tenant: tenant, page: page).items.count == 1)
            for state in [nil, WebhookDelivery.State.pending] {
                let found = try await store.deliveries(tenant: tenant, of: webhook.id, state: state, page: page)
                #expect(found.items.count == 1)
            }
        }
        let attempt = WebhookDelivery.Attempt(status: 410, error: "no", response: nil, duration: .zero, time: now)
        for lease in try await jobs.claim(WebhookHandler.kind, limit: 2) {
            try await store.note(lease, attempt)
            try await store.settle(lease, as: .failed, attempt, disabling: "gone")
        }
        try await store.replay(tenant: tenant, first.id, job: job(first), audit: note())
        try await store.fail(tenant: tenant, first.id, error: "no")
        try await store.delete(tenant: tenant, webhook.id, audit: note())
    }

    private func callMetaEvents() async throws {
        let (store, now) = (MetaEventRepository(engine: recorder), ambient.now())
        let note = entry(.eventSchemaChanged, tenant)
        let event = MetaEvent(id: EventID(ambient.makeID()), type: "plan", data: [:], time: now, receivedAt: now)
        try await store.add(tenant: tenant, [(event, ambient.makeID())])
        let filters = [
            MetaEventFilter(), MetaEventFilter(type: "type3"), MetaEventFilter(from: Timestamp(microseconds: 0), to: now),
        ]
        for filter in filters {
            for page in [PageRequest(limit: 2), PageRequest(limit: 2, cursor: PageCursor(after: ambient.makeID()))] {
                _ = try await store.events(tenant: tenant, filter, page: page)
            }
        }
        let schema = EventSchema(type: "plan", schema: try JSONSchema([:]), createdAt: now, updatedAt: now)
        try await store.put(tenant: tenant, schema, audit: note())
        #expect(try await store.schemas(tenant: tenant).contains(schema))
        try await store.delete(tenant: tenant, schema: "plan", audit: note())
    }

    private func callRetention() async throws {
        let retention = RetentionRepository(engine: recorder)
        #expect(try await retention.isDue("plan", every: .seconds(60)))
        for rows in RetainedRows.allCases { _ = try await retention.prune(rows, olderThan: .seconds(40 * 86_400), limit: 2) }
    }

    private func callAccounts() async throws {
        let now = ambient.now()
        func create(_ email: String, onlyFirst: Bool) async throws {
            try await accounts.create(
                User(id: UserID(ambient.makeID()), email: email, createdAt: now), passwordHash: "none",
                tenant: Tenant(id: TenantID(ambient.makeID()), name: "New", createdAt: now), role: .owner, onlyFirst: onlyFirst)
        }
        try await create("new@example.com", onlyFirst: false)
        await #expect(throws: Problem.self) { try await create("other@example.com", onlyFirst: true) }
        #expect(try await !accounts.isEmpty())
        #expect(try await accounts.user(email: "user7@example.com")?.user.id == user)
        #expect(try await accounts.user(user)?.id == user)
        #expect(try await accounts.tenant(tenant)?.id == tenant)
        #expect(try await accounts.memberships(of: user).count == 2)
        #expect(try await accounts.membership(tenant: tenant, user: user) != nil)
        let note = entry(.platformRead)
        try await accounts.setOperator(user, true, audit: note())
        try await accounts.setOperator(UserID(Seed.id(11)), true, audit: note())
        try await accounts.setOperator(UserID(Seed.id(11)), false, audit: note())
        let cursor = PageCursor(after: Seed.id(900))
        for page in [PageRequest(limit: 2), PageRequest(limit: 2, cursor: cursor)] {
            #expect(try await accounts.users(email: nil, page: page, reading: note()).items.count == 2)
            #expect(try await accounts.users(email: "user7@example.com", page: page, reading: note()).items.count == 1)
            #expect(try await accounts.tenants(page: page, reading: note()).items.count == 2)
        }
        try await accounts.change(
            tenant: tenant, name: "Renamed", corsOrigins: ["https://a.example.com"], audit: entry(.tenantChanged, tenant)())
        #expect(try await accounts.allowsOrigin("https://a.example.com", for: nil))
        #expect(try await accounts.allowsOrigin("https://a.example.com", for: tenant))
    }

    /// Rows of the audit log, each with an id of its own.
    private func entry(_ action: AuditAction, _ tenant: TenantID? = nil) -> () -> AuditEntry {
        { .test(action, in: tenant, by: user, target: "user/\(user)") }
    }

    private func callMembers() async throws {
        let now = ambient.now()
        let note = entry(.memberRoleChanged, tenant)
        for page in [PageRequest(limit: 1), PageRequest(limit: 1, cursor: PageCursor(after: Seed.id(9000)))] {
            #expect(try await accounts.members(tenant: tenant, page: page).items.count == 1)
            _ = try await accounts.invitations(tenant: tenant, page: page)
        }
        #expect(try await accounts.member(tenant: tenant, user: user) != nil)
        func invite(_ email: String, _ hash: String) async throws -> Invitation {
            let invitation = Invitation(
                id: InvitationID(ambient.makeID()), tenant: tenant, email: email, role: .member, createdAt: now,
                expiresAt: now.adding(.seconds(60)))
            try await accounts.invite(tenant: tenant, invitation, tokenHash: hash, audit: note())
            return invitation
        }
        try await accounts.revokeInvitation(tenant: tenant, try await invite("a@example.com", "a").id, audit: note())
        let invitation = try await invite("b@example.com", "b")
        #expect(try await accounts.invitation(tokenHash: "b", at: now) == invitation)
        let guest = User(id: UserID(ambient.makeID()), email: "b@example.com", createdAt: now)
        try await accounts.accept(invitation, as: guest, newPasswordHash: "none", audit: [note()])
        try await accounts.changeRole(tenant: tenant, user: guest.id, to: .viewer, audit: note())
        try await accounts.remove(tenant: tenant, user: guest.id, audit: note())
        for role in [Role.member, .viewer] {
            let new = User(id: UserID(ambient.makeID()), email: "c@example.com", createdAt: now)
            let standing = try await accounts.admit(
                issuer: "https://issuer.example.com", subject: "c", new: new, tenant: tenant, role: role, audit: note())
            #expect(standing.membership.role == role)
        }
    }

    private func callSignIns() async throws {
        let note = entry(.signedIn, tenant)
        func token(_ hash: String, _ signIn: SignInID) -> RefreshToken {
            RefreshToken(
                hash: hash, signIn: signIn, user: user, tenant: tenant,
                expiresAt: ambient.now().adding(RefreshToken.lifetime))
        }
        let signIn = SignInID(ambient.makeID())
        try await accounts.begin(token("r1", signIn), audit: note())
        #expect(try await accounts.refreshToken(hash: "r1")?.signIn == signIn)
        try await accounts.rotate(token("r1", signIn), to: token("r2", signIn))
        #expect(try await accounts.standing(tenant: tenant, user: user, signIn: signIn) != nil)
        try await accounts.endAll(of: user, but: signIn, audit: note())
        try await accounts.end(signIn, user: user, audit: note())
        #expect(try await accounts.refreshToken(hash: "r2") == nil)
        try await accounts.setPassword("new", of: user, keeping: signIn, audit: note())
        let later = ambient.now().adding(.seconds(60))
        try await accounts.addPasswordReset(tokenHash: "p", user: user, expiresAt: later, audit: note())
        #expect(try await accounts.passwordReset(tokenHash: "p", at: ambient.now()) == user)
        try await accounts.resetPassword(tokenHash: "p", user: user, to: "newer", audit: note())
        try await accounts.note(note())
    }

    private func callKeys() async throws {
        let now = ambient.now()
        try await signingKeys.addFirst(SealedSigningKey(id: "key", sealed: "x", createdAt: now))
        try await signingKeys.rotate(
            to: SealedSigningKey(id: "next", sealed: "x", createdAt: now), retiring: now.adding(.seconds(60)),
            audit: entry(.signingKeyRotated)())
        #expect(try await signingKeys.signingKeys(at: now).count == 2)
        #expect(try await signingKeys.reseal { $0.sealed + "y" } == 2)
        let key = APIKey(
            id: APIKeyID(ambient.makeID()), tenant: tenant, user: user, name: "plan", prefix: "sba_", scopes: ["runs:read"],
            createdAt: now, expiresAt: nil)
        try await apiKeys.add(tenant: tenant, key, hash: "k", audit: entry(.keyCreated, tenant)())
        #expect(try await apiKeys.key(hash: "k")?.key == key)
        try await apiKeys.touch(tenant: tenant, key.id, at: now)
        for page in [PageRequest(limit: 1), PageRequest(limit: 1, cursor: PageCursor(after: ambient.makeID()))] {
            #expect(try await apiKeys.keys(tenant: tenant, page: page).items.count == 1)
        }
        try await apiKeys.revoke(tenant: tenant, key.id, at: now, audit: entry(.keyRevoked, tenant)())
    }

    private func callRecords() async throws {
        let now = ambient.now()
        let from = Timestamp(microseconds: 0)
        for filter in [
            AuditFilter(), AuditFilter(action: .signedIn), AuditFilter(user: user), AuditFilter(from: from, to: now),
        ] {
            for page in [PageRequest(limit: 2), PageRequest(limit: 2, cursor: PageCursor(after: ambient.makeID()))] {
                let rows = try await audit.entries(
                    tenant: tenant, filter, page: page, reading: entry(.auditRead, tenant)())
                #expect(rows.items.allSatisfy { $0.tenant == tenant })
                _ = try await audit.platformEntries(filter, page: page, reading: entry(.auditRead)())
            }
        }
        for dimensions in [[], UsageDimension.allCases] {
            let sums = try await usage.usage(
                tenant: tenant, from: Timestamp(microseconds: 5000), to: Timestamp(microseconds: 5200), by: dimensions,
                limit: 1000)
            #expect(!sums.isEmpty)
        }
    }

    private func callErasure() async throws {
        try await erasure.beginExport(tenant: tenant, audit: entry(.tenantExported, tenant)())
        var place: ExportPlace? = .start
        var rows = 0
        while let from = place {
            let page = try await erasure.exportPage(tenant: tenant, from: from)
            rows += page.rows.count
            place = page.next
        }
        #expect(rows > 1000)
        try await erasure.beginExport(user: user, audit: entry(.userExported, tenant)())
        place = .start
        rows = 0
        while let from = place {
            let page = try await erasure.exportPage(user: user, from: from)
            rows += page.rows.count
            place = page.next
        }
        #expect(rows > 100)
        // Number 7 owns its tenant with another, number 8 as well.
        try await erasure.erase(user: UserID(Seed.id(8)), audit: entry(.userErased)())
        try await erasure.erase(tenant: TenantID(Seed.id(9)), audit: entry(.tenantErased)())
    }

    private func newJob(unique key: String? = nil) -> NewJob {
        NewJob(
            id: JobID(ambient.makeID()), kind: kind, subject: ambient.makeID(), maximumAttempts: 3,
            uniqueness: key.map { NewJob.Uniqueness(key: $0) })
    }

    private func callJobs() async throws {
        try await queues.register([kind])
        _ = try await jobs.enqueue(tenant: tenant, [newJob(), newJob(), newJob(unique: "report"), newJob(unique: "report")])
        let claim = JobClaim(kind: kind, limit: 3, floor: 0, virtualTime: 5)
        let leases = try await jobs.claim([claim, JobClaim(kind: Seed.kind, limit: 3)], lease: .seconds(30), worker: "plan")
            .filter { $0.kind == kind }
        try #require(leases.count == 3)
        #expect(try await jobs.renew(leases, lease: .seconds(30)).count == 3)
        #expect(try await !jobs.depths().isEmpty)
        #expect(try await jobs.complete([leases[0]]).count == 1)
        try await jobs.fail(leases[1], error: "no", delay: .seconds(5))
        try await jobs.release(leases[2])
        #expect(try await jobs.rescue(all: false) > 0)
        try await callQueues(leases.map(\.job))
        _ = try await jobs.rescue(all: true)
    }

    private func callQueues(_ ids: [JobID]) async throws {
        #expect(try await queues.queues().count == 2)
        try await queues.changeQueue(kind, QueueChange(isPaused: true), audit: .test())
        try await queues.changeQueue(kind, QueueChange(isPaused: false), audit: .test())
        try await queues.changeQueue(Seed.kind, QueueChange(tenantConcurrency: .some(5)), audit: .test())
        try await queues.setShare(kind, QueueShare(tenant: tenant, weight: 2, concurrency: 5), audit: .test())
        for page in [PageRequest(limit: 1), PageRequest(limit: 1, cursor: PageCursor(after: Seed.id(9000)))] {
            _ = try await queues.shares(kind, page: page)
        }
        try await queues.removeShare(kind, of: tenant, audit: .test())
        #expect(try await jobs.claim(Seed.kind, limit: 3).count == 3)
        for state in JobState.allCases {
            for page in [PageRequest(limit: 1), PageRequest(limit: 1, cursor: PageCursor(after: Seed.id(9000)))] {
                _ = try await queues.jobs(Seed.kind, in: state, page: page, reading: .test())
            }
        }
        #expect(try await queues.job(ids[0], reading: nil)?.state == .completed)
        try await queues.edit(ids[1], JobEdit(payload: ["a": 1], priority: .low, maximumAttempts: 9), audit: .test())
        try await queues.requeue(ids[1], audit: .test())
        try await queues.giveUp(ids[2], audit: .test())
    }

    private func newRun(session: SessionID? = nil, key: (key: String, digest: String)? = nil) -> NewRun {
        let id = RunID(ambient.makeID())
        return NewRun(
            id: id, session: session, newSession: SessionID(ambient.makeID()),
            principal: Principal(tenant: tenant, user: user, scopes: ["*"]), trace: Trace(requestID: "test"), prompt: "Why?",
            options: RunOptions(model: "test/model", tools: []),
            job: NewJob(id: JobID(ambient.makeID()), kind: RunExecutor.kind, subject: id.uuid, maximumAttempts: 3),
            idempotency: key)
    }

    private func readRuns() async throws {
        let seeded = RunID(Seed.id(4957))
        let first = try await runs.create(tenant: tenant, newRun(key: ("plan", "digest")))
        #expect(try await runs.create(tenant: tenant, newRun(key: ("plan", "digest"))).id == first.id)
        _ = try await runs.create(tenant: tenant, newRun(session: first.session))
        #expect(try await runs.run(tenant: tenant, seeded) != nil)
        for status in [nil, RunStatus.failed] {
            let page = try await runs.runs(tenant: tenant, status: status, page: PageRequest(limit: 2))
            let cursor = try #require(page.next)
            let next = try await runs.runs(tenant: tenant, status: status, page: PageRequest(limit: 2, cursor: cursor))
            #expect(next.items.count == 2)
        }
        #expect(try await runs.steps(tenant: tenant, run: seeded).count == 2)
        #expect(try await runs.toolCalls(tenant: tenant, run: seeded).count == 2)
        #expect(try await runs.events(tenant: tenant, run: seeded, after: 2, limit: 3).count == 3)
        #expect(try await runs.snapshot(tenant: tenant, run: seeded)?.history.count == 4)
        try await runs.requestCancel(tenant: tenant, run: seeded)
        #expect(try await runs.isCancelRequested(tenant: tenant, run: seeded))
        #expect(try await !runs.depths().isEmpty)
    }

    private func commit(
        _ run: Run, _ authority: RunCommit.Authority, _ events: [RunEvent] = [], _ effects: [RunEffect]
    ) async throws -> RunReceipt {
        try await runs.commit(
            RunCommit(
                tenant: tenant, run: run.id, authority: authority, events: events, effects: effects, time: ambient.now()))
    }

    /// Every authority, every effect and every status.
    private func commitRuns() async throws {
        let now = ambient.now()
        let step = RunStep(id: StepID(ambient.makeID()), index: 1, kind: .model, startedAt: now)
        let call = ToolCallRecord(id: "plan", step: step.id, ordinal: 0, name: "calculator", arguments: "{}", createdAt: now)
        let (run, lease) = try await leased()
        _ = try await commit(
            run, .taking(token: 0, lastSeq: 1, lease: lease), [.stepStarted(name: "a"), .stepFinished(name: "a")],
            [
                .status(.running), .stepStarted(step), .stepRestarted(step.id, attempt: 2),
                .stepFinished(
                    step.id, output: ModelTurn(text: "", toolCalls: []), StepUse(name: "m", inputTokens: 1, outputTokens: 1)),
                .toolCallRequested(call),
                .toolCallMoved(id: call.id, from: .requested, to: .dispatching, attempt: 1, result: nil),
                .answered(messageID: ambient.makeID(), text: "So."), .deadline(now), .jobEnqueued(newJob()),
                .status(.waiting), .status(.queued), .status(.running),
            ])
        recorder.loseNextAnswer()
        let settled = try await commit(run, .holding(token: 1, lastSeq: 3), [.stepStarted(name: "b")], [.unfinishedAbandoned])
        #expect(settled.lastSeq == 4)
        for status in [RunStatus.succeeded, .failed, .expired] {
            let (run, lease) = try await leased()
            let end: [RunEffect] = [.status(.running), .status(status, output: "So."), .jobCompleted(lease)]
            _ = try await commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [], end)
        }
        let idle = try await runs.create(tenant: tenant, newRun())
        _ = try await commit(idle, .takingIdle(token: 0, lastSeq: 1), [.runFinished(outcome: .cancelled)], [.status(.cancelled)])
    }

    private func leased() async throws -> (run: Run, lease: JobLease) {
        let run = try await runs.create(tenant: tenant, newRun())
        let leases = try await jobs.claim(RunExecutor.kind, limit: 10, lease: .seconds(30))
        return (run, try #require(leases.first { $0.subject == run.id.uuid }))
    }

    private func callKnowledge() async throws {
        let id = DocumentID(ambient.makeID())
        try await knowledge.add(
            tenant: tenant, NewDocument(id: id, title: "Notes", mediaType: .plain, content: Array("A heron.".utf8)))
        #expect(try await knowledge.document(tenant: tenant, id) != nil)
        #expect(try await knowledge.content(tenant: tenant, id) != nil)
        try await knowledge.finishIndexing(
            tenant: tenant, id, chunks: [Chunk(id: ChunkID(ambient.makeID()), ordinal: 0, heading: "", text: "A heron.")])
        for collection in [nil, "c3"] {
            let page = try await knowledge.documents(tenant: tenant, collection: collection, page: PageRequest(limit: 2))
            let next: PageCursor = try #require(page.next)
            let rest = PageRequest(limit: 2, cursor: next)
            #expect(try await knowledge.documents(tenant: tenant, collection: collection, page: rest).items.count == 2)
            let terms = SearchTerms("When does the harbour open?")
            #expect(try await knowledge.search(tenant: tenant, terms: terms, collection: collection, limit: 8).count == 8)
        }
        try await knowledge.failIndexing(tenant: tenant, id, reason: "no")
        #expect(try await knowledge.delete(tenant: tenant, id))
    }
}

/// A migrated database with 100,000 rows of 50 tenants.
private enum SeededDatabase {
    /// Makes a database, lends it, and closes and removes it.
    static func with(_ kind: TestEngine, _ work: (any SQLEngine) async throws -> Void) async throws {
        let seeds = Seed.all(isPostgres: kind.isPostgres)
        #expect(seeds.reduce(0) { $0 + $1.rows } >= 100_000)
        guard kind.isPostgres else {
            let folder = TemporaryFolder()
            let engine = try SQLiteEngine(path: folder.path + "/test.sqlite")
            _ = try await Migrator(target: engine).migrate()
            _ = try await engine.write(Batch(.system, seeds.map { SQLStatement($0.sql) }))
            try await lend(engine, work)
            return withExtendedLifetime(folder) {}
        }
        try await TestPostgres.withDatabase(on: kind) { urls in
            try await TestPostgres.connected(to: urls.owner) { owner in
                let script = seeds.map(\.sql).joined(separator: ";\n")
                try await owner.run(
                    "BEGIN; SET LOCAL app.maintenance = 'on'; SET LOCAL search_path = sba; \(script); COMMIT")
                // Vacuuming also moves new words out of the full-text index's list of pending ones.
                let tables = (seeds.map(\.table) + ["chunk_words"]).map { "sba." + $0 }
                try await owner.run("VACUUM ANALYZE \(tables.joined(separator: ", "))")
            }
            try await lend(urls.engine(), work)
        }
    }

    private static func lend(_ engine: any SQLEngine, _ work: (any SQLEngine) async throws -> Void) async throws {
        do {
            try await work(engine)
        } catch {
            await engine.close()
            throw error
        }
        await engine.close()
    }
}

/// The rows of one table, numbered from 0: row `i` is of tenant `i % 50`, and refers to rows whose numbers are the same by
/// that modulus.
private struct Seed {
    static let kind = JobKind(rawValue: "seed")
    let table: String
    let rows: Int
    let columns: String
    let values: String

    init(_ table: String, _ rows: Int, _ columns: String, _ values: String) {
        (self.table, self.rows, self.columns, self.values) = (table, rows, columns, values)
    }

    /// For SQLite and PostgreSQL.
    var sql: String {
        """
        WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < \(rows - 1))
        INSERT INTO \(table) (\(columns)) SELECT \(values) FROM n
        """
    }

    /// Sorts by its number, and before every new id.
    static func id(_ number: Int) -> UUID {
        let bytes = [1] + Array(String(format: "%015d", number).utf8)
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    /// What people and programs sign in with, what was done and what was used.
    private static func accounts(own: String, tenant: String, session: String, run: String) -> [Seed] {
        [
            Seed("sign_ins", 1000, "id, user_id, tenant_id, created_at", "\(own), \(tenant), \(tenant), i"),
            Seed("refresh_tokens", 2000, "hash, sign_in_id, expires_at", "'refresh' || i, \(session), i"),
            Seed(
                "invitations", 1000, "tenant_id, id, email, role, hash, created_at, expires_at",
                "\(tenant), \(own), 'guest' || i, 'member', 'invitation' || i, i, i"),
            Seed(
                "api_keys", 1000, "tenant_id, id, user_id, name, prefix, hash, scopes, created_at",
                "\(tenant), \(own), \(tenant), 'key', 'sba_', 'key' || i, 'runs:read', i"),
            Seed(
                "audit_logs", 5000, "id, tenant_id, user_id, request_id, action, target, details, created_at",
                """
                \(own), \(tenant), \(tenant), 'seed',
                CASE WHEN i / 50 % 20 = 0 THEN 'auth.signed_in' ELSE 'auth.signed_out' END, 'target' || i, '{}', i
                """),
            Seed(
                "usage_metrics", 10_000,
                """
                tenant_id, id, run_id, user_id, agent, kind, name, attempts, input_tokens, output_tokens, duration_ms, created_at
                """,
                "\(tenant), \(own), \(run), \(tenant), 'default', 'model', 'test/model', 1, 5, 7, 9, i"),
        ]
    }

    /// What happens by itself.
    private static func automation(_ id: (String) -> String) -> [Seed] {
        let (own, tenant) = (id("i"), id("i % 50"))
        return [
            Seed(
                "schedules", 1000,
                "tenant_id, id, user_id, scopes, name, cron, time_zone, missed, request, next_at, created_at, updated_at",
                "\(tenant), \(own), \(tenant), '*', 'n', '@daily', 'UTC', 'once', '{}', CASE WHEN i < 200 THEN i END, i, i"),
            Seed(
                "schedule_firings", 10_000, "tenant_id, id, schedule_id, fire_at, cause, outcome, created_at",
                "\(tenant), \(own), \(id("i % 1000")), i, 'time', 'started', i"),
            Seed(
                "webhooks", 100, "tenant_id, id, url, events, sealed, created_at, updated_at",
                "\(tenant), \(own), 'https://example.com', '[]', 'x', i, i"),
            Seed(
                "outbox", 5000, "tenant_id, id, type, data, state, occurred_at, created_at",
                "\(tenant), \(own), 'run.failed', '{}', CASE WHEN i < 100 THEN 'pending' ELSE 'sent' END, i, i"),
            Seed(
                "webhook_deliveries", 5000, "tenant_id, id, webhook_id, event_id, state, created_at",
                "\(tenant), \(own), \(id("i % 100")), \(own), CASE WHEN i / 50 % 9 = 0 THEN 'failed' ELSE 'delivered' END, i"),
            Seed(
                "event_schemas", 500, "tenant_id, type, schema, created_at, updated_at",
                "\(tenant), 'type' || (i / 50), '{}', i, i"),
            Seed(
                "meta_events", 10_000, "tenant_id, place, id, type, data, occurred_at, created_at",
                "\(tenant), \(own), \(own), 'type' || (i / 50 % 10), '{}', i, i"),
        ]
    }

    static func all(isPostgres: Bool) -> [Seed] {
        func id(_ number: String) -> String {
            isPostgres
                ? "('01' || encode(lpad((\(number))::text, 15, '0')::bytea, 'hex'))::uuid"
                : "CAST(char(1) || printf('%015d', \(number)) AS BLOB)"
        }
        let (own, tenant, session, run, document) = (id("i"), id("i % 50"), id("i % 1000"), id("i % 5000"), id("i % 2000"))
        let runStatus = """
            CASE WHEN i >= 4950 THEN 'queued' WHEN i >= 4900 THEN 'running' WHEN i / 50 % 9 = 0 THEN 'failed' ELSE 'succeeded' END
            """
        let jobState = """
            CASE WHEN i < 2000 THEN 'available' WHEN i < 2200 THEN 'scheduled' WHEN i < 2400 THEN 'retryable'
                WHEN i < 2500 THEN 'executing' WHEN i < 3000 THEN 'discarded' ELSE 'completed' END
            """
        return [
            Seed("tenants", 50, "id, name, created_at", "\(own), 'Tenant', i"),
            Seed("users", 50, "id, email, password_hash, created_at", "\(own), 'user' || i || '@example.com', 'none', i"),
            Seed(
                "memberships", 100, "tenant_id, user_id, role, version, created_at",
                "\(tenant), \(id("(i + i / 50) % 50")), 'owner', 1, i"),
            Seed("sessions", 1000, "tenant_id, id, user_id, created_at", "\(tenant), \(own), \(tenant), i"),
            Seed(
                "agent_runs", 5000,
                "tenant_id, id, session_id, user_id, scopes, request_id, prompt, options, status, created_at, deadline_at",
                "\(tenant), \(own), \(session), \(tenant), '*', 'seed', 'Why?', '{}', \(runStatus), i, i"),
            Seed("run_heads", 5000, "tenant_id, run_id, last_seq, token", "\(tenant), \(own), 6, 1"),
            Seed(
                "idempotency_keys", 5000, "tenant_id, key, digest, run_id, created_at", "\(tenant), 'key' || i, 'd', \(own), i"),
            Seed(
                "messages", 10_000, "tenant_id, id, session_id, run_id, role, text, created_at",
                "\(tenant), \(own), \(session), \(run), 'user', 'Why?', i"),
            Seed(
                "run_events", 30_000, "tenant_id, run_id, seq, type, fields, created_at",
                #"\#(tenant), \#(run), i / 5000 + 1, 'CUSTOM', '{"value": "The quick brown fox jumps over the lazy dog."}', i"#),
            Seed("run_commands", 1000, "tenant_id, id, run_id, kind, created_at", "\(tenant), \(own), \(run), 'cancel', i"),
            Seed(
                "agent_steps", 10_000, "tenant_id, id, run_id, position, kind, status, attempt, started_at",
                "\(tenant), \(own), \(run), i / 5000 + 1, 'model', 'finished', 1, i"),
            Seed(
                "tool_calls", 10_000,
                "tenant_id, id, run_id, step_id, ordinal, name, arguments, state, attempt, token, created_at",
                "\(tenant), 'call' || i, \(run), \(own), 0, 'calculator', '{}', 'succeeded', 1, 1, i"),
            Seed(
                "jobs", 10_000,
                """
                id, tenant_id, kind, subject, state, start_tag, attempt, maximum_attempts, token, run_at, lease_until,
                created_at, finished_at
                """,
                "\(own), \(tenant), '\(kind.rawValue)', \(run), \(jobState), i, 1, 9, 1, i, i, i, CASE WHEN i >= 2500 THEN i END"),
            Seed("job_queues", 1, "kind", "'\(kind.rawValue)'"),
            Seed(
                "documents", 2000,
                "tenant_id, id, title, collection, metadata, media_type, byte_count, status, created_at, updated_at",
                "\(tenant), \(own), 'Handbook', 'c' || (i / 50 % 8), '{}', 'text/plain', 9, 'ready', i, i"),
            Seed(
                "document_contents", 2000, "tenant_id, document_id, content",
                "\(tenant), \(own), \(isPostgres ? "'text'" : "X'74657874'")"),
            Seed(
                "chunks", 20_000, "tenant_id, id, document_id, ordinal, title, heading, text",
                """
                \(tenant), \(own), \(document), i / 2000, 'Handbook', 'Topic ' || (i % 97),
                'The harbour of topic' || (i % 97) || ' opens at ' || i
                """),
        ] + accounts(own: own, tenant: tenant, session: session, run: run) + automation(id)
    }
}
