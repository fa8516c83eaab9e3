import Domain
import Foundation
import Queue
import Storage
import TestSupport
import Testing

/// What `JobStore` promises, on every engine.
@Suite("JobStore")
struct JobStoreConformanceTests {
    private static let kind = JobKind(rawValue: "test")

    private func job(_ database: TestDatabase, attempts: Int = 3) -> NewJob {
        NewJob(
            id: JobID(database.ambient.makeID()), kind: Self.kind, subject: UUID(), maximumAttempts: attempts)
    }

    private func claim(_ database: TestDatabase, limit: Int = 10) async throws -> [JobLease] {
        try await database.jobs.claim(kinds: [Self.kind], limit: limit, lease: .seconds(10))
    }

    @Test("jobs are claimed once each, in order", arguments: TestEngine.allCases)
    func claims(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let jobs = (0..<5).map { _ in job(database) }
            for job in jobs { try await database.jobs.enqueue(tenant: tenant, job) }
            try await database.jobs.enqueue(tenant: tenant, jobs[0])
            let first = try await claim(database, limit: 2)
            let rest = try await claim(database)
            #expect((first + rest).map(\.job) == jobs.map(\.id))
            #expect(try await claim(database).isEmpty)
            #expect(try await database.jobs.claim(kinds: [JobKind(rawValue: "other")], limit: 1, lease: .seconds(1)).isEmpty)
        }
    }

    @Test("many claimers at once share the jobs without an overlap", arguments: TestEngine.allCases)
    func concurrentClaims(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            for _ in 0..<40 { try await database.jobs.enqueue(tenant: tenant, job(database)) }
            let claimed = try await withThrowingTaskGroup(of: [JobLease].self) { group in
                for _ in 0..<10 { group.addTask { try await claim(database, limit: 7) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claimed.count == 40)
            #expect(Set(claimed.map(\.job)).count == 40)
        }
    }

    @Test("a failed job comes back after its delay, until its attempts are used up", arguments: TestEngine.allCases)
    func failures(engine: TestEngine) async throws {
        let clock = ManualClock()
        try await TestDatabase.with(engine, ambient: clock.ambient) { database in
            let tenant = try await database.makePrincipal().tenant
            try await database.jobs.enqueue(tenant: tenant, job(database, attempts: 2))
            let first = try #require(try await claim(database).first)
            #expect(first.attempt == 1)
            try await database.jobs.fail(first, error: "no", delay: .seconds(5))
            #expect(try await claim(database).isEmpty)
            clock.advance(by: .seconds(6))
            let second = try #require(try await claim(database).first)
            #expect(second.attempt == 2)
            try await database.jobs.fail(second, error: "no", delay: .seconds(5))
            clock.advance(by: .seconds(60))
            #expect(try await claim(database).isEmpty)
            #expect(try await database.jobs.depths().isEmpty)
        }
    }

    @Test("an old lease can do nothing any more", arguments: TestEngine.allCases)
    func fence(engine: TestEngine) async throws {
        let clock = ManualClock()
        try await TestDatabase.with(engine, ambient: clock.ambient) { database in
            let tenant = try await database.makePrincipal().tenant
            try await database.jobs.enqueue(tenant: tenant, job(database))
            let old = try #require(try await claim(database).first)
            #expect(try await database.jobs.rescue(all: false) == 0)
            clock.advance(by: .seconds(11))
            #expect(try await database.jobs.rescue(all: false) == 1)
            let new = try #require(try await claim(database).first)
            #expect(new.token > old.token)
            #expect(new.attempt == 2)
            await #expect(throws: FenceLost.self) { try await database.jobs.complete(old) }
            await #expect(throws: FenceLost.self) { try await database.jobs.release(old) }
            await #expect(throws: FenceLost.self) { try await database.jobs.fail(old, error: "", delay: .zero) }
            #expect(try await database.jobs.renew([old, new], lease: .seconds(10)) == [new])
            try await database.jobs.complete(new)
            await #expect(throws: FenceLost.self) { try await database.jobs.complete(new) }
        }
    }

    @Test("a renewed lease does not run out; a released job is back at once and unharmed", arguments: TestEngine.allCases)
    func renewal(engine: TestEngine) async throws {
        let clock = ManualClock()
        try await TestDatabase.with(engine, ambient: clock.ambient) { database in
            let tenant = try await database.makePrincipal().tenant
            try await database.jobs.enqueue(tenant: tenant, job(database))
            let lease = try #require(try await claim(database).first)
            clock.advance(by: .seconds(8))
            #expect(try await database.jobs.renew([lease], lease: .seconds(10)) == [lease])
            clock.advance(by: .seconds(8))
            #expect(try await database.jobs.rescue(all: false) == 0)
            try await database.jobs.release(lease)
            let again = try #require(try await claim(database).first)
            #expect(again.attempt == 1)
        }
    }

    @Test("depths count what is unfinished", arguments: TestEngine.allCases)
    func depths(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            for _ in 0..<3 { try await database.jobs.enqueue(tenant: tenant, job(database)) }
            let lease = try #require(try await claim(database, limit: 1).first)
            #expect(
                Set(try await database.jobs.depths()) == [
                    QueueDepth(kind: Self.kind, state: .available, count: 2),
                    QueueDepth(kind: Self.kind, state: .executing, count: 1),
                ])
            try await database.jobs.complete(lease)
            #expect(try await database.jobs.depths() == [QueueDepth(kind: Self.kind, state: .available, count: 2)])
        }
    }
}
