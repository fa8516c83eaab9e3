import Accounts
import Agents
import ArgumentParser
import Domain
import Foundation
import Queue
import Storage
import Synchronization

/// Drives the storage on PostgreSQL as hard as it goes.
@main
struct StorageBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Drives the storage on PostgreSQL as hard as it goes.", subcommands: [RowBench.self, QueueBench.self],
        defaultSubcommand: RowBench.self)
}

/// Reads and appends as hard as the repositories go, and prints how many calls a second that makes.
struct RowBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rows", abstract: "Reads and appends rows of runs.")

    enum Work: String, ExpressibleByArgument, CaseIterable {
        /// Reads one run of a tenant.
        case read
        /// Appends a batch of three events to a run's log under its fence.
        case append
    }

    /// Known to the scripts that do the same without us.
    static let tenant = TenantID(uuid("00000000-0000-7000-8000-0000000000aa"))
    static let user = UserID(uuid("00000000-0000-7000-8000-0000000000bb"))
    static let runs = 32
    static let events: [RunEvent] = [
        .textMessageContent(messageID: "01a1fa29-9c25-7fb6-a48c-c7dd168ef20a", delta: "It lasts twelve weeks."),
        .textMessageEnd(messageID: "01a1fa29-9c25-7fb6-a48c-c7dd168ef20a"), .stepFinished(name: "model-1"),
    ]

    @Option(help: "DATABASE_URL of a migrated database.") var application: String
    @Option(help: "DATABASE_SYSTEM_URL of the same.") var system: String
    @Option(help: "What to do.") var work: Work
    @Option(help: "Connections.") var connections = 8
    @Option(help: "Calls under way at one time, at most 32 when appending.") var tasks = 32
    @Option(help: "How long.") var seconds = 5
    @Flag(help: "Only make the rows that the work needs.") var prepare = false

    func run() async throws {
        var tenants = PostgresConfiguration(url: application)
        tenants.connections = connections
        var system = tenants
        system.url = self.system
        let engine = PostgresEngine(tenants: tenants, system: system)
        let runs = RunRepository(engine: engine)
        if prepare {
            try await makeRows(engine, runs)
        } else {
            let count = try await drive(runs)
            print(Double(count) / Double(seconds))
        }
        await engine.close()
    }

    private static func uuid(_ text: String) -> UUID { UUID(uuidString: text) ?? UUID() }

    /// One run for each task: a log has one writer.
    private static func run(_ number: Int) -> RunID { RunID(uuid("00000000-0000-7000-8000-0000000000\(10 + number)")) }

    private func makeRows(_ engine: PostgresEngine, _ runs: RunRepository) async throws {
        let now = Ambient.system.now()
        try await AccountRepository(engine: engine).create(
            User(id: Self.user, email: "storage-bench@example.com", createdAt: now), passwordHash: "none",
            tenant: Tenant(id: Self.tenant, name: "Bench", createdAt: now), role: .owner, onlyFirst: false, audit: [])
        let principal = Principal(tenant: Self.tenant, user: Self.user, scopes: ["*"])
        for number in 0..<Self.runs {
            let id = Self.run(number)
            _ = try await runs.create(
                tenant: Self.tenant,
                NewRun(
                    id: id, session: nil, newSession: SessionID(Ambient.system.makeID()), principal: principal,
                    trace: Trace(requestID: "bench"), prompt: "How long is parental leave?",
                    options: RunOptions(model: "local/extractive", tools: []),
                    job: NewJob(
                        id: JobID(Ambient.system.makeID()), kind: RunExecutor.kind, subject: id.uuid, maximumAttempts: 1),
                    idempotency: nil))
        }
    }

    private func drive(_ runs: RunRepository) async throws -> Int {
        let end = ContinuousClock.now + .seconds(seconds)
        return try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<tasks {
                group.addTask {
                    switch work {
                    case .read: try await Self.read(runs, Self.run(number % Self.runs), until: end)
                    case .append: try await Self.append(runs, Self.run(number), until: end)
                    }
                }
            }
            return try await group.reduce(0, +)
        }
    }

    private static func read(_ runs: RunRepository, _ run: RunID, until end: ContinuousClock.Instant) async throws -> Int {
        var count = 0
        while .now < end {
            guard try await runs.run(tenant: tenant, run) != nil else { throw Problem.notFound("run") }
            count += 1
        }
        return count
    }

    private static func append(_ runs: RunRepository, _ run: RunID, until end: ContinuousClock.Instant) async throws -> Int {
        guard let snapshot = try await runs.snapshot(tenant: tenant, run: run) else { throw Problem.notFound("run") }
        var lastSeq = snapshot.lastSeq
        var count = 0
        while .now < end {
            let receipt = try await runs.commit(
                RunCommit(
                    tenant: tenant, run: run, authority: .holding(token: snapshot.token, lastSeq: lastSeq), events: events,
                    effects: [], time: Ambient.system.now()))
            lastSeq = receipt.lastSeq
            count += 1
        }
        return count
    }
}
