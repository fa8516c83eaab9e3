import Accounts
import Agents
import Coordination
import CoreMetrics
import Domain
import Foundation
import Knowledge
import Logging
import Models
import Queue
import ServiceLifecycle
import Storage
import Telemetry
import UnixSignals
import Web

/// The whole server, put together: the one place that knows every part.
struct Platform {
    let configuration: ServerConfiguration
    let logger: Logger
    let engine: any SQLEngine
    let accounts: AccountService
    private let erasure: ErasureService
    let knowledge: KnowledgeRepository
    let jobs: JobRepository
    let runs: RunRepository
    /// Wakes this process's worker.
    private let signal = Signal()
    /// Notified when a job became available.
    private let enqueued: Signal
    private let isHeldAlone: Bool
    private let wakeUp: JobWakeUp?
    private let hasher: PasswordHasher
    private let models: ModelCatalog
    private let tools: ToolCatalog
    private let registry: MetricsRegistry
    private let bus = InProcessEventBus()
    private let ambient = Ambient.system

    /// Builds every part on the database.
    ///
    /// - Parameter http: whoever makes it shuts it down after `close`.
    init(
        configuration: ServerConfiguration, database: borrowing Database, registry: MetricsRegistry,
        http: HTTPClientTransport, logger: Logger
    ) async throws {
        self.configuration = configuration
        self.logger = logger
        self.registry = registry
        engine = database.engine
        isHeldAlone = database.isHeldAlone
        wakeUp = database.postgres.map { JobWakeUp(engine: $0, listen: database.listen, ambient: .system, logger: logger) }
        enqueued = Signal(passingOnTo: signal)
        let cache = isHeldAlone ? StandingCacheHandle() : nil
        let signingKeys = SigningKeys(
            store: SigningKeyRepository(engine: engine),
            sealer: SecretSealer(secret: database.secret, previous: database.otherSecret), ambient: ambient)
        let tokens = try await TokenService(keys: try await signingKeys.load(), now: ambient.now)
        hasher = PasswordHasher()
        let mailer: any Mailer =
            if let folder = database.mailFolder { FileMailer(folder: folder, ambient: ambient, logger: logger) } else {
                NoMailer(logger: logger)
            }
        accounts = AccountService(
            store: AccountRepository(engine: engine, cache: cache), keys: APIKeyRepository(engine: engine), hasher: hasher,
            tokens: tokens, signingKeys: signingKeys,
            issuers: TrustedIssuers(configuration.issuers, source: HTTPKeySetSource(http: http)),
            policy: configuration.registration,
            mailer: mailer, limiter: InProcessRateLimiter(), limits: configuration.signInLimits,
            publicURL: configuration.publicURL)
        erasure = ErasureService(store: ErasureRepository(engine: engine, cache: cache), accounts: accounts)
        knowledge = KnowledgeRepository(engine: engine)
        jobs = JobRepository(engine: engine)
        runs = RunRepository(engine: engine)
        models = Self.models(configuration, http: http, logger: logger)
        tools = try Self.tools(configuration, http: http, knowledge: KnowledgeSearch(store: knowledge))
    }

    private static func models(_ configuration: ServerConfiguration, http: any OutgoingHTTP, logger: Logger) -> ModelCatalog {
        var providers: [String: any ChatModel] = ["local": ExtractiveChatModel()]
        if let openAI = configuration.openAI {
            providers["openai"] = OpenAIChatModel(configuration: openAI, http: http, logger: logger)
        }
        return ModelCatalog(providers: providers, defaultModel: configuration.defaultModel)
    }

    private static func tools(
        _ configuration: ServerConfiguration, http: any OutgoingHTTP, knowledge: KnowledgeSearch
    ) throws -> ToolCatalog {
        var tools: [any Tool] = [
            try KnowledgeSearchTool(search: knowledge), try CalculatorTool(), try CurrentTimeTool(),
        ]
        if let file = configuration.toolsFile {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
            tools += try HTTPTool.tools(declaredBy: Array(bytes), http: http)
        }
        return try ToolCatalog(tools)
    }

    // MARK: Running

