import Accounts
import ArgumentParser
import Domain
import Foundation
import Logging
import Operations
import Queue
import ServiceLifecycle
import Storage
import Synchronization

/// Enqueues jobs that do nothing and works them off, through the repositories and the worker that the server has.
struct QueueBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Enqueues jobs that do nothing, and works them off.")

    enum Work: String, ExpressibleByArgument, CaseIterable {
        /// Makes the tenant and the queue.
        case prepare
        /// Stores jobs in bulk.
        case enqueue
        /// Works until the queue is empty.
        case work
        /// Enqueues and works at the same time, for a while.
        case flow
        /// Claims and completes a few jobs at a time, one claim after another.
        case claim
        /// Prints the statement that claims, for others to send.
        case statement
    }

    static let kind = JobKind(rawValue: "bench")
    private static let tenant = TenantID(UUID(uuid: (0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0xAA)))

    @Option(help: "DATABASE_URL of a migrated database.") var application: String
    @Option(help: "DATABASE_SYSTEM_URL of the same.") var system: String
    @Option(help: "What to do.") var work: Work
    @Option(help: "Connections of each role.") var connections = 4
    @Option(help: "Jobs to enqueue, or claims to make.") var jobs = 10_000
    @Option(help: "The most jobs claimed at one time.") var batch = 100
    @Option(help: "Jobs at work at one time; four batches when absent.") var slots: Int?
    @Option(help: "How long to flow.") var seconds = 30

    func run() async throws {
        var tenants = PostgresConfiguration(url: application)
        tenants.connections = connections
        var system = tenants
        system.url = self.system
        let engine = PostgresEngine(tenants: tenants, system: system)
        let store = JobRepository(engine: engine)
        let result: JSONValue =
            switch work {
            case .prepare: try await prepare(engine)
            case .enqueue: try await enqueue(store)
            case .work: try await workOff(store)
            case .flow: try await flow(store)
            case .claim: try await claim(store)
            case .statement: ["claim": .string(engine.dialect.claimJobs)]
            }
        print(result.text)
        await engine.close()
    }

    private func prepare(_ engine: PostgresEngine) async throws -> JSONValue {
        let now = Ambient.system.now()
        try await AccountRepository(engine: engine).create(
            User(id: UserID(Self.tenant.uuid), email: "queue-bench@example.com", createdAt: now), passwordHash: "none",
            tenant: Tenant(id: Self.tenant, name: "Bench", createdAt: now), role: .owner, onlyFirst: false, audit: [])
        try await QueueRepository(engine: engine).register([Self.kind])
        return ["tenant": .string("\(Self.tenant)")]
    }

    private func newJobs(_ count: Int) -> [NewJob] {
        (0..<count).map { _ in
            // A UUIDv7, as runs and documents have.
            NewJob(
                id: JobID(Ambient.system.makeID()), kind: Self.kind, subject: Ambient.system.makeID(), maximumAttempts: 3)
        }
    }

    private func enqueue(_ store: JobRepository) async throws -> JSONValue {
        let begin = ContinuousClock.now
        for start in stride(from: 0, to: jobs, by: 500) {
            _ = try await store.enqueue(tenant: Self.tenant, newJobs(min(500, jobs - start)))
        }
        return ["enqueued": .int(Int64(jobs)), "perSecond": .double(Double(jobs) / (ContinuousClock.now - begin).seconds)]
    }

    /// Counts what it does, and when the first and the last began.
    private struct NoOperation: JobHandler {
        let kind = QueueBench.kind
        let policy: JobPolicy
        let done: Counter

        final class Counter: Sendable {
            let state = Mutex((count: 0, first: ContinuousClock.Instant.now, last: ContinuousClock.Instant.now))
            var count: Int { state.withLock { $0.count } }
        }

        func handle(_ context: JobContext) async throws -> JobOutcome {
            done.state.withLock { state in
                state.last = .now
                if state.count == 0 { state.first = state.last }
                state.count += 1
            }
            return .completed
        }

        func giveUp(_ lease: JobLease, reason: String) async throws {}
    }

    private func withWorker(_ store: JobRepository, _ work: (NoOperation.Counter) async throws -> Void) async throws {
        let counter = NoOperation.Counter()
        var pace = JobWorkerConfiguration()
        pace.claimed = batch
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        let worker = JobWorker(
            store: store, handlers: [NoOperation(policy: JobPolicy(slots: slots ?? 4 * batch), done: counter)],
            configuration: pace,
            signal: Signal(), logger: logger)
        let group = ServiceGroup(configuration: .init(services: [.init(service: worker)], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await work(counter)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func workOff(_ store: JobRepository) async throws -> JSONValue {
        var answer: JSONValue = .null
        try await withWorker(store) { counter in
            // Counting what waits would take the database's time: it is done once nothing has come for a while.
            repeat {
                var before = -1
                while counter.count != before {
                    before = counter.count
                    try await Task.sleep(for: .milliseconds(300))
                }
            } while try await store.depths().contains { $0.kind == Self.kind }
            let (count, first, last) = counter.state.withLock { $0 }
            let end = Ambient.system.now().adding(last - .now)
            // When, for whoever adds up several processes.
            answer = [
                "done": .int(Int64(count)), "firstAt": .double(Double(end.adding(first - last).microseconds) / 1e6),
                "lastAt": .double(Double(end.microseconds) / 1e6),
            ]
        }
        return answer
    }

    /// What is done in each part of the time, while the queue never runs empty.
    private func flow(_ store: JobRepository) async throws -> JSONValue {
        let part: Duration = .seconds(5)
        var parts: [JSONValue] = []
        try await withWorker(store) { counter in
            let end = ContinuousClock.now + .seconds(seconds)
            var enqueued = 0
            var (before, next) = (0, ContinuousClock.now + part)
            while ContinuousClock.now < end {
                if enqueued - counter.count < 20 * batch {
                    _ = try await store.enqueue(tenant: Self.tenant, newJobs(10 * batch))
                    enqueued += 10 * batch
                } else {
                    try await Task.sleep(for: .milliseconds(2))
                }
                guard ContinuousClock.now >= next else { continue }
                let count = counter.count
                parts.append(.int(Int64(Double(count - before) / part.seconds)))
                (before, next) = (count, next + part)
            }
            while counter.count < enqueued { try await Task.sleep(for: .milliseconds(20)) }
        }
        return ["perSecond": .array(parts)]
    }

    private func claim(_ store: JobRepository) async throws -> JSONValue {
        var milliseconds: [Double] = []
        for _ in 0..<jobs {
            let begin = ContinuousClock.now
            let leases = try await store.claim(
                [JobClaim(kind: Self.kind, limit: batch)], lease: .seconds(30), worker: "bench")
            milliseconds.append((ContinuousClock.now - begin).milliseconds)
            guard !leases.isEmpty else { break }
            _ = try await store.complete(leases)
        }
        milliseconds.sort()
        func quantile(_ part: Double) -> JSONValue { .double(milliseconds[Int(Double(milliseconds.count - 1) * part)]) }
        return ["claims": .int(Int64(milliseconds.count)), "p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99)]
    }
}

extension Duration {
    fileprivate var seconds: Double { milliseconds / 1000 }
}
