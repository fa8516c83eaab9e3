import Accounts
import Agents
import Automation
import Domain
import Foundation
import Queue
import Storage
import Synchronization

/// The engines that every storage test runs on.
public enum TestEngine: String, CaseIterable, Sendable {
    case sqliteInMemory
    case sqliteFile
    case postgres18
    /// Over TLS.
    case postgres15
    /// PostgreSQL 18 behind PgBouncer, which may use another connection for every transaction. Over TLS.
    case pgBouncer

    public static let embedded: [TestEngine] = [.sqliteInMemory, .sqliteFile]
    public static let postgres = allCases.filter(\.isPostgres)

    public var isPostgres: Bool { !Self.embedded.contains(self) }
}

/// A migrated, empty database and the repositories over it.
public struct TestDatabase: Sendable {
    public let engine: CountingEngine
    public let accounts: AccountRepository
    public let signingKeys: SigningKeyRepository
    public let apiKeys: APIKeyRepository
    public let audit: AuditRepository
    public let usage: UsageRepository
    public let erasure: ErasureRepository
    public let jobs: JobRepository
    public let queues: QueueRepository
    public let runs: RunRepository
    public let knowledge: KnowledgeRepository
    public let schedules: ScheduleRepository
    public let webhooks: WebhookRepository
    public let metaEvents: MetaEventRepository
    public let ambient: Ambient
    /// How else to reach it, where it is PostgreSQL's.
    public let urls: TestPostgres.URLs?

    /// Opens a database, lends it, and closes and removes it.
    public static func with(
        _ kind: TestEngine = .sqliteInMemory, ambient: Ambient = .system,
        _ work: (TestDatabase) async throws -> Void
    ) async throws {
        if kind.isPostgres {
            try await TestPostgres.withDatabase(on: kind) { urls in
                try await with(urls.engine(), urls, ambient, work)
            }
        } else {
            let folder = TemporaryFolder()
            let engine = try SQLiteEngine(path: kind == .sqliteFile ? folder.path + "/test.sqlite" : nil, ambient: ambient)
            _ = try await Migrator(target: engine).migrate()
            try await with(engine, nil, ambient, work)
            withExtendedLifetime(folder) {}
        }
    }

    private static func with(
        _ engine: any SQLEngine, _ urls: TestPostgres.URLs?, _ ambient: Ambient, _ work: (TestDatabase) async throws -> Void
    ) async throws {
        let engine = CountingEngine(engine)
        let cache = urls == nil ? StandingCacheHandle() : nil
        let database = TestDatabase(
            engine: engine, accounts: AccountRepository(engine: engine, cache: cache),
            signingKeys: SigningKeyRepository(engine: engine), apiKeys: APIKeyRepository(engine: engine),
            audit: AuditRepository(engine: engine), usage: UsageRepository(engine: engine),
            erasure: ErasureRepository(engine: engine, cache: cache),
            jobs: JobRepository(engine: engine), queues: QueueRepository(engine: engine),
            runs: RunRepository(engine: engine, ambient: ambient),
            knowledge: KnowledgeRepository(engine: engine, ambient: ambient),
            schedules: ScheduleRepository(engine: engine), webhooks: WebhookRepository(engine: engine),
            metaEvents: MetaEventRepository(engine: engine), ambient: ambient, urls: urls)
        do {
            try await work(database)
        } catch {
            await engine.close()
            throw error
        }
        await engine.close()
    }

    /// Lets time pass for every job: the clock of PostgreSQL is its own.
    public func pass(_ time: Duration) async throws {
        let earlier = SQLStatement(
            "UPDATE jobs SET run_at = run_at - ?1, lease_until = lease_until - ?1 WHERE state <> 'completed'",
            [.int(time.microseconds)])
        _ = try await engine.write(Batch(.system, [earlier]))
    }

