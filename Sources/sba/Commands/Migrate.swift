import ArgumentParser
import Domain
import Storage

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Brings the database to the schema of this binary.",
        discussion: """
            For PostgreSQL set DATABASE_OWNER_URL: the role that owns the tables, past any pooler. The passwords of the roles \
            sba_app and sba_system are taken from DATABASE_URL and DATABASE_SYSTEM_URL. 'sba serve' migrates the embedded \
            database by itself, and PostgreSQL never.

            Example:
              DATABASE_OWNER_URL=postgresql://owner:…@db/sba DATABASE_URL=postgresql://sba_app:…@db/sba \\
              DATABASE_SYSTEM_URL=postgresql://sba_system:…@db/sba sba migrate
            """,
        subcommands: [Apply.self, Status.self], defaultSubcommand: Apply.self)

    struct Apply: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "apply", abstract: "Apply what is pending (the default).")

        @OptionGroup var options: MigrationOptions

        @Flag(help: "Show what would be done, and do nothing.")
        var dryRun = false

        func run() async throws {
            try await options.run { schema in
                let before = try await SchemaStatus(of: schema.target)
                try before.checkKnown()
                if !dryRun {
                    try await schema.prepareRoles()
                    _ = try await Migrator(target: schema.target).migrate()
                }
                options.report(before, verb: dryRun ? "pending" : "applied", isDone: !dryRun)
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is applied and what is pending; exits with 1 unless the database fits this binary.")

        @OptionGroup var options: MigrationOptions

        func run() async throws {
            var fits = false
            try await options.run { schema in
                let status = try await SchemaStatus(of: schema.target)
                options.report(status, verb: "pending", isDone: false)
                fits = status.pending.isEmpty && status.unknown.isEmpty
            }
            if !fits { throw ExitCode.failure }
        }
    }
}

struct MigrationOptions: ParsableArguments {
    @Option(help: "Folder of the embedded database (SBA_DATA_DIR).")
    var dataDir: String?

    @Flag(help: "Print JSON.")
    var json = false

    /// What is migrated.
    struct Schema {
        let target: any SchemaTarget
        /// Makes the roles of PostgreSQL.
        let prepareRoles: () async throws -> Void
    }

    /// Opens the configured database, lends its schema, and closes it.
    func run(_ work: (Schema) async throws -> Void) async throws {
        try await reportingErrors {
            var settings = await SettingsReader(flags: dataDir.map { [Setting.dataDirectory.name: $0] } ?? [:])
            let folder = settings.text(.dataDirectory)
            let owner = DatabaseChoice.url(.databaseOwnerURL, &settings)
            let urls: [(PostgresSchema.Role, String?)] = [
                (.application, DatabaseChoice.url(.databaseURL, &settings)),
                (.system, DatabaseChoice.url(.databaseSystemURL, &settings)),
            ]
            if owner == nil, urls.contains(where: { $0.1 != nil }) {
                settings.fault(.databaseOwnerURL, "must be set to migrate PostgreSQL: the URL of the role that owns the tables.")
            }
            try settings.finish()
            guard let owner else { return try await migrateEmbedded(folder, work) }
            var passwords: [PostgresSchema.Role: String] = [:]
            for (role, url) in urls { passwords[role] = url.flatMap(PostgresSchema.password) }
            let schema = PostgresSchema(url: owner)
            do {
                try await work(Schema(target: schema) { try await schema.prepareRoles(passwords: passwords) })
            } catch {
                await schema.close()
                throw error
            }
            await schema.close()
        }
    }

    private func migrateEmbedded(_ folder: String, _ work: (Schema) async throws -> Void) async throws {
        let directory = try DataDirectory(folder)
        let engine = try SQLiteEngine(path: directory.database)
        do {
            try await work(Schema(target: engine) {})
        } catch {
            await engine.close()
            throw error
        }
        await engine.close()
    }

    /// - Parameter isDone: what was pending has been applied.
    func report(_ status: SchemaStatus, verb: String, isDone: Bool) {
        guard !json else {
            let pending = status.pending.map(\.number)
            let numbers = { (numbers: [Int]) in JSONValue.array(numbers.map { .int(Int64($0)) }) }
            let answer: JSONValue = [
                "applied": numbers(status.applied + (isDone ? pending : [])), "pending": numbers(isDone ? [] : pending),
                "unknown": numbers(status.unknown),
            ]
            return Terminal.print(answer.text)
        }
        for migration in status.pending { Terminal.print("\(verb) \(migration.number) \(migration.name)") }
        for number in status.unknown { Terminal.print("unknown \(number): use the newer binary") }
        if status.pending.isEmpty, status.unknown.isEmpty { Terminal.print("The database is up to date.") }
    }
}
