import Domain
import Foundation
import Storage

/// Databases on the servers that `scripts/services.sh` starts.
public enum TestPostgres {
    struct NotRunning: Error, CustomStringConvertible {
        let name: String
        var description: String { "\(name) is not set: start the servers with 'make services', or run 'make test'." }
    }

    /// How to reach one database in each role.
    public struct URLs: Sendable {
        public let owner: String
        public let application: String
        public let system: String
        /// Past the pooler.
        public let direct: String
        public let pooler: PostgresConfiguration.Pooler

        /// Past the pooler, as the server's superuser.
        public func superuser() throws -> String {
            let name = URLComponents(string: owner)?.path.dropFirst() ?? ""
            return TestPostgres.url(owner, database: String(name), user: "postgres", password: "postgres")
        }

        /// - Parameter adjust: changes what both roles connect with.
        public func engine(_ adjust: (inout PostgresConfiguration) -> Void = { _ in }) -> PostgresEngine {
            var tenants = PostgresConfiguration(url: application, pooler: pooler)
            tenants.connections = 4
            // The tests all run at once: for a busy machine no answer in 5 s is no sign of a dead network.
            tenants.networkGrace = .seconds(60)
            adjust(&tenants)
            var system = tenants
            system.url = self.system
            return PostgresEngine(tenants: tenants, system: system)
        }
    }

    private static let passwords: [PostgresSchema.Role: String] = [.application: "app", .system: "system"]

    /// Tests that use a server at one time: all at once they would want more connections than it has, and starve each other.
    private static let turns = Turns(24)

    /// Lends a migrated, empty database of its own, and drops it.
    public static func withDatabase(on engine: TestEngine, _ work: (URLs) async throws -> Void) async throws {
        await turns.take()
        let result = await Result { try await withDatabaseNow(on: engine, work) }
        await turns.give()
        try result.get()
    }

    private static func withDatabaseNow(on engine: TestEngine, _ work: (URLs) async throws -> Void) async throws {
        let server = try variable(engine == .postgres15 ? "SBA_TEST_POSTGRES_15" : "SBA_TEST_POSTGRES_18")
        let front = engine == .pgBouncer ? try variable("SBA_TEST_PGBOUNCER") : server
        let template = try await Templates.shared.template(on: server)
        let name = "test_\(UUID().uuidString.lowercased().filter { $0 != "-" })"
        try await asOwner(of: server) { try await $0.run("CREATE DATABASE \(name) TEMPLATE \(template)") }
        let urls = URLs(
            owner: url(server, database: name, user: "sba_owner", password: "owner"),
            application: url(front, database: name, user: "sba_app", password: "app"),
            system: url(front, database: name, user: "sba_system", password: "system"),
            direct: url(server, database: name, user: "sba_app", password: "app"),
            pooler: engine == .pgBouncer ? .transaction : .none)
        let result = await Result { try await work(urls) }
        // A pooler keeps connections open, which only a superuser may end.
        try await connected(to: server) { try await $0.run("DROP DATABASE \(name) WITH (FORCE)") }
        try result.get()
    }

    /// Lends a connection of the owner to the server's own database.
    private static func asOwner(of server: String, _ work: (PostgresSchema) async throws -> Void) async throws {
        try await connected(to: url(server, database: "postgres", user: "sba_owner", password: "owner"), work)
    }

    /// Lends a connection for scripts and questions.
    public static func connected(to url: String, _ work: (PostgresSchema) async throws -> Void) async throws {
        let connection = PostgresSchema(url: url)
        let result = await Result { try await work(connection) }
        await connection.close()
        try result.get()
    }

    public static func variable(_ name: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else { throw NotRunning(name: name) }
        return value
    }

    /// The server's own database, as its superuser, past any pooler.
    public static func superuser(on engine: TestEngine) throws -> String {
        try variable(engine == .postgres15 ? "SBA_TEST_POSTGRES_15" : "SBA_TEST_POSTGRES_18")
    }

    public static func port(of url: String) throws -> UInt16 {
        guard let port = URLComponents(string: url)?.port.flatMap(UInt16.init(exactly:)) else { throw NotRunning(name: url) }
        return port
    }

    /// The URL with another port.
    public static func url(_ url: String, port: UInt16) -> String {
        guard var parts = URLComponents(string: url) else { return url }
        parts.port = Int(port)
        return parts.string ?? url
    }

    /// The URL with another database and user.
    public static func url(_ url: String, database: String, user: String, password: String) -> String {
        guard var parts = URLComponents(string: url) else { return url }
        (parts.path, parts.user, parts.password) = ("/" + database, user, password)
        return parts.string ?? url
    }

    /// One migrated database a server, from which those of the tests are copied.
    private actor Templates {
        private enum State {
            case making
            case made(String)
        }

        static let shared = Templates()
        private var states: [String: State] = [:]
        private let changed = Signal()

        func template(on server: String) async throws -> String {
            while case .making = states[server] {
                await changed.wait(after: changed.generation, atMost: .milliseconds(20))
            }
            if case .made(let name) = states[server] { return name }
            states[server] = .making
            do {
                let name = try await Self.make(on: server)
                states[server] = .made(name)
                return name
            } catch {
                states[server] = nil
                throw error
            }
        }

        private static func make(on server: String) async throws -> String {
            let name = "template_\(UUID().uuidString.lowercased().filter { $0 != "-" })"
            try await asOwner(of: server) { try await $0.run("CREATE DATABASE \(name)") }
            let schema = PostgresSchema(url: url(server, database: name, user: "sba_owner", password: "owner"))
            try await schema.prepareRoles(passwords: passwords)
            _ = try await Migrator(target: schema).migrate()
            await schema.close()
            return name
        }
    }
}

extension TestEngine {
    /// What the real binary is tested on.
    public static let servers: [TestEngine] = [.sqliteFile, .postgres18]

    /// Lends what makes the real binary use a database of this kind; nothing for the embedded one, which it makes itself.
    public func withServerEnvironment(_ work: ([String: String]) async throws -> Void) async throws {
        guard isPostgres else { return try await work([:]) }
        try await TestPostgres.withDatabase(on: self) { urls in
            try await work([
                "DATABASE_URL": urls.application, "DATABASE_SYSTEM_URL": urls.system, "DATABASE_POOLER": urls.pooler.rawValue,
                "SBA_SECRET_KEY": "a secret that all processes of a test share",
            ])
        }
    }
}

/// Lets a number of tasks go on at one time, in the order in which they came.
private actor Turns {
    private var free: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { free = count }

    func take() async {
        if free > 0 {
            free -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func give() {
        if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() }
    }
}
