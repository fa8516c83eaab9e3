import Accounts
import Domain
import Foundation
import Operations
import Queue
import Storage
import TestSupport
import Testing

/// What operators do to queues, on every engine.
@Suite("QueueStore")
struct QueueStoreConformanceTests {
    private static let kind = JobKind(rawValue: "test")

    private func enqueue(_ database: TestDatabase, _ count: Int = 1, attempts: Int = 1) async throws -> [JobID] {
        try await database.queues.register([Self.kind])
        let tenant = try await database.makePrincipal().tenant
        let jobs = (0..<count).map { _ in
            NewJob(id: JobID(database.ambient.makeID()), kind: Self.kind, subject: UUID(), maximumAttempts: attempts)
        }
        _ = try await database.jobs.enqueue(tenant: tenant, jobs)
        return jobs.map(\.id)
    }

    @Test("a dead letter is read, edited and done once more", arguments: TestEngine.allCases)
    func deadLetters(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let ids = try await enqueue(database, 3)
            for lease in try await database.jobs.claim(Self.kind) {
                try await database.jobs.fail(lease, error: "broken", delay: .zero)
            }
            let page = try await database.queues.jobs(Self.kind, in: .discarded, page: PageRequest(limit: 2), reading: .test())
            #expect(page.items.map(\.id) == [ids[2], ids[1]])
            #expect(page.items[0].lastError == "broken")
            let rest = try await database.queues.jobs(
                Self.kind, in: .discarded, page: PageRequest(limit: 2, cursor: page.next), reading: .test())
            #expect(rest.items.map(\.id) == [ids[0]])
            #expect(rest.next == nil)
            let edit = JobEdit(payload: ["fixed": true], priority: .high, maximumAttempts: 5)
            try await database.queues.edit(ids[0], edit, audit: .test())
            try await database.queues.requeue(ids[0], audit: .test())
            await #expect(throws: JobStateForbids.self, "it waits already") {
                try await database.queues.requeue(ids[0], audit: .test())
            }
            let lease = try #require(try await database.jobs.claim(Self.kind).first)
            #expect(lease.job == ids[0])
            #expect(lease.payload == ["fixed": true])
            #expect((lease.attempt, lease.maximumAttempts) == (1, 5))
            await #expect(throws: JobStateForbids.self, "it is at work") {
                try await database.queues.edit(ids[0], edit, audit: .test())
            }
            _ = try await database.jobs.complete([lease])
            await #expect(throws: JobStateForbids.self, "it is done") {
                try await database.queues.requeue(ids[0], audit: .test())
            }
        }
    }

    @Test("what is given up comes to a worker with no attempt left", arguments: TestEngine.allCases)
    func givingUp(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let ids = try await enqueue(database, attempts: 9)
            try await database.queues.giveUp(ids[0], audit: .test())
            let lease = try #require(try await database.jobs.claim(Self.kind).first)
            #expect(lease.attempt > lease.maximumAttempts)
            try await database.jobs.fail(lease, error: "given up", delay: .zero)
            #expect(try await database.queues.job(ids[0], reading: nil)?.state == .discarded)
            await #expect(throws: JobStateForbids.self) {
                try await database.queues.giveUp(ids[0], audit: .test())
            }
        }
    }

    @Test("a job that waits for its time is done now when it is requeued", arguments: TestEngine.allCases)
    func hurry(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let ids = try await enqueue(database, attempts: 3)
            let lease = try #require(try await database.jobs.claim(Self.kind).first)
            try await database.jobs.fail(lease, error: "later", delay: .seconds(3600))
            #expect(try await database.jobs.claim(Self.kind).isEmpty)
            try await database.queues.requeue(ids[0], audit: .test())
            #expect(try await database.jobs.claim(Self.kind).first?.attempt == 2)
        }
    }

    @Test("queues are listed before their first job, with bounds and shares", arguments: TestEngine.allCases)
    func queues(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await database.queues.register([Self.kind, JobKind(rawValue: "other")])
            try await database.queues.register([Self.kind])
            let tenant = try await database.makePrincipal().tenant
            try await database.queues.changeQueue(Self.kind, QueueChange(tenantConcurrency: .some(7)), audit: .test())
            let share = QueueShare(tenant: tenant, weight: 10, concurrency: 2)
            try await database.queues.setShare(Self.kind, QueueShare(tenant: tenant, weight: 1, concurrency: nil), audit: .test())
            try await database.queues.setShare(Self.kind, share, audit: .test())
            #expect(try await database.queues.shares(Self.kind, page: PageRequest()).items == [share])
            let rows = try await database.audit.platformEntries(
                AuditFilter(action: .queueChanged), page: PageRequest(), reading: .test())
            #expect(rows.items.count == 3, "each change is noted, and one that was refused is not")
            let queues = try await database.queues.queues()
            #expect(queues.map(\.kind.rawValue) == ["other", "test"])
            #expect(queues.map(\.tenantConcurrency) == [nil, 7])
            try await database.queues.removeShare(Self.kind, of: tenant, audit: .test())
            #expect(try await database.queues.shares(Self.kind, page: PageRequest()).items.isEmpty)
            await #expect(throws: Problem(.notFound, "The tenant has no share of its own in this queue.")) {
                try await database.queues.removeShare(Self.kind, of: tenant, audit: .test())
            }
            await #expect(throws: Problem(.notFound, "There is no such queue or tenant.")) {
                try await database.queues.setShare(JobKind(rawValue: "unknown"), share, audit: .test())
            }
        }
    }
}
