import Domain
import Foundation
import Storage
import TestSupport
import Testing

/// The real binary on PostgreSQL: migrating, refusing, and the ways that a connection comes about.
@Suite("PostgreSQL from the command line", .serialized)
struct PostgresServerTests {
    private static let secret = "a secret that all processes of a test share"

    /// An empty database that the owner has just made.
    private func withEmptyDatabase(_ work: (_ owner: String, _ environment: [String: String]) async throws -> Void) async throws {
        let server = try TestPostgres.superuser(on: .postgres18)
        let name = "empty_\(UUID().uuidString.lowercased().filter { $0 != "-" })"
        let owner = TestPostgres.url(server, database: "postgres", user: "sba_owner", password: "owner")
        try await TestPostgres.connected(to: owner) { try await $0.run("CREATE DATABASE \(name)") }
        func url(_ user: String, _ password: String) -> String {
            TestPostgres.url(server, database: name, user: user, password: password)
        }
        let result = await Result {
            try await work(
                url("sba_owner", "owner"),
                [
                    "DATABASE_URL": url("sba_app", "app"), "DATABASE_SYSTEM_URL": url("sba_system", "system"),
                    "SBA_SECRET_KEY": Self.secret,
                ])
        }
        try await TestPostgres.connected(to: server) { try await $0.run("DROP DATABASE \(name) WITH (FORCE)") }
        try result.get()
    }

    @Test("sba migrate makes the schema; sba serve refuses a database without it, and roles that see too much")
    func migrate() async throws {
        try await withEmptyDatabase { owner, environment in
            let process = SBAProcess(environment: environment)
            let withOwner = ["DATABASE_OWNER_URL": owner]
            let missing = try await process.run("migrate")
            #expect(missing.status == 2 && missing.standardError.contains("DATABASE_OWNER_URL"))
            let before = try await process.run("migrate", "status", environment: withOwner)
            #expect(before.status == 1 && before.standardOutput.contains("pending 1 initial"))
            let dry = try await process.run("migrate", "--dry-run", environment: withOwner)
            #expect(dry.status == 0 && dry.standardOutput.contains("pending 1 initial"))
            let early = try await process.run("serve", "--port", "0")
            #expect(early.status == 1 && early.standardError.contains("sba migrate"))
            // Two at a time, as when two hosts are set up at once.
            async let first = process.run("migrate", environment: withOwner)
            async let second = process.run("migrate", environment: withOwner)
            #expect(try await (first.status, second.status) == (0, 0))
            let after = try await process.run("migrate", "status", environment: withOwner)
            #expect(after.status == 0 && after.standardOutput.contains("up to date"))
            for (name, role) in [("DATABASE_URL", "sba_app"), ("DATABASE_SYSTEM_URL", "sba_system")] {
                let tooMuch = try await process.run("serve", "--port", "0", environment: [name: owner])
                #expect(tooMuch.status == 1)
                #expect(tooMuch.standardError.contains(name) && tooMuch.standardError.contains("connect as \(role)"))
            }
            let noSecret = try await process.run("serve", "--port", "0", environment: ["SBA_SECRET_KEY": ""])
            #expect(noSecret.status == 2 && noSecret.standardError.contains("SBA_SECRET_KEY"))
            let doctor = try await process.run("doctor")
            #expect(doctor.status == 0 && doctor.standardOutput.contains("database as sba_system"))
        }
    }

    @Test("a server runs and answers over TLS, and through a pooler", arguments: [TestEngine.postgres15, .pgBouncer])
    func connections(engine: TestEngine) async throws {
        try await withServer(on: engine) { server, client, _ in
            let run = try await client.send(
                "POST", "/api/agent/runs", ["prompt": "tools:1 tool:note words:3"], headers: ["Prefer": "wait=30"])
            #expect(run.status == 200 && run.json["status"] == "succeeded")
            let document = try await client.send(
                "POST", "/api/knowledge/documents", ["title": "Leave", "text": "Parental leave lasts twelve weeks."])
            let id = try #require(document.json["id"]?.string)
            var status = ""
            for _ in 0..<200 where status != "ready" {
                status = try await client.send("GET", "/api/knowledge/documents/\(id)").json["status"]?.string ?? ""
                try await Task.sleep(for: .milliseconds(20))
            }
            let found = try await client.send("POST", "/api/knowledge/search", ["query": "parental leave"])
            #expect(found.json["items"]?.array?.first?["documentId"] == .string(id))
            #expect(!server.log.contains("password"))
        }
    }

    @Test("a job that one process takes in is done by another, which is woken")
    func twoProcesses() async throws {
        try await TestEngine.postgres18.withServerEnvironment { database in
            let environment = database.merging(["SBA_MODEL": "local/extractive"]) { $1 }
            let (one, other) = (SBAProcess(environment: environment), SBAProcess(environment: environment))
            // They start together on an empty database: one account, one signing key.
            async let starting: Void = one.start()
            try await other.start()
            try await starting
            let client = try await TestClient.signedIn(to: one)
            let there = TestClient(url: other.url, token: client.token)
            #expect(try await there.send("GET", "/api/auth/me").status == 200, "the other knows the signing key")
            for _ in 0..<10 {
                let run = try await client.send("POST", "/api/agent/runs", ["prompt": "hello", "options": ["tools": []]])
                let ended = try await there.wait(for: run.json["id"]?.string ?? "", in: ["succeeded"])
                #expect(ended["status"] == "succeeded")
            }
            #expect(await one.stop() == 0)
            let run = try await there.send("POST", "/api/agent/runs", ["prompt": "hello", "options": ["tools": []]])
            #expect(try await there.wait(for: run.json["id"]?.string ?? "", in: ["succeeded"])["status"] == "succeeded")
            #expect(await other.stop() == 0)
        }
    }

    /// The binary of the release before this one, once there is one with this engine; this build's until then.
    private static let previous = ProcessInfo.processInfo.environment["SBA_TEST_PREVIOUS_BINARY"]

    @Test("a server of the previous release goes on while and after a newer one migrates")
    func upgrade() async throws {
        try await withEmptyDatabase { owner, environment in
            let schema = PostgresSchema(url: owner)
            let old = SBAProcess(
                environment: environment.merging(["SBA_MODEL": "local/extractive"]) { $1 }, binary: Self.previous)
            let migrated = try await old.run("migrate", environment: ["DATABASE_OWNER_URL": owner])
            #expect(migrated.status == 0)
            try await old.start()
            let client = try await TestClient.signedIn(to: old)
            _ = try await Migrator(target: schema).migrate()
            // What the next release may do: it only adds.
            try await schema.apply(
                Migration(
                    number: 9999, name: "next",
                    sql: """
                        SET LOCAL search_path = sba;
                        ALTER TABLE agent_runs ADD COLUMN priority bigint NOT NULL DEFAULT 0;
                        CREATE TABLE later (tenant_id uuid NOT NULL, id uuid NOT NULL, PRIMARY KEY (tenant_id, id));
                        """))
            for _ in 0..<3 {
                let run = try await client.send(
                    "POST", "/api/agent/runs", ["prompt": "hello", "options": ["tools": []]], headers: ["Prefer": "wait=30"])
                #expect(run.status == 200 && run.json["status"] == "succeeded")
            }
            #expect(await old.stop() == 0)
            let again = try await old.run("serve", "--port", "0")
            #expect(again.status == 1 && again.standardError.contains("9999"), "a start needs the newer binary")
            await schema.close()
        }
    }
}