    /// A new tenant with an owner: one a test, so that tests cannot see each other.
    public func makePrincipal(scopes: [String] = ["*"]) async throws -> Principal {
        let now = ambient.now()
        let user = User(id: UserID(ambient.makeID()), email: "\(UUID())@example.com".lowercased(), createdAt: now)
        let tenant = Tenant(id: TenantID(ambient.makeID()), name: "Test", createdAt: now)
        try await accounts.create(user, passwordHash: "none", tenant: tenant, role: .owner, onlyFirst: false, audit: [])
        return Principal(tenant: tenant.id, user: user.id, scopes: scopes)
    }

    /// A sign-in of a member, as signing in begins one.
    public func makeSignIn(_ principal: Principal) async throws -> SignInID {
        let token = RefreshToken(
            hash: OpaqueToken(.refresh).hash, signIn: SignInID(ambient.makeID()), user: principal.user,
            tenant: principal.tenant, expiresAt: ambient.now().adding(RefreshToken.lifetime))
        try await accounts.begin(token, audit: .test(.signedIn, in: principal.tenant))
        return token.signIn
    }

    /// A run as the API would make it.
    public func newRun(
        _ principal: Principal, prompt: String = "Hello", id: RunID? = nil, session: SessionID? = nil,
        options: RunOptions = RunOptions(model: "test/model", tools: []), key: (key: String, digest: String)? = nil
    ) -> NewRun {
        let id = id ?? RunID(ambient.makeID())
        return NewRun(
            id: id, session: session, newSession: SessionID(ambient.makeID()), principal: principal,
            trace: Trace(requestID: "test"), prompt: prompt, options: options,
            job: NewJob(id: JobID(ambient.makeID()), kind: RunExecutor.kind, subject: id.uuid, maximumAttempts: 100),
            idempotency: key)
    }
}

extension AuditEntry {
    /// The row of an operator's change of a queue.
    public static func test() -> AuditEntry { test(.queueChanged, in: nil) }

    /// A row that some change is written with.
    public static func test(
        _ action: AuditAction, in tenant: TenantID?, by user: UserID? = nil, target: String? = nil,
        at time: Timestamp = Ambient.system.now()
    ) -> AuditEntry {
        AuditEntry(
            id: AuditID(.version7(at: time)), tenant: tenant,
            requester: Requester(user: user, address: "192.0.2.7", requestID: "test"), action: action, target: target,
            time: time)
    }
}

extension ScheduleStore {
    /// The first that are due.
    public func due(limit: Int) async throws -> [DueSchedule] { try await due(after: nil, limit: limit) }
}

extension WebhookStore {
    /// The first that are pending.
    public func pending(limit: Int) async throws -> [PendingEvent] { try await pending(after: nil, limit: limit) }
}

extension JobStore {
    /// Claims from one queue.
    public func claim(_ kind: JobKind, limit: Int = 10, lease: Duration = .seconds(30)) async throws -> [JobLease] {
        try await claim([JobClaim(kind: kind, limit: limit)], lease: lease, worker: "test")
    }

    @discardableResult
    public func enqueue(tenant: TenantID, _ job: NewJob) async throws -> Set<JobID> {
        try await enqueue(tenant: tenant, [job])
    }
}

extension AccountStore {
    /// Stores a user with a tenant of their own, which no audit row tells of.
    public func create(_ user: User, passwordHash: String, tenant: Tenant, role: Role, onlyFirst: Bool) async throws {
        try await create(
            user, passwordHash: passwordHash, tenant: tenant, role: role, onlyFirst: onlyFirst, audit: [])
    }
}

/// Keeps what is sent in memory.
public final class FakeMailer: Mailer {
    private let mails = Mutex<[Mail]>([])

    public init() {}

    public var sent: [Mail] { mails.withLock { $0 } }

    public func send(_ mail: Mail) async throws { mails.withLock { $0.append(mail) } }
    public func forget(address: String) async throws { mails.withLock { $0.removeAll { $0.to == address } } }
    public func forget(tenant: TenantID) async throws { mails.withLock { $0.removeAll { $0.tenant == tenant } } }
}

/// A folder that is removed with its last owner.
public final class TemporaryFolder: Sendable {
    public let path: String

    public init() {
        path = NSTemporaryDirectory() + "sba-test-\(UUID().uuidString)"
        // A test that cannot make a folder fails at its first use of it.
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