    /// Serves until a signal or a failure; `onReady` is told the port.
    func run(onReady: @escaping @Sendable (Int) async -> Void) async throws {
        // Where this process alone holds the database, whoever held a job is gone.
        let rescued = try await jobs.rescue(all: isHeldAlone)
        if rescued > 0 { logger.notice("Going on with interrupted jobs.", metadata: ["count": "\(rescued)"]) }
        let gateway = LiveGateway(store: runs, bus: bus)
        let web = WebServer(services: services(gateway), http: configuration.http, version: Version.text)
        let application = try web.application(
            host: configuration.host, port: configuration.port, logger: logger, onRunning: onReady)
        // Shutdown goes from the end: streams end, then requests, then work.
        var services = [
            NamedService("worker", worker()), NamedService("http", application), NamedService("gateway", gateway),
            NamedService("signing-keys", SigningKeyWatch(accounts: accounts, logger: logger)),
        ]
        if let wakeUp { services.append(NamedService("wake-up", wakeUp.service(enqueued: enqueued, worker: signal))) }
        var group = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) },
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = configuration.drain + Self.shutdownMargin
        try await ServiceGroup(configuration: group).run()
    }

    /// What a shutdown may take besides the time that running work is given.
    private static let shutdownMargin: Duration = .seconds(5)

    private func services(_ gateway: LiveGateway) -> WebServer.Services {
        WebServer.Services(
            accounts: accounts, erasure: erasure, audit: AuditService(store: AuditRepository(engine: engine)),
            usage: UsageRepository(engine: engine),
            runs: RunService(store: runs, models: models, tools: tools, bus: bus, jobs: enqueued),
            knowledge: knowledge, gateway: gateway, jobs: enqueued, health: { await health() },
            metrics: { await metrics() })
    }

    private func worker() -> JobWorker {
        var pace = JobWorkerConfiguration()
        pace.name = "\(ProcessInfo.processInfo.hostName):\(ProcessInfo.processInfo.processIdentifier)"
        pace.drain = configuration.drain
        let executor = RunExecutor(
            store: runs, bus: bus, models: models, tools: tools,
            authorizer: MembershipAuthorizer(accounts: accounts), slots: configuration.workerSlots, logger: logger)
        let indexer = IndexJobHandler(indexer: DocumentIndexer(store: knowledge))
        return JobWorker(
            store: jobs, handlers: [executor, indexer], configuration: pace, signal: signal, logger: logger)
    }

    private func health() async -> HealthReport {
        do {
            // Both roles of PostgreSQL; any tenant will do.
            for scope in [Batch.Scope.system, .tenant(TenantID(ambient.makeID()))] {
                _ = try await engine.read(Batch(scope, [SQLStatement("SELECT 1")]))
            }
            return HealthReport(checks: [.init(name: "storage", isHealthy: true)])
        } catch {
            return HealthReport(checks: [.init(name: "storage", isHealthy: false, detail: "The database does not answer.")])
        }
    }

    private func metrics() async -> String {
        var samples = ProcessMetrics.samples()
        samples.append(.init("sba_build_info", [("version", Version.text)], 1))
        samples.append(.init("sba_storage_commits_total", [], Double(engine.commitCount)))
        for depth in (try? await jobs.depths()) ?? [] {
            samples.append(
                .init("sba_jobs", [("queue_name", depth.kind.rawValue), ("state", depth.state.rawValue)], Double(depth.count)))
        }
        for (status, count) in (try? await runs.depths()) ?? [:] {
            samples.append(.init("sba_runs", [("status", status.rawValue)], Double(count)))
        }
        return registry.exposition(samples: samples)
    }

    /// Closes what the services worked with; call after `run`.
    func close() async {
        hasher.close()
        await engine.close()
    }
}

/// Asks the accounts whether a run's principal may still do something.
private struct MembershipAuthorizer: RunAuthorizer {
    let accounts: AccountService

    func isAllowed(_ principal: Principal, scope: String?) async throws -> Bool {
        try await accounts.isAllowed(principal, scope: scope)
    }
}

/// Indexes documents as jobs.
private struct IndexJobHandler: JobHandler {
    let indexer: DocumentIndexer

    /// Indexing keeps a core busy, and a whole document in memory.
    let policy = JobPolicy(slots: 4, timeout: .seconds(300))

    var kind: JobKind { KnowledgeRepository.indexJob }

    func handle(_ context: JobContext) async throws -> JobOutcome {
        try await indexer.index(tenant: context.lease.tenant, DocumentID(context.lease.subject))
        return .completed
    }

    func giveUp(_ lease: JobLease, reason: String) async throws {
        try await indexer.giveUp(tenant: lease.tenant, DocumentID(lease.subject))
    }
}
