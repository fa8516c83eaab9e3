import Accounts
import Agents
import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Knowledge
import Logging
import NIOCore

/// The HTTP interface: every route, who may use it, and the server that carries them.
public struct WebServer: Sendable {
    /// All headers of one request.
    static let maximumHeaderBytes = 32 * 1024
    static let maximumHeaderCount = 100

    /// What the routes work with.
    public struct Services: Sendable {
        public let accounts: AccountService
        public let runs: RunService
        public let knowledge: any KnowledgeStore
        public let gateway: LiveGateway
        /// Notified when a job became available.
        public let jobs: Signal
        public let health: @Sendable () async -> HealthReport
        /// Prometheus' text.
        public let metrics: @Sendable () async -> String

        public init(
            accounts: AccountService, runs: RunService, knowledge: any KnowledgeStore, gateway: LiveGateway,
            jobs: Signal, health: @escaping @Sendable () async -> HealthReport,
            metrics: @escaping @Sendable () async -> String
        ) {
            self.accounts = accounts
            self.runs = runs
            self.knowledge = knowledge
            self.gateway = gateway
            self.jobs = jobs
            self.health = health
            self.metrics = metrics
        }
    }

    private let services: Services
    private let ambient: Ambient
    public let routes: [APIRoute]

    public init(services: Services, version: String, ambient: Ambient = .system) {
        self.services = services
        self.ambient = ambient
        routes =
            AuthRoutes(accounts: services.accounts).routes
            + RunRoutes(runs: services.runs, gateway: services.gateway).routes
            + KnowledgeRoutes(
                store: services.knowledge, search: KnowledgeSearch(store: services.knowledge), ambient: ambient,
                jobs: services.jobs
            ).routes
            + OperationRoutes(version: version, health: services.health, metrics: services.metrics).routes
    }

    /// The routes behind the request observer and each route's access check.
    public func router() -> Router<APIContext> {
        let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: RequestObserver(routes: routes, ambient: ambient))
        for route in routes {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                try await respond(route, request, context)
            }
        }
        return router
    }

    private func respond(_ route: APIRoute, _ request: Request, _ context: APIContext) async throws -> Response {
        guard route.access != .open else { return try await route.handler(request, context) }
        let principal = try await authenticate(request)
        if case .scope(let scope) = route.access, !principal.may(scope) {
            throw Problem(.forbidden, "This needs the permission \(scope), which your role does not have.")
        }
        context.caller.principal = principal
        return try await route.handler(request, context)
    }

    private func authenticate(_ request: Request) async throws -> Principal {
        guard let header = request.headers[.authorization] else {
            throw Problem(.tokenMissing, "Send an access token as Authorization: Bearer ….")
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw Problem(.tokenInvalid, "The Authorization header must be: Bearer, a space, and the access token.")
        }
        return try await services.accounts.authenticate(token: String(parts[1]))
    }

    /// The server as a service; it stops taking connections on graceful shutdown and lets requests end.
    ///
    /// - Parameter onRunning: told the port once connections are taken.
    public func application(
        host: String, port: Int, logger: Logger, onRunning: @escaping @Sendable (Int) async -> Void
    ) -> some ApplicationProtocol {
        Application(
            router: router(),
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [ConnectionGuard()],
                    httpDecoderConfiguration: .init(
                        maxHeaderFieldSize: Self.maximumHeaderBytes, maxHeaderListSize: Self.maximumHeaderBytes,
                        maxHeaderFieldCount: Self.maximumHeaderCount))),
            configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? port) },
            logger: logger)
    }
}
