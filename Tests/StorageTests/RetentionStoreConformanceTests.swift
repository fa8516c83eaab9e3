import Accounts
import Domain
import Foundation
import Operations
import Queue
import Storage
import TestSupport
import Testing

/// What is old goes, and nothing else, on every engine.
@Suite("RetentionStore")
struct RetentionStoreConformanceTests {
    @Test("work is due for one of many who ask, once an interval", arguments: TestEngine.allCases)
    func due(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let store = RetentionRepository(engine: database.engine)
            let asked = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 { group.addTask { try await store.isDue("test", every: .seconds(3600)) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(asked.count { $0 } == 1)
            #expect(try await store.isDue("other", every: .zero))
            #expect(try await store.isDue("other", every: .zero))
        }
    }

    @Test("old rows of every kind are deleted, a few at a time, and young ones stay", arguments: TestEngine.allCases)
    func prune(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let store = RetentionRepository(engine: database.engine)
            func count(_ table: String) async throws -> Int64 {
                let count = SQLStatement("SELECT count(*) FROM \(table)")
                guard let urls = database.urls else {
                    return try await database.engine.read(Batch(.system, [count]))[0].rows[0].int(0)
                }
                var found: [String] = []
                try await TestPostgres.connected(to: urls.owner) { owner in
                    try await owner.run("SET app.maintenance = 'on'; SET search_path = sba")
                    found = try await owner.ask("SELECT count(*) FROM \(table)")
                }
                return Int64(found.first ?? "") ?? -1
            }
            func fill() async throws {
                let principal = try await database.makePrincipal()
                for key in ["a", "b", "c"] {
                    try await Footprint.work(database, principal, key)
                    _ = try await database.makeSignIn(principal)
                }
                try await Footprint.automate(database, principal, "a")
                _ = try await database.audit.entries(
                    tenant: principal.tenant, AuditFilter(), page: PageRequest(), reading: .test(.auditRead, in: principal.tenant)
                )
            }
            try await fill()
            let tables = [
                "jobs WHERE kind = 'run'", "agent_runs", "run_events", "idempotency_keys", "usage_metrics", "audit_logs",
                "sign_ins",
                "schedule_firings", "outbox", "webhook_deliveries", "meta_events",
            ]
            for table in tables { #expect(try await count(table) > 0, "\(table) has rows to be deleted") }
            if let urls = database.urls {
                try await TestPostgres.connected(to: urls.owner) { owner in
                    try await owner.run("SET app.maintenance = 'on'; SET search_path = sba")
                    for update in Self.aging { try await owner.run(update) }
                }
            } else {
                _ = try await database.engine.write(Batch(.system, Self.aging.map { SQLStatement($0) }))
            }
            try await fill()
            let before = Dictionary(uniqueKeysWithValues: try await tables.asyncMap { ($0, try await count($0)) })
            for rows in RetainedRows.allCases {
                let first = try await store.prune(rows, olderThan: .seconds(20 * 86_400), limit: 1)
                // Keys go with their runs; there are no dead letters.
                #expect(first > 0 || [.idempotencyKeys, .deadLetters].contains(rows), "\(rows)")
                while try await store.prune(rows, olderThan: .seconds(20 * 86_400), limit: 1) > 0 {}
            }
            for table in tables {
                let (old, now) = (before[table] ?? 0, try await count(table))
                #expect(now > 0 && now * 2 == old, "\(table): \(now) of \(old) are left")
            }
        }
    }

    /// Makes everything 60 days older.
    private static let aging = [
        ("jobs", "finished_at"), ("agent_runs", "finished_at"), ("idempotency_keys", "created_at"),
        ("usage_metrics", "created_at"), ("audit_logs", "created_at"), ("sign_ins", "created_at"),
        ("refresh_tokens", "expires_at"), ("schedule_firings", "created_at"), ("outbox", "created_at"),
        ("meta_events", "created_at"),
    ].map { table, column in "UPDATE \(table) SET \(column) = \(column) - \(60 * 86_400 * 1_000_000)" }
}

extension Sequence {
    func asyncMap<Value>(_ transform: (Element) async throws -> Value) async throws -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await transform(element)) }
        return values
    }
}
