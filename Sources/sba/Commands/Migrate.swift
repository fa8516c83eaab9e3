import ArgumentParser
import Domain
import Storage

struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Brings the database to the schema of this binary.",
        discussion: "'sba serve' does this by itself for the embedded database.")

    @Option(help: "Folder of the embedded database (SBA_DATA_DIR).")
    var dataDir: String?

    @Flag(help: "Show what would be done, and do nothing.")
    var dryRun = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        try await reportingErrors {
            var settings = await SettingsReader(flags: dataDir.map { [Setting.dataDirectory.name: $0] } ?? [:])
            let path = settings.text(.dataDirectory)
            try settings.finish()
            let directory = try DataDirectory(path)
            let engine = try SQLiteEngine(path: directory.database)
            let migrator = Migrator(engine: engine)
            let status = try await migrator.status()
            let done = dryRun ? [] : try await migrator.migrate()
            await engine.close()
            report(status, done)
        }
    }

    private func report(_ status: Migrator.Status, _ done: [Migration]) {
        let pending = dryRun ? status.pending : []
        guard !json else {
            let applied = (status.applied + done.map(\.number)).map { JSONValue.int(Int64($0)) }
            let answer: JSONValue = [
                "applied": .array(applied), "pending": .array(pending.map { .int(Int64($0.number)) }),
            ]
            return Terminal.print(answer.text)
        }
        for migration in done { Terminal.print("applied \(migration.number) \(migration.name)") }
        for migration in pending { Terminal.print("pending \(migration.number) \(migration.name)") }
        if done.isEmpty, pending.isEmpty { Terminal.print("The database is up to date.") }
    }
}
