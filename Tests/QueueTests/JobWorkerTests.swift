import Domain
import Foundation
import Logging
import Operations
import Queue
import ServiceLifecycle
import Storage
import Synchronization
import TestSupport
import Testing

private struct ClosureHandler: JobHandler {
    let kind: JobKind
    let policy: JobPolicy
    let action: @Sendable (JobContext) async throws -> JobOutcome

    var onGiveUp: @Sendable (JobLease) -> Void = { _ in }

    func handle(_ context: JobContext) async throws -> JobOutcome { try await action(context) }

    func giveUp(_ lease: JobLease, reason: String) async throws { onGiveUp(lease) }
}

@Suite("JobWorker")
struct JobWorkerTests {
    private static let kind = JobKind(rawValue: "test")

    /// Runs a worker beside `work`, then shuts it down gracefully.
    private func withWorker(
        _ database: TestDatabase, slots: Int = 8, timeout: Duration? = nil, drain: Duration = .seconds(5),
        onGiveUp: @escaping @Sendable (JobLease) -> Void = { _ in },
        handler: @escaping @Sendable (JobContext) async throws -> JobOutcome,
        _ work: @escaping @Sendable (Signal) async throws -> Void
    ) async throws {
        var pace = JobWorkerConfiguration()
        (pace.drain, pace.renewal, pace.poll) = (drain, .milliseconds(30), .milliseconds(30))
        let signal = Signal()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let worker = JobWorker(
            store: database.jobs,
            handlers: [
                ClosureHandler(
                    kind: Self.kind, policy: JobPolicy(slots: slots, timeout: timeout), action: handler, onGiveUp: onGiveUp)
            ],
            configuration: pace, signal: signal, logger: logger)
        let group = ServiceGroup(configuration: .init(services: [.init(service: worker)], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await work(signal)
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func enqueue(_ database: TestDatabase, attempts: Int = 3) async throws {
        let tenant = try await database.makePrincipal().tenant
        try await database.jobs.enqueue(
            tenant: tenant,
            NewJob(id: JobID(database.ambient.makeID()), kind: Self.kind, subject: UUID(), maximumAttempts: attempts))
    }

    private func untilDone(_ database: TestDatabase) async throws {
        while try await !database.jobs.depths().isEmpty { try await Task.sleep(for: .milliseconds(5)) }
    }

    @Test("does every job once")
    func completes() async throws {
        try await TestDatabase.with { database in
            let done = Mutex<[JobID]>([])
            try await withWorker(database, slots: 3) { context in
                done.withLock { $0.append(context.lease.job) }
                return .completed
            } _: { signal in
                for _ in 0..<20 { try await enqueue(database) }
                signal.notify()
                try await untilDone(database)
            }
            #expect(done.withLock { $0.count } == 20)
            #expect(Set(done.withLock { $0 }).count == 20)
        }
    }

    @Test("runs as many jobs at once as it has slots, and never more")
    func slots() async throws {
        try await TestDatabase.with { database in
            for _ in 0..<10 { try await enqueue(database) }
            let running = Mutex((now: 0, most: 0))
            try await withWorker(database, slots: 2) { _ in
                running.withLock { state in
                    state.now += 1
                    state.most = max(state.most, state.now)
                }
                try await Task.sleep(for: .milliseconds(20))
                running.withLock { $0.now -= 1 }
                return .completed
            } _: { _ in
                try await untilDone(database)
            }
            #expect(running.withLock { $0.most } == 2)
        }
    }

    @Test("a job that keeps failing is tried as often as it may be")
    func failures() async throws {
        struct Broken: Error {}
        try await TestDatabase.with { database in
            let tries = Mutex(0)
            let givenUp = Mutex(0)
            try await withWorker(database, onGiveUp: { _ in givenUp.withLock { $0 += 1 } }) { _ in
                tries.withLock { $0 += 1 }
                throw Broken()
            } _: { _ in
                try await enqueue(database, attempts: 3)
                while try await !database.jobs.depths().isEmpty {
                    try await database.pass(.seconds(1))
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            #expect(tries.withLock { $0 } == 3)
            #expect(givenUp.withLock { $0 } == 1)
        }
    }

    @Test("a job whose every attempt crashed is given up, and not started again")
    func crashedAttempts() async throws {
        try await TestDatabase.with { database in
            try await enqueue(database, attempts: 1)
            _ = try await database.jobs.claim(Self.kind, limit: 1, lease: .seconds(60))
            #expect(try await database.jobs.rescue(all: true) == 1)
            let started = Mutex(0)
            let givenUp = Mutex(0)
            try await withWorker(database, onGiveUp: { _ in givenUp.withLock { $0 += 1 } }) { _ in
                started.withLock { $0 += 1 }
                return .completed
            } _: { _ in
                try await untilDone(database)
            }
            #expect(started.withLock { $0 } == 0)
            #expect(givenUp.withLock { $0 } == 1)
        }
    }

    @Test("a shutdown lets a short job finish, and hands a long one back")
    func shutdown() async throws {
        try await TestDatabase.with { database in
            let started = Signal()
            try await withWorker(database, drain: .milliseconds(100)) { context in
                started.notify()
                try await Task.sleep(for: context.lease.attempt == 1 ? .seconds(60) : .zero)
                return .completed
            } _: { _ in
                let generation = started.generation
                try await enqueue(database)
                await started.wait(after: generation, atMost: .seconds(10))
            }
            #expect(try await database.jobs.depths().map(\.state) == [.available])
            let again = try await database.jobs.claim(Self.kind, limit: 1, lease: .seconds(1))
            #expect(again.first?.attempt == 1, "a shutdown is not a failed attempt")
        }
    }

    @Test("a job that takes too long is cancelled, which counts as a failure")
    func timeout() async throws {
        try await TestDatabase.with { database in
            let started = Mutex(0)
            let id = Mutex<JobID?>(nil)
            try await withWorker(database, timeout: .milliseconds(50)) { context in
                started.withLock { $0 += 1 }
                id.withLock { $0 = context.lease.job }
                try await Task.sleep(for: .seconds(60))
                return .completed
            } _: { _ in
                try await enqueue(database, attempts: 1)
                while try await database.jobs.depths().first != nil || started.withLock({ $0 }) == 0 {
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            let job = try #require(id.withLock { $0 })
            let record = try #require(try await database.queues.job(job, reading: nil))
            #expect(record.state == .discarded)
            #expect(record.lastError?.contains("took longer than") == true)
        }
    }

    @Test("what a person gives up is not started, and its subject is told")
    func givenUp() async throws {
        try await TestDatabase.with { database in
            try await enqueue(database, attempts: 3)
            let waiting = try await database.queues.jobs(Self.kind, in: .available, page: PageRequest(), reading: .test())
            try await database.queues.giveUp(waiting.items[0].id, audit: .test())
            let started = Mutex(0)
            let givenUp = Mutex(0)
            try await withWorker(database, onGiveUp: { _ in givenUp.withLock { $0 += 1 } }) { _ in
                started.withLock { $0 += 1 }
                return .completed
            } _: { _ in
                try await untilDone(database)
            }
            #expect((started.withLock { $0 }, givenUp.withLock { $0 }) == (0, 1))
        }
    }

    @Test("a job whose lease went to another is cancelled")
    func revoked() async throws {
        try await TestDatabase.with { database in
            let cancelled = Signal()
            let generation = cancelled.generation
            try await withWorker(database) { context in
                guard context.lease.attempt == 1 else { return .completed }
                // On a busy machine it may be over already.
                #expect(context.remainingLease() <= JobWorkerConfiguration().lease)
                do {
                    try await Task.sleep(for: .seconds(60))
                } catch {
                    cancelled.notify()
                    throw error
                }
                return .completed
            } _: { _ in
                try await enqueue(database)
                while try await database.jobs.depths().first?.state != .executing {
                    try await Task.sleep(for: .milliseconds(5))
                }
                #expect(try await database.jobs.rescue(all: true) == 1)
                await cancelled.wait(after: generation, atMost: .seconds(10))
                #expect(cancelled.generation > generation)
                try await untilDone(database)
            }
        }
    }
}
