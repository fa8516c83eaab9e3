import Accounts
import Agents
import Automation
import Coordination
import Domain
import Foundation
import Logging
import Models
import Queue
import Storage
import TestSupport
import Testing

/// Asks the accounts, as the platform does.
private struct MembershipAuthorizer: RunAuthorizer {
    let accounts: AccountService

    func isAllowed(_ principal: Principal, scope: String?) async throws -> Bool {
        try await accounts.isAllowed(principal, scope: scope)
    }
}

/// The services around schedules, and workers that the test runs by hand.
struct ScheduleBench {
    let database: TestDatabase
    let clock: ManualClock
    let principal: Principal
    let runs: RunService
    let service: ScheduleService
    let scheduler: Scheduler
    let handler: ScheduleHandler

    var tenant: TenantID { principal.tenant }

    /// - Parameter isManual: whether the clock stands still, at 08:00 of a Friday, until the test moves it.
    static func with(
        _ engine: TestEngine = .sqliteInMemory, isManual: Bool = true, _ work: (ScheduleBench) async throws -> Void
    ) async throws {
        let clock = ManualClock()
        let ambient = isManual ? clock.ambient : .system
        try await TestDatabase.with(engine, ambient: ambient) { database in
            let hasher = PasswordHasher(logCost: 6)
            defer { hasher.close() }
            let signingKeys = SigningKeys(
                store: database.signingKeys, sealer: SecretSealer(secret: SecretSealer.makeSecret()), ambient: ambient)
            let accounts = AccountService(
                store: database.accounts, keys: database.apiKeys, hasher: hasher,
                tokens: try await TokenService(keys: try await signingKeys.load(), now: ambient.now), signingKeys: signingKeys,
                policy: .open, mailer: FakeMailer(), limiter: InProcessRateLimiter())
            let models = ModelCatalog(providers: ["test": ScriptedChatModel([])], defaultModel: "test/model")
            let runs = RunService(
                store: database.runs, models: models, tools: try ToolCatalog([]), bus: InProcessEventBus(), jobs: Signal(),
                ambient: ambient)
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let bench = ScheduleBench(
                database: database, clock: clock, principal: try await database.makePrincipal(), runs: runs,
                service: ScheduleService(store: database.schedules, runs: runs, available: Signal(), ambient: ambient),
                scheduler: Scheduler(store: database.schedules, available: Signal(), ambient: ambient, logger: logger),
                handler: ScheduleHandler(
                    store: database.schedules, runs: runs, authorizer: MembershipAuthorizer(accounts: accounts),
                    logger: logger))
            try await work(bench)
        }
    }

    func create(
        _ cron: String = "0 * * * *", missed: Schedule.Missed = .once, isPaused: Bool = false,
        request: RunRequest = RunRequest(prompt: "Tidy up"), by principal: Principal? = nil
    ) async throws -> Schedule {
        let wanted = ScheduleChange(name: "Tidy up", cron: cron, missed: missed, request: request, isPaused: isPaused)
        return try await service.create(principal ?? self.principal, wanted, requester: .server)
    }

    /// A member whom the owner can remove.
    func join(_ role: Role = .member, scopes: [String] = ["runs:*", "schedules:*"]) async throws -> Principal {
        let now = database.ambient.now()
        let user = User(id: UserID(database.ambient.makeID()), email: "\(UUID())@example.com".lowercased(), createdAt: now)
        let standing = try await database.accounts.admit(
            issuer: "https://issuer.example.com", subject: "\(user.id)", new: user, tenant: tenant, role: role,
            audit: .test(.memberJoined, in: tenant))
        return Principal(tenant: tenant, user: standing.membership.user, scopes: scopes)
    }

    func claim() async throws -> [JobLease] { try await database.jobs.claim(ScheduleHandler.kind, limit: 100) }

    /// Works on a job as a worker does.
    func work(on lease: JobLease) async throws {
        let outcome = try await handler.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
        if case .completed = outcome { #expect(try await database.jobs.complete([lease]) == [lease]) }
    }

    func workAll() async throws {
        for lease in try await claim() { try await work(on: lease) }
    }

    /// The firings of a schedule, in the order of their times.
    func firings(of schedule: Schedule) async throws -> [ScheduleFiring] {
        let page = try await service.firings(principal, of: schedule.id, page: PageRequest(limit: 100))
        #expect(page.next == nil)
        return page.items.sorted { $0.time < $1.time }
    }

    func allRuns() async throws -> [Run] {
        try await database.runs.runs(tenant: tenant, status: nil, page: PageRequest(limit: 100)).items
    }

    func now(_ schedule: Schedule) async throws -> Schedule { try await service.schedule(principal, schedule.id) }
}
