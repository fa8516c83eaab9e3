import Domain
import Foundation
import Operations
import Queue
import Storage
import TestSupport
import Testing

/// What `JobStore` promises, on every engine.
@Suite("JobStore")
struct JobStoreConformanceTests {
    private static let kind = JobKind(rawValue: "test")

    private func job(
        _ database: TestDatabase, attempts: Int = 3, priority: JobPriority = .normal, delay: Duration = .zero,
        uniqueness: NewJob.Uniqueness? = nil
    ) -> NewJob {
        NewJob(
            id: JobID(database.ambient.makeID()), kind: Self.kind, subject: UUID(), maximumAttempts: attempts,
            payload: ["number": 7], priority: priority, delay: delay, uniqueness: uniqueness)
    }

    private func claim(_ database: TestDatabase, limit: Int = 10) async throws -> [JobLease] {
        try await database.jobs.claim(Self.kind, limit: limit, lease: .seconds(600))
    }

    // MARK: Claiming

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
            #expect(first[0].payload == ["number": 7])
            #expect(try await claim(database).isEmpty)
            #expect(try await database.jobs.claim(JobKind(rawValue: "other")).isEmpty)
        }
    }

    @Test("many jobs are stored at once, in their order, and told which are", arguments: TestEngine.allCases)
    func bulk(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let jobs = (0..<1200).map { _ in job(database) }
            #expect(try await database.jobs.enqueue(tenant: tenant, jobs) == Set(jobs.map(\.id)))
            #expect(try await database.jobs.enqueue(tenant: tenant, jobs) == Set(jobs.map(\.id)), "repeating changes nothing")
            let claimed = try await claim(database, limit: 2000)
            #expect(claimed.map(\.job) == jobs.map(\.id))
            #expect(try await database.jobs.complete(claimed) == Set(claimed))
        }
    }

    @Test("many claimers at once share the jobs without an overlap", arguments: TestEngine.allCases)
    func concurrentClaims(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            try await _ = database.jobs.enqueue(tenant: tenant, (0..<40).map { _ in job(database) })
            let claimed = try await withThrowingTaskGroup(of: [JobLease].self) { group in
                for _ in 0..<10 { group.addTask { try await claim(database, limit: 7) } }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claimed.count == 40)
            #expect(Set(claimed.map(\.job)).count == 40)
        }
    }

    // MARK: Time

    @Test("a failed job comes back after its delay, until its attempts are used up", arguments: TestEngine.allCases)
    func failures(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            try await database.jobs.enqueue(tenant: tenant, job(database, attempts: 2))
            let first = try #require(try await claim(database).first)
            #expect(first.attempt == 1)
            try await database.jobs.fail(first, error: "no", delay: .seconds(50))
            #expect(try await claim(database).isEmpty)
            #expect(try await database.queues.job(first.job, reading: nil)?.state == .retryable)
            try await database.pass(.seconds(51))
            let second = try #require(try await claim(database).first)
            #expect(second.attempt == 2)
            try await database.jobs.fail(second, error: "still no", delay: .seconds(50))
            try await database.pass(.seconds(600))
            #expect(try await claim(database).isEmpty)
            #expect(try await database.jobs.depths().isEmpty)
            let dead = try #require(try await database.queues.job(first.job, reading: nil))
            #expect(dead.state == .discarded)
            #expect(dead.lastError == "still no")
            #expect(dead.finishedAt != nil)
        }
    }

    @Test("a delayed job waits for its time", arguments: TestEngine.allCases)
    func delay(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let (late, now) = (job(database, delay: .seconds(3600)), job(database))
            try await _ = database.jobs.enqueue(tenant: tenant, [late, now])
            #expect(try await claim(database).map(\.job) == [now.id])
            #expect(try await database.queues.job(late.id, reading: nil)?.state == .scheduled)
            try await database.pass(.seconds(3500))
            #expect(try await claim(database).isEmpty)
            try await database.pass(.seconds(101))
            #expect(try await claim(database).map(\.job) == [late.id])
        }
    }

    @Test("leases run out by the database's clock, whatever the process believes", arguments: TestEngine.allCases)
    func clock(engine: TestEngine) async throws {
        let clock = ManualClock()
        clock.advance(by: .seconds(3600))
        // SQLite's clock is its process's.
        try await TestDatabase.with(engine, ambient: engine.isPostgres ? clock.ambient : .system) { database in
            let tenant = try await database.makePrincipal().tenant
            try await database.jobs.enqueue(tenant: tenant, job(database))
            let lease = try #require(try await claim(database).first)
            #expect(try await database.jobs.rescue(all: false) == 0)
            let record = try #require(try await database.queues.job(lease.job, reading: nil))
            #expect(abs(record.createdAt.duration(since: Ambient.system.now()).milliseconds) < 60_000)
        }
    }

    // MARK: Leases

    @Test("an old lease can do nothing any more", arguments: TestEngine.allCases)
    func fence(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            try await database.jobs.enqueue(tenant: tenant, job(database))
            let old = try #require(try await claim(database).first)
            #expect(try await database.jobs.rescue(all: false) == 0)
            try await database.pass(.seconds(601))
            #expect(try await database.jobs.rescue(all: false) == 1)
            let new = try #require(try await claim(database).first)
            #expect(new.token > old.token)
            #expect(new.attempt == 2)
            #expect(try await database.jobs.complete([old]).isEmpty)
            await #expect(throws: FenceLost.self) { try await database.jobs.release(old) }
            await #expect(throws: FenceLost.self) { try await database.jobs.fail(old, error: "", delay: .zero) }
            #expect(try await database.jobs.renew([old, new], lease: .seconds(600)) == [new])
            #expect(try await database.jobs.complete([old, new]) == [new])
            #expect(try await database.jobs.complete([new]).isEmpty)
        }
    }

    @Test("a renewed lease does not run out; a released job is back at once and unharmed", arguments: TestEngine.allCases)
    func renewal(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            try await _ = database.jobs.enqueue(tenant: tenant, (0..<5).map { _ in job(database) })
            let leases = try await claim(database)
            try await database.pass(.seconds(400))
            #expect(try await database.jobs.renew(leases, lease: .seconds(600)) == Set(leases))
            try await database.pass(.seconds(400))
            #expect(try await database.jobs.rescue(all: false) == 0)
            try await database.jobs.release(leases[0])
            let again = try #require(try await claim(database).first)
            #expect(again.job == leases[0].job)
            #expect(again.attempt == 1)
        }
    }

    // MARK: Uniqueness

    @Test("a unique job keeps others away until it ends and its window is over", arguments: TestEngine.allCases)
    func uniqueness(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let other = try await database.makePrincipal().tenant
            func enqueue(_ tenant: TenantID) async throws -> Bool {
                let unique = NewJob.Uniqueness(key: "report", window: .seconds(3600))
                return try await !database.jobs.enqueue(tenant: tenant, job(database, uniqueness: unique)).isEmpty
            }
            #expect(try await enqueue(tenant))
            #expect(try await !enqueue(tenant), "one waits")
            #expect(try await enqueue(other), "another tenant's is another")
            let leases = try await claim(database)
            #expect(try await !enqueue(tenant), "one is at work")
            _ = try await database.jobs.complete(leases)
            #expect(try await !enqueue(tenant), "its window is not over")
            let over = SQLStatement("UPDATE jobs SET unique_until = 0 WHERE tenant_id = ?1", [.id(tenant)])
            if engine.isPostgres {
                let urls = try #require(database.urls)
                try await TestPostgres.connected(to: urls.owner) { owner in
                    try await owner.run("SET app.maintenance = 'on'; UPDATE sba.jobs SET unique_until = 0")
                }
            } else {
                _ = try await database.engine.write(Batch(.system, [over]))
            }
            #expect(try await enqueue(tenant))
            #expect(try await !enqueue(tenant))
        }
    }

    // MARK: Counting

    @Test("depths count what is unfinished", arguments: TestEngine.allCases)
    func depths(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            try await _ = database.jobs.enqueue(
                tenant: tenant, [job(database), job(database), job(database), job(database, delay: .seconds(100))])
            let lease = try #require(try await claim(database, limit: 1).first)
            func counts() async throws -> [JobState: Int] {
                Dictionary(uniqueKeysWithValues: try await database.jobs.depths().map { ($0.state, $0.count) })
            }
            #expect(try await counts() == [.available: 2, .executing: 1, .scheduled: 1])
            _ = try await database.jobs.complete([lease])
            #expect(try await counts() == [.available: 2, .scheduled: 1])
        }
    }
}
