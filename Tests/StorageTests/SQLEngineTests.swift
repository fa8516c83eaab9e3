import Accounts
import Domain
import Foundation
import Storage
import TestSupport
import Testing

@Suite("SQLEngine")
struct SQLEngineTests {
    private struct Refused: Error {}

    @Test(
        "a batch whose expectation fails leaves nothing, and its neighbours in the same commit stay",
        arguments: TestEngine.allCases)
    func expectation(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            func insert(_ id: String, expect count: Int) async -> Bool {
                let batch = Batch(
                    .system,
                    [
                        SQLStatement("INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, 'x', 1)", [.text(id)]),
                        SQLStatement(
                            "SELECT id FROM signing_keys WHERE id = ?1", [.text(id)], expect: .rows(count, otherwise: Refused())),
                    ])
                return (try? await database.engine.write(batch)) != nil
            }
            let outcomes = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<50 { group.addTask { await insert("key-\(number)", expect: number % 2) } }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(outcomes == 25)
            let stored = try await database.signingKeys.signingKeys(at: Ambient.system.now())
            #expect(stored.count == 25)
        }
    }

    @Test("waiting writes share commits", arguments: TestEngine.embedded)
    func groupCommit(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let before = database.engine.commitCount
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let insert = "INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, 'x', 1)"
                        _ = try await database.engine.write(Batch(.system, [SQLStatement(insert, [.text("\(number)")])]))
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await database.signingKeys.signingKeys(at: Ambient.system.now()).count == 200)
            #expect(database.engine.commitCount - before < 200)
        }
    }

    @Test("a broken constraint is told by its kind")
    func constraints() async throws {
        try await TestDatabase.with { database in
            let principal = try await database.makePrincipal()
            let user = try #require(try await database.accounts.user(principal.user))
            let tenant = Tenant(id: TenantID(UUID()), name: "Other", createdAt: user.createdAt)
            let twin = User(id: UserID(UUID()), email: user.email, createdAt: user.createdAt)
            let refusal = await #expect(throws: Problem.self) {
                try await database.accounts.create(twin, passwordHash: "", tenant: tenant, role: .owner, onlyFirst: false)
            }
            #expect(refusal?.code == .emailTaken)
            #expect(try await database.accounts.tenant(tenant.id) == nil)
            let orphan = Batch(
                .system,
                [
                    SQLStatement(
                        "INSERT INTO sessions (tenant_id, id, user_id, created_at) VALUES (?1, ?2, ?2, 1)",
                        [.uuid(UUID()), .uuid(UUID())])
                ])
            await #expect(throws: StorageError.foreignKeyViolation) { try await database.engine.write(orphan) }
        }
    }

    @Test("only the first account is made when only the first may be", arguments: TestEngine.allCases)
    func onlyFirst(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let made = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<5 {
                    group.addTask {
                        let now = database.ambient.now()
                        let user = User(id: UserID(UUID()), email: "\(UUID())@example.com", createdAt: now)
                        let tenant = Tenant(id: TenantID(UUID()), name: "T", createdAt: now)
                        return
                            (try? await database.accounts.create(
                                user, passwordHash: "", tenant: tenant, role: .owner, onlyFirst: true)) != nil
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(made == 1)
        }
    }

    @Test("of processes that start together one brings the signing key", arguments: TestEngine.allCases)
    func firstKey(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<5 {
                    let key = SealedSigningKey(id: "\(number)", sealed: "x", createdAt: database.ambient.now())
                    group.addTask { try await database.signingKeys.addFirst(key) }
                }
                try await group.waitForAll()
            }
            let keys = try await database.signingKeys.signingKeys(at: Ambient.system.now())
            #expect(keys.count == 1)
        }
    }

    @Test("a database of a newer binary is refused")
    func unknownMigration() async throws {
        let engine = try SQLiteEngine(path: nil)
        _ = try await Migrator(target: engine).migrate()
        let future = Migration(number: 9999, name: "future", sql: "CREATE TABLE future (id INTEGER) STRICT;")
        try await engine.apply(future)
        let status = try await SchemaStatus(of: engine)
        #expect(status.unknown == [9999])
        let refusal = await #expect(throws: Problem.self) { try await Migrator(target: engine).migrate() }
        #expect(refusal?.detail.contains("9999") == true)
        #expect(throws: Problem.self) { try status.checkCurrent() }
        await engine.close()
    }

    @Test("a closed database answers with an error, not a hang")
    func closed() async throws {
        let engine = try SQLiteEngine(path: nil)
        _ = try await Migrator(target: engine).migrate()
        await engine.close()
        await #expect(throws: StorageError.self) { try await engine.appliedMigrations() }
        await #expect(throws: StorageError.self) {
            try await engine.write(Batch(.system, [SQLStatement("DELETE FROM users")]))
        }
    }

    @Test("a folder that is not there is named")
    func unopenable() {
        let refusal = #expect(throws: StorageError.self) { try SQLiteEngine(path: "/nonexistent/folder/x.sqlite") }
        if case .unavailable(let reason) = refusal { #expect(reason.contains("/nonexistent/folder")) }
    }
}
