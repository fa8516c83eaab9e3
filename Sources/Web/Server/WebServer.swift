import Accounts
import Agents
import Automation
import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdHTTP2
import Knowledge
import Logging
import NIOCore
import Operations

/// The HTTP interface: every route, who may use it, and the server that carries them.
public struct WebServer: Sendable {
    /// All headers of one request.
    static let maximumHeaderBytes = 32 * 1024
    static let maximumHeaderCount = 100

    /// What the routes work with.
    public struct Services: Sendable {
        public let accounts: AccountService
        public let erasure: ErasureService
        public let audit: AuditService
        public let usage: any UsageStore
        public let runs: RunService
        public let knowledge: any KnowledgeStore
        public let gateway: LiveGateway
        public let queues: QueueService
        public let schedules: ScheduleService
        public let webhooks: WebhookService
        public let events: MetaEventService
        /// Notified when a job became available.
        public let jobs: Signal
        public let health: @Sendable () async -> HealthReport
        /// Prometheus' text.
        public let metrics: @Sendable () async -> String

        public init(
            accounts: AccountService, erasure: ErasureService, audit: AuditService, usage: any UsageStore, runs: RunService,
            knowledge: any KnowledgeStore, gateway: LiveGateway, queues: QueueService, schedules: ScheduleService,
            webhooks: WebhookService, events: MetaEventService, jobs: Signal,
            health: @escaping @Sendable () async -> HealthReport,
            metrics: @escaping @Sendable () async -> String
        ) {
            self.accounts = accounts
            self.erasure = erasure
            self.audit = audit
            self.usage = usage
            self.runs = runs
            self.knowledge = knowledge
            self.gateway = gateway
            self.queues = queues
            self.schedules = schedules
            self.webhooks = webhooks
            self.events = events
            self.jobs = jobs
            self.health = health
            self.metrics = metrics
        }
    }

    private let services: Services
    private let http: HTTPConfiguration
    private let ambient: Ambient
    public let routes: [APIRoute]

    public init(
        services: Services, http: HTTPConfiguration = HTTPConfiguration(), version: String, ambient: Ambient = .system
    ) {
        self.services = services
        self.http = http
        self.ambient = ambient
        let (accounts, erasure) = (services.accounts, services.erasure)
        routes =
            AuthRoutes(accounts: accounts, erasure: erasure).routes
            + TenantRoutes(accounts: accounts, erasure: erasure).routes
            + AuditRoutes(audit: services.audit, usage: services.usage, ambient: ambient).routes
            + PlatformRoutes(accounts: accounts, erasure: erasure).routes
            + QueueRoutes(queues: services.queues).routes
            + RunRoutes(runs: services.runs, gateway: services.gateway).routes
            + ScheduleRoutes(schedules: services.schedules).routes
            + WebhookRoutes(webhooks: services.webhooks).routes
            + MetaEventRoutes(events: services.events).routes
            + KnowledgeRoutes(
                store: services.knowledge, search: KnowledgeSearch(store: services.knowledge), ambient: ambient,
                jobs: services.jobs
            ).routes
            + DocumentationRoutes().routes
            + OperationRoutes(version: version, health: services.health, metrics: services.metrics).routes
    }

    /// The routes behind the request observer and each route's access check.
    public func router() -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
        let cors = CORSPolicy(origins: http.corsOrigins, accounts: services.accounts)
        router.add(middleware: RequestObserver(routes: routes, cors: cors, http: http, ambient: ambient))
        for route in routes {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                try await respond(route, request, context)
            }
        }
        return router
    }

    private func respond(_ route: APIRoute, _ request: Request, _ context: APIContext) async throws -> Response {
        guard route.access != .open else { return try await route.handler(request, context) }
        let principal = try await authenticate(request, context)
        context.caller.principal = principal
        switch route.access {
        case .open, .signedIn: break
        case .person:
            guard case .signIn = principal.credential else { throw AccountService.onlyPeople }
        case .scope(let scope):
            guard principal.may(scope) else {
                throw Problem(.forbidden, "This needs the permission \(scope), which you do not have here.")
            }
        }
        return try await route.handler(request, context)
    }

    private func authenticate(_ request: Request, _ context: APIContext) async throws -> Principal {
        guard let header = request.headers[.authorization] else {
            throw Problem(.tokenMissing, "Send an access token as Authorization: Bearer ….")
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Problem(.tokenInvalid, "The Authorization header must be: Bearer, a space, and the access token.")
        }
        return try await services.accounts.authenticate(
            token: String(parts[1]), tenant: try request.tenant(), requester: context.requester)
    }

    /// The server as a service; it stops taking connections on graceful shutdown and lets requests end.
    ///
    /// - Parameter onRunning: told the port once connections are taken.
    /// - Throws: what is wrong with the certificate or its key.
    public func application(
        host: String, port: Int, logger: Logger, onRunning: @escaping @Sendable (Int) async -> Void
    ) throws -> some ApplicationProtocol {
        Application(
            router: router(), server: try builder(),
            configuration: .init(
                address: .hostname(host, port: port), serverName: nil,
                availableConnectionsDelegate: MaximumAvailableConnections(http.maximumConnections)),
            onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? port) },
            logger: logger)
    }

    /// HTTP/1.1, or over TLS what the client chooses of HTTP/2 and HTTP/1.1 (RFC 7301).
    private func builder() throws -> HTTPServerBuilder {
        let channel = HTTP1Channel.Configuration(
            additionalChannelHandlers: [ConnectionGuard(isSecure: http.tls != nil)],
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: Self.maximumHeaderBytes, maxHeaderListSize: Self.maximumHeaderBytes,
                maxHeaderFieldCount: Self.maximumHeaderCount))
        guard let tls = http.tls else { return .http1(configuration: channel) }
        return try .http2Upgrade(
            tlsConfiguration: try tls.configuration(),
            configuration: .init(idleTimeout: .seconds(75), streamConfiguration: channel))
    }
}
