import Accounts
import Agents
import Automation
import Coordination
import CoreMetrics
import Domain
import Foundation
import Knowledge
import Logging
import Models
import Operations
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
    /// Of every kind of job there is.
    private static let queues = [KnowledgeRepository.indexJob, RunExecutor.kind, ScheduleHandler.kind, WebhookHandler.kind]
    static var queueNames: [String] { queues.map(\.rawValue) }
    /// What of an ended job could be retried has ended with it.
    private static let instead: [JobKind: String] = [
        RunExecutor.kind: "The run has ended with its job. Start it again: POST /api/agent/runs.",
        ScheduleHandler.kind: "The firing has failed with its job. Run the schedule: POST /api/schedules/{id}/run.",
        WebhookHandler.kind:
            "The delivery has ended with its job. Replay it: POST /api/webhooks/{id}/deliveries/{delivery}/replay.",
    ]

    let jobs: JobRepository
    private let queueStore: QueueRepository
    let runs: RunRepository
    /// Wakes this process's worker.
    private let signal = Signal()
    /// Notified when a job became available.
    private let enqueued: Signal
    private let isHeldAlone: Bool
    private let wakeUp: JobWakeUp?
    private let scheduleStore: ScheduleRepository
    private let webhookStore: WebhookRepository
    /// Seals what rests in the database.
    private let sealer: SecretSealer
    /// Leads to the addresses that tenants name, and not inward.
    private let outward: OutwardHTTP
    private let hasher: PasswordHasher
    private let models: ModelCatalog
    private let tools: ToolCatalog
    private let registry: MetricsRegistry
    private let bus = InProcessEventBus()
    /// Present where other processes have clocks of their own.
    private let clock: DatabaseClock?
    private let ambient: Ambient

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
        clock = isHeldAlone ? nil : DatabaseClock(engine: database.engine, logger: logger)
        try await clock?.measure()
        ambient = clock?.ambient ?? .system
        wakeUp = database.postgres.map { JobWakeUp(engine: $0, listen: database.listen, ambient: .system, logger: logger) }
        enqueued = Signal(passingOnTo: signal)
        let cache = isHeldAlone ? StandingCacheHandle() : nil
        sealer = SecretSealer(secret: database.secret, previous: database.otherSecret)
        let signingKeys = SigningKeys(store: SigningKeyRepository(engine: engine), sealer: sealer, ambient: ambient)
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
            publicURL: configuration.publicURL, ambient: ambient)
        erasure = ErasureService(store: ErasureRepository(engine: engine, cache: cache), accounts: accounts)
        knowledge = KnowledgeRepository(engine: engine, ambient: ambient)
        jobs = JobRepository(engine: engine)
        queueStore = QueueRepository(engine: engine)
        runs = RunRepository(engine: engine, ambient: ambient)
        scheduleStore = ScheduleRepository(engine: engine)
        webhookStore = WebhookRepository(engine: engine)
        outward = OutwardHTTP(allowed: configuration.webhookNetworks)
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
        try await queueStore.register(Self.queues)
        // Where this process alone holds the database, whoever held a job is gone.
        let rescued = try await jobs.rescue(all: isHeldAlone)
        if rescued > 0 { logger.notice("Going on with interrupted jobs.", metadata: ["count": "\(rescued)"]) }
        let worker = configuration.worker == .off ? nil : makeWorker()
        // Shutdown goes from the end: streams end, then requests, then work.
        var services: [NamedService] = []
        if let worker { services.append(NamedService("worker", worker)) }
        let watch = try watch(worker, onReady: configuration.worker == .only ? onReady : nil)
        if let watch { services.append(NamedService("metrics", watch)) }
        if configuration.worker != .only {
            let gateway = LiveGateway(store: runs, bus: bus)
            let web = WebServer(
                services: self.services(gateway), http: configuration.http, version: Version.text, ambient: ambient)
            let application = try web.application(
                host: configuration.host, port: configuration.port, logger: logger, onRunning: onReady)
            services += [
                NamedService("http", application), NamedService("gateway", gateway),
                NamedService("signing-keys", signingKeyWatch),
            ]
        }
        let retention = RetentionService(
            store: RetentionRepository(engine: engine, ambient: ambient), policy: configuration.retention, logger: logger)
        if worker != nil { services += [NamedService("retention", retention.service)] + automation }
        if let clock { services.append(NamedService("clock", clock.service)) }
        if let wakeUp { services.append(NamedService("wake-up", wakeUp.service(enqueued: enqueued, worker: signal))) }
        var group = ServiceGroupConfiguration(
            services: services.map { .init(service: $0) },
            gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        group.maximumGracefulShutdownDuration = configuration.drain + Self.shutdownMargin
        try await ServiceGroup(configuration: group).run()
    }

    /// What begins work by itself.
    private var automation: [NamedService] {
        [
            NamedService(
                "schedules",
                Scheduler(store: scheduleStore, available: enqueued, ambient: ambient, logger: logger).service),
            NamedService(
                "events",
                EventDispatcher(store: webhookStore, available: enqueued, ambient: ambient, logger: logger).service),
        ]
    }

    /// Takes over signing keys that another process has added, well before they sign.
    private var signingKeyWatch: PeriodicService {
        PeriodicService(
            every: .seconds(30), failure: "The signing keys could not be read.", logger: logger, work: accounts.reloadSigningKeys)
    }

    private var runService: RunService {
        RunService(store: runs, models: models, tools: tools, bus: bus, jobs: enqueued, ambient: ambient)
    }

    /// The second port, unless its default is taken and nobody asked for it.
    private func watch(
        _ worker: JobWorker?, onReady: (@Sendable (Int) async -> Void)?
    ) throws -> (any Service)? {
        let choice = configuration.metrics
        if choice.port != 0, !isFree(host: choice.host, port: choice.port) {
            guard choice.isDefault, onReady == nil else {
                throw Problem(
                    .storageUnavailable,
                    "Port \(choice.port) of \(choice.host), for metrics, is taken. Set SBA_METRICS_PORT, 0 for any free one.")
            }
            logger.warning("The port for metrics is taken; there is none.", metadata: ["port": "\(choice.port)"])
            return nil
        }
        let server = MetricsServer(
            token: choice.token, metrics: { await metrics(worker) }, workers: { await queueMetrics(worker) },
            health: { await health() })
        return server.application(host: choice.host, port: choice.port, logger: logger) { port in
            logger.notice("Metrics are served.", metadata: ["host": "\(choice.host)", "port": "\(port)"])
            await onReady?(port)
        }
    }

    /// What a shutdown may take besides the time that running work is given.
    private static let shutdownMargin: Duration = .seconds(5)

    private func services(_ gateway: LiveGateway) -> WebServer.Services {
        WebServer.Services(
            accounts: accounts, erasure: erasure,
            audit: AuditService(store: AuditRepository(engine: engine), ambient: ambient),
            usage: UsageRepository(engine: engine),
            runs: runService, knowledge: knowledge, gateway: gateway,
            queues: QueueService(store: queueStore, instead: Self.instead, available: enqueued, ambient: ambient),
            schedules: ScheduleService(store: scheduleStore, runs: runService, available: enqueued, ambient: ambient),
            webhooks: WebhookService(
                store: webhookStore, sealer: sealer, http: outward, available: enqueued, ambient: ambient),
            events: MetaEventService(store: MetaEventRepository(engine: engine), ambient: ambient), jobs: enqueued,
            health: { await health() }, metrics: { await metrics(nil) })
    }

    private func makeWorker() -> JobWorker {
        var pace = JobWorkerConfiguration()
        pace.name = "\(ProcessInfo.processInfo.hostName):\(ProcessInfo.processInfo.processIdentifier)"
        pace.drain = configuration.drain
        let authorizer = MembershipAuthorizer(accounts: accounts)
        let executor = RunExecutor(
            store: runs, bus: bus, models: models, tools: tools, authorizer: authorizer, slots: configuration.workerSlots,
            ambient: ambient,
            logger: logger)
        let indexer = IndexJobHandler(indexer: DocumentIndexer(store: knowledge))
        let handlers: [any JobHandler] = [
            executor, indexer,
            ScheduleHandler(store: scheduleStore, runs: runService, authorizer: authorizer, logger: logger),
            WebhookHandler(store: webhookStore, sealer: sealer, http: outward, ambient: ambient),
        ]
        return JobWorker(
            store: jobs, handlers: handlers.filter { configuration.queues?.contains($0.kind.rawValue) ?? true },
            configuration: pace, signal: signal, ambient: ambient, logger: logger)
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

    /// All that is counted here.
    private func metrics(_ worker: JobWorker?) async -> String {
        var samples = ProcessMetrics.samples()
        samples.append(.init("sba_build_info", [("version", Version.text)], 1))
        samples.append(.init("sba_storage_commits_total", [], Double(engine.commitCount)))
        samples += await queueSamples(worker)
        for (status, count) in (try? await runs.depths()) ?? [:] {
            samples.append(.init("sba_runs", [("status", status.rawValue)], Double(count)))
        }
        return registry.exposition(samples: samples)
    }

    /// What of it belongs to queues.
    private func queueMetrics(_ worker: JobWorker?) async -> String {
        registry.exposition(samples: await queueSamples(worker)) { $0.hasPrefix("sba_job") }
    }

    private func queueSamples(_ worker: JobWorker?) async -> [MetricsRegistry.Sample] {
        let now = ambient.now()
        let queues = (try? await queueStore.queues()) ?? []
        return queues.flatMap { queue -> [MetricsRegistry.Sample] in
            let name = ("queue_name", queue.kind.rawValue)
            let oldest = queue.depths.first { $0.state == .available }?.oldest
            return queue.depths.map { .init("sba_jobs", [name, ("state", $0.state.rawValue)], Double($0.count)) } + [
                .init("sba_queue_lag_seconds", [name], oldest.map { max(0, now.duration(since: $0).milliseconds / 1000) } ?? 0),
                .init("sba_queue_paused", [name], queue.pausedAt == nil ? 0 : 1),
            ]
        } + (worker?.active ?? [:]).map { .init("sba_jobs_active", [("queue_name", $0.key.rawValue)], Double($0.value)) }
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
