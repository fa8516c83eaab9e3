import Accounts
import Agents
import Automation
import Coordination
import Domain
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Knowledge
import Logging
import Models
import NIOCore
import Operations
import Queue
import Storage
import TestSupport
import Web

/// The whole API on a database in memory, without sockets or workers.
struct APIBench: Sendable {
    let database: TestDatabase
    let server: WebServer
    let accounts: AccountService
    let tokens: TokenService
    let keys: [SigningKey]
    let store: AccountRepository
    let mailer: FakeMailer
    let client: any TestClientProtocol

    static func with(
        registration: RegistrationPolicy = .open, issuers: [TrustedIssuer] = [], keySets: (any KeySetSource)? = nil,
        http: HTTPConfiguration = HTTPConfiguration(), _ work: @escaping @Sendable (APIBench) async throws -> Void
    ) async throws {
        try await TestDatabase.with { database in
            let sealer = SecretSealer(secret: SecretSealer.makeSecret())
            let signingKeys = SigningKeys(store: database.signingKeys, sealer: sealer, ambient: .system)
            let keys = try await signingKeys.load()
            let tokens = try await TokenService(keys: keys, now: Ambient.system.now)
            let hasher = PasswordHasher(logCost: 6)
            defer { hasher.close() }
            let mailer = FakeMailer()
            let accounts = AccountService(
                store: database.accounts, keys: database.apiKeys, hasher: hasher, tokens: tokens, signingKeys: signingKeys,
                issuers: TrustedIssuers(issuers, source: keySets), policy: registration, mailer: mailer,
                limiter: InProcessRateLimiter())
            let models = ModelCatalog(providers: ["test": ScriptedChatModel([])], defaultModel: "test/model")
            let tools = try ToolCatalog([try CalculatorTool()])
            let bus = InProcessEventBus()
            let signal = Signal()
            let runs = RunService(store: database.runs, models: models, tools: tools, bus: bus, jobs: signal)
            let server = WebServer(
                services: .init(
                    accounts: accounts, erasure: ErasureService(store: database.erasure, accounts: accounts),
                    audit: AuditService(store: database.audit), usage: database.usage,
                    runs: runs, knowledge: database.knowledge, gateway: LiveGateway(store: database.runs, bus: bus),
                    queues: QueueService(
                        store: database.queues, instead: [JobKind(rawValue: "final"): "Start it again."], available: signal),
                    schedules: ScheduleService(store: database.schedules, runs: runs, available: signal),
                    webhooks: WebhookService(
                        store: database.webhooks, sealer: sealer, http: OutwardHTTP(allowed: []), available: signal),
                    events: MetaEventService(store: database.metaEvents), jobs: signal,
                    health: { HealthReport(checks: [.init(name: "storage", isHealthy: true)]) }, metrics: { "x 1\n" }),
                http: http, version: "test")
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            let application = Application(router: server.router(), logger: logger)
            try await application.test(.router) { client in
                try await work(
                    APIBench(
                        database: database, server: server, accounts: accounts, tokens: tokens, keys: keys,
                        store: database.accounts, mailer: mailer, client: client))
            }
        }
    }

    struct Answer {
        let status: Int
        let headers: HTTPFields
        let json: JSONValue
        let text: String
        var code: String? { json["code"]?.string }
    }

    /// A token of a new tenant's member.
    func makeToken(role: Role = .owner) async throws -> (token: String, principal: Principal) {
        let now = Ambient.system.now()
        let user = User(id: UserID(UUID()), email: "\(UUID())@example.com".lowercased(), createdAt: now)
        let tenant = Tenant(id: TenantID(UUID()), name: "Test", createdAt: now)
        try await store.create(user, passwordHash: "none", tenant: tenant, role: role, onlyFirst: false)
        return try await token(of: Membership(tenant: tenant.id, user: user.id, role: role, version: 1))
    }

    /// A token of a new sign-in of a member.
    func token(of membership: Membership) async throws -> (token: String, principal: Principal) {
        let principal = Principal(tenant: membership.tenant, user: membership.user, scopes: membership.role.scopes)
        let signIn = try await database.makeSignIn(principal)
        return (try await tokens.issue(membership, signIn: signIn), principal)
    }

    func send(
        _ method: HTTPRequest.Method, _ path: String, token: String? = nil, headers: [String: String] = [:],
        bytes: [UInt8]? = nil
    ) async throws -> Answer {
        var fields = HTTPFields()
        if let token { fields[.authorization] = "Bearer \(token)" }
        for (name, value) in headers {
            if let name = HTTPField.Name(name) { fields[name] = value }
        }
        let body = bytes.map { ByteBuffer(bytes: $0) }
        return try await client.execute(uri: path, method: method, headers: fields, body: body) { response in
            let text = String(buffer: response.body)
            return Answer(
                status: response.status.code, headers: response.headers,
                json: (try? JSONValue(parsing: text)) ?? .null, text: text)
        }
    }

    func send(
        _ method: HTTPRequest.Method, _ path: String, token: String? = nil, headers: [String: String] = [:],
        json: JSONValue
    ) async throws -> Answer {
        try await send(
            method, path, token: token, headers: ["Content-Type": "application/json"].merging(headers) { $1 },
            bytes: Array(json.text.utf8))
    }
}
