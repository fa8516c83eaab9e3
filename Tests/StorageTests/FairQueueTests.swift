import Domain
import Foundation
import Operations
import Queue
import Storage
import TestSupport
import Testing

/// How tenants take turns in a queue, on every engine.
@Suite("Fair queues")
struct FairQueueTests {
    private static let kind = JobKind(rawValue: "test")

    private func jobs(_ database: TestDatabase, _ count: Int, _ priority: JobPriority = .normal) -> [NewJob] {
        (0..<count).map { _ in
            NewJob(
                id: JobID(database.ambient.makeID()), kind: Self.kind, subject: UUID(), maximumAttempts: 3, priority: priority)
        }
    }

    private func enqueue(
        _ database: TestDatabase, _ tenant: TenantID, _ count: Int, _ priority: JobPriority = .normal
    ) async throws {
        let jobs = jobs(database, count, priority)
        #expect(try await database.jobs.enqueue(tenant: tenant, jobs).count == count)
    }

    private func tenants(_ database: TestDatabase, _ count: Int) async throws -> [TenantID] {
        var tenants: [TenantID] = []
        for _ in 0..<count { tenants.append(try await database.makePrincipal().tenant) }
        return tenants
    }

    /// Works through the queue as a worker would, a few jobs at a time; answers whose jobs were done, in order.
    private func work(_ database: TestDatabase, _ count: Int, together: Int = 4) async throws -> [TenantID] {
        var done: [TenantID] = []
        var virtualTime: Int64?
        while done.count < count {
            let claim = JobClaim(kind: Self.kind, limit: min(together, count - done.count), virtualTime: virtualTime)
            let leases = try await database.jobs.claim([claim], lease: .seconds(30), worker: "test")
            if leases.isEmpty { break }
            virtualTime = leases.map(\.startTag).max()
            done += leases.map(\.tenant)
            #expect(try await database.jobs.complete(leases).count == leases.count)
        }
        return done
    }

    @Test("ten thousand jobs of one tenant hold up another's first by a few", arguments: [TestEngine.sqliteFile, .postgres18])
    func flood(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 2)
            try await enqueue(database, tenants[0], 10_000)
            _ = try await work(database, 200, together: 20)
            try await enqueue(database, tenants[1], 1)
            let next = try await work(database, 25, together: 5)
            let place = try #require(next.firstIndex(of: tenants[1]))
            // The queue is told how far it has come with the claim after.
            #expect(place <= 20 + 1)
        }
    }

    @Test("tenants that have much to do take turns, by their weights", arguments: TestEngine.allCases)
    func weights(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 3)
            try await database.queues.setShare(
                Self.kind, QueueShare(tenant: tenants[2], weight: 4, concurrency: nil), audit: .test())
            for tenant in tenants { try await enqueue(database, tenant, 60) }
            let done = try await work(database, 60)
            let counts = tenants.map { tenant in done.count { $0 == tenant } }
            #expect(counts == [10, 10, 40])
        }
    }

    @Test("who has been idle gets no credit, and who used idle time owes nothing", arguments: TestEngine.allCases)
    func idle(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 2)
            try await enqueue(database, tenants[0], 100)
            #expect(try await work(database, 100).count == 100)
            try await enqueue(database, tenants[1], 50)
            try await enqueue(database, tenants[0], 50)
            let done = try await work(database, 40)
            let first = done.count { $0 == tenants[0] }
            #expect((18...22).contains(first), "\(first) of 40")
        }
    }

    @Test("a tenant's urgent jobs come before its others, and not before another tenant's", arguments: TestEngine.allCases)
    func priority(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 2)
            try await enqueue(database, tenants[0], 20)
            try await enqueue(database, tenants[1], 20)
            try await enqueue(database, tenants[0], 3, .low)
            let urgent = jobs(database, 3, .high)
            _ = try await database.jobs.enqueue(tenant: tenants[0], urgent)
            let leases = try await database.jobs.claim(Self.kind, limit: 12)
            #expect(Set(leases.map(\.job)).isSuperset(of: urgent.map(\.id)))
            let others = leases.count { $0.tenant == tenants[1] }
            #expect(others >= 3, "the other tenant keeps its turns: \(others) of 12")
            _ = try await database.jobs.complete(leases)
            let rest = try await database.jobs.claim(Self.kind, limit: 100)
            let own = rest.filter { $0.tenant == tenants[0] }
            let last = try await own.suffix(3).asyncMap { try await database.queues.job($0.job, reading: nil)?.priority }
            #expect(last == [.low, .low, .low])
        }
    }

    @Test("many jobs that are due at once take turns like others", arguments: TestEngine.allCases)
    func due(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 2)
            var late = jobs(database, 100)
            for place in late.indices { late[place].delay = .seconds(60) }
            _ = try await database.jobs.enqueue(tenant: tenants[0], late)
            try await database.pass(.seconds(61))
            #expect(try await work(database, 4) == Array(repeating: tenants[0], count: 4))
            try await enqueue(database, tenants[1], 1)
            let next = try await work(database, 16)
            #expect(next.contains(tenants[1]))
        }
    }

    @Test("no more of a tenant are at work than it may have", arguments: TestEngine.allCases)
    func concurrency(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 3)
            try await database.queues.changeQueue(Self.kind, QueueChange(tenantConcurrency: .some(3)), audit: .test())
            try await database.queues.setShare(
                Self.kind, QueueShare(tenant: tenants[1], weight: 1, concurrency: 5), audit: .test())
            for tenant in tenants { try await enqueue(database, tenant, 20) }
            let leases = try await withThrowingTaskGroup(of: [JobLease].self) { group in
                for _ in 0..<8 { group.addTask { try await database.jobs.claim(Self.kind, limit: 4) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            func counts(_ leases: [JobLease]) -> [Int] { tenants.map { tenant in leases.count { $0.tenant == tenant } } }
            #expect(counts(leases) == [3, 5, 3])
            #expect(try await database.jobs.claim(Self.kind).isEmpty)
            let ended = leases.filter { $0.tenant == tenants[0] }.prefix(2)
            _ = try await database.jobs.complete(Array(ended))
            #expect(counts(try await database.jobs.claim(Self.kind)) == [2, 0, 0])
            try await database.queues.changeQueue(Self.kind, QueueChange(tenantConcurrency: .some(nil)), audit: .test())
            #expect(counts(try await database.jobs.claim(Self.kind, limit: 100)) == [15, 0, 17], "a share's bound stays")
        }
    }

    @Test("a paused queue gives nothing until it is resumed", arguments: TestEngine.allCases)
    func pause(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind])
            let tenants = try await tenants(database, 1)
            try await enqueue(database, tenants[0], 2)
            try await database.queues.changeQueue(Self.kind, QueueChange(isPaused: true), audit: .test())
            #expect(try await database.jobs.claim(Self.kind).isEmpty)
            let queue = try #require(try await database.queues.queues().first)
            #expect(queue.pausedAt != nil)
            #expect(queue.depths.map(\.count) == [2])
            try await database.queues.changeQueue(Self.kind, QueueChange(isPaused: false), audit: .test())
            #expect(try await database.jobs.claim(Self.kind).count == 2)
            await #expect(throws: Problem.self) {
                try await database.queues.changeQueue(JobKind(rawValue: "unknown"), QueueChange(isPaused: true), audit: .test())
            }
        }
    }
}
