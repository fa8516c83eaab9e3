import Accounts
import Domain
import Foundation
import HTTPTypes
import Operations
import Queue
import Storage
import TestSupport
import Testing
import Web

@Suite("Queues over HTTP")
struct QueueAPITests {
    /// Lends an operator's token, and a dead letter of the operator's tenant.
    private func with(
        _ kind: JobKind = JobKind(rawValue: "test"),
        _ work: @escaping @Sendable (APIBench, _ token: String, _ job: JobID) async throws -> Void
    ) async throws {
        try await APIBench.with { bench in
            let (_, principal) = try await bench.makeToken()
            try await bench.store.setOperator(principal.user, true, audit: .test(.operatorChanged, in: nil))
            let token = try await bench.token(
                of: Membership(tenant: principal.tenant, user: principal.user, role: .owner, version: 1)
            ).token
            try await bench.database.queues.register([kind])
            let job = NewJob(id: JobID(Ambient.system.makeID()), kind: kind, subject: UUID(), maximumAttempts: 1)
            _ = try await bench.database.jobs.enqueue(tenant: principal.tenant, [job])
            let lease = try #require(try await bench.database.jobs.claim(kind).first)
            try await bench.database.jobs.fail(lease, error: "it broke", delay: .zero)
            try await work(bench, token, job.id)
        }
    }

    @Test("operators list queues, pause and bound them; each change and each look at jobs is noted")
    func queues() async throws {
        try await with { bench, token, job in
            let list = try await bench.send(.get, "/api/queues", token: token)
            #expect(list.json["items"]?.array?.first?["jobs"]?["discarded"] == 1)
            let paused = try await bench.send(
                .patch, "/api/queues/test", token: token, json: ["paused": true, "tenantConcurrency": 3])
            #expect(paused.status == 200)
            #expect(paused.json["pausedAt"]?.string != nil && paused.json["tenantConcurrency"] == 3)
            let lifted = try await bench.send(.patch, "/api/queues/test", token: token, json: ["tenantConcurrency": nil])
            #expect(lifted.json["tenantConcurrency"] == .null && lifted.json["pausedAt"]?.string != nil)
            let nothing = try await bench.send(.patch, "/api/queues/test", token: token, json: [:])
            #expect(nothing.status == 200, "nothing is changed, and nothing noted")
            let unknown = try await bench.send(.patch, "/api/queues/unknown", token: token, json: ["paused": true])
            #expect(unknown.status == 404)
            let jobs = try await bench.send(.get, "/api/queues/test/jobs", token: token)
            #expect(jobs.json["items"]?.array?.map { $0["id"]?.string } == ["\(job)"])
            let audit = try await bench.database.audit.platformEntries(
                AuditFilter(), page: PageRequest(), reading: .test())
            #expect(audit.items.count { $0.action == .queueChanged } == 2)
            #expect(audit.items.contains { $0.action == .platformRead && $0.target == "queue/test" })
        }
    }

    @Test("a dead letter is edited and retried, and what is done allows neither")
    func jobs() async throws {
        try await with { bench, token, job in
            let read = try await bench.send(.get, "/api/jobs/\(job)", token: token)
            #expect(read.json["lastError"] == "it broke" && read.json["state"] == "discarded")
            let edited = try await bench.send(
                .patch, "/api/jobs/\(job)", token: token, json: ["payload": ["a": 1], "priority": "high"])
            #expect(edited.json["payload"] == ["a": 1] && edited.json["priority"] == "high")
            let wrong = try await bench.send(.patch, "/api/jobs/\(job)", token: token, json: ["priority": "highest"])
            #expect(wrong.status == 400 && wrong.text.contains("high, normal, low"))
            let retried = try await bench.send(.post, "/api/jobs/\(job)/retry", token: token)
            #expect(retried.status == 200 && retried.json["state"] == "available")
            let again = try await bench.send(.post, "/api/jobs/\(job)/retry", token: token)
            #expect(again.status == 409 && again.code == "job_state_forbids")
            let given = try await bench.send(.post, "/api/jobs/\(job)/discard", token: token)
            #expect(given.status == 200)
            let missing = try await bench.send(.get, "/api/jobs/\(UUID().uuidString.lowercased())", token: token)
            #expect(missing.status == 404)
        }
    }

    @Test("a dead letter whose subject has ended with it is not retried, and what to do instead is said")
    func ended() async throws {
        try await with(JobKind(rawValue: "final")) { bench, token, job in
            let refused = try await bench.send(.post, "/api/jobs/\(job)/retry", token: token)
            #expect(refused.status == 409 && refused.code == "job_state_forbids")
            #expect(refused.json["detail"] == "Start it again.")
            let read = try await bench.send(.get, "/api/jobs/\(job)", token: token)
            #expect(read.json["state"] == "discarded")
        }
    }

    @Test("a tenant's share is set and listed; owners of tenants may not")
    func shares() async throws {
        try await with { bench, token, _ in
            let (stranger, other) = try await bench.makeToken()
            let path = "/api/queues/test/shares/\(other.tenant)"
            let share = try await bench.send(.put, path, token: token, json: ["weight": 5, "concurrency": 2])
            #expect(share.status == 200 && share.json["weight"] == 5)
            let list = try await bench.send(.get, "/api/queues/test/shares", token: token)
            #expect(list.json["items"]?.array?.count == 1)
            let wrong = try await bench.send(.put, path, token: token, json: ["weight": 0])
            #expect(wrong.status == 400)
            for path in ["/api/queues", "/api/queues/test/jobs", "/api/queues/test/shares"] {
                let refused = try await bench.send(.get, path, token: stranger)
                #expect(refused.status == 403, "\(path)")
            }
        }
    }
}
