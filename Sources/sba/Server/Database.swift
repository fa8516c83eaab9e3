import Accounts
import Domain
import Logging
import Storage

/// The database of a server process, open and of the right schema.
struct Database: ~Copyable {
    let engine: any SQLEngine
    /// Where it is, for logs; no secrets.
    let place: String
    /// Nobody else can change the database while this process runs.
    let isHeldAlone: Bool
    /// Seals what rests in the database.
    let secret: String
    /// What else opens what rests there: the master secret before or after a rotation.
    let otherSecret: String?
    /// Where mail is written to, if anywhere.
    let mailFolder: String?
    /// Present where other processes work on the same database.
    let postgres: PostgresEngine?
    let listen: PostgresConfiguration?
    /// Locked until the value ends.
    private let directory: DataDirectory?

    /// Opens the database. The embedded one belongs to this binary and is brought up to date without asking; PostgreSQL
    /// has to be so already.
    ///
    /// - Throws: `Problem` or `StorageError` that says what to do.
    init(_ configuration: ServerConfiguration, logger: Logger) async throws {
        switch configuration.database {
        case .embedded(let folder):
            let directory = try DataDirectory(folder)
            let sqlite = try SQLiteEngine(path: directory.database)
            for migration in try await Migrator(target: sqlite).migrate() {
                logger.notice("Migrated the database.", metadata: ["migration": "\(migration.number) \(migration.name)"])
            }
            let unfinished = try directory.unfinishedSecret()
            secret = try directory.secret(configured: configuration.secretKey)
            otherSecret = configuration.previousSecretKey ?? unfinished
            let mail = directory.mail
            mailFolder = configuration.mailFolder ?? mail
            engine = ObservedEngine(sqlite, slow: configuration.slowQuery, logger: logger)
            place = directory.path
            isHeldAlone = true
            (postgres, listen) = (nil, nil)
            self.directory = consume directory
        case .postgres(let choice):
            let postgres = PostgresEngine(tenants: choice.tenants, system: choice.system)
            do {
                try await SchemaStatus(of: postgres).checkCurrent()
                try await Self.checkRoles(choice)
            } catch {
                await postgres.close()
                throw error
            }
            // The configuration requires it.
            secret = configuration.secretKey ?? ""
            otherSecret = configuration.previousSecretKey
            mailFolder = configuration.mailFolder
            engine = ObservedEngine(postgres, slow: configuration.slowQuery, logger: logger)
            place = PostgresSchema.place(of: choice.tenants.url)
            isHeldAlone = false
            self.postgres = postgres
            listen = choice.listen
            directory = nil
        }
    }

    /// Refuses roles that see more than they should: then nothing in the database would keep tenants apart.
    private static func checkRoles(_ choice: DatabaseChoice.PostgresChoice) async throws {
        let roles: [(PostgresSchema.Role, Setting, PostgresConfiguration)] = [
            (.application, .databaseURL, choice.tenants), (.system, .databaseSystemURL, choice.system),
        ]
        for (role, setting, configuration) in roles {
            var single = configuration
            single.connections = 1
            let engine = PostgresEngine(tenants: single, system: single)
            let fault = await Result { try await engine.fault(of: role) }
            await engine.close()
            if let fault = try fault.get() { throw Problem(.storageUnavailable, "\(setting.name) \(fault).") }
        }
    }
}
