import Agents
import Domain
import Foundation
import Queue
import Storage
import Synchronization
import TestSupport
import Testing

/// What was noted, in order, from anywhere.
private final class Notes<Note: Sendable>: Sendable {
    private let notes = Mutex<[Note]>([])

    var all: [Note] { notes.withLock { $0 } }
    func add(_ note: Note) { notes.withLock { $0.append(note) } }
}

@Suite("PostgresEngine")
struct PostgresEngineTests {
    private func with(
        _ engine: TestEngine, _ adjust: (inout PostgresConfiguration) -> Void = { _ in },
        _ work: (PostgresEngine, TestPostgres.URLs) async throws -> Void
    ) async throws {
        try await TestPostgres.withDatabase(on: engine) { urls in
            let database = urls.engine(adjust)
            let result = await Result { try await work(database, urls) }
            await database.close()
            try result.get()
        }
    }

    /// The one number that a query answers.
    private func number(_ database: PostgresEngine, _ sql: String) async throws -> Int64 {
        try await database.read(ask(sql))[0].rows[0].int(0)
    }

    private func ask(_ sql: String, _ arguments: [SQLValue] = []) -> Batch { Batch(.system, [SQLStatement(sql, arguments)]) }

    @Test("values of every type come back as they went", arguments: TestEngine.postgres)
    func values(engine: TestEngine) async throws {
        try await with(engine) { database, _ in
            let id = UUID()
            let text = String(repeating: "für 名 ", count: 500_000)
            let answer = try await database.read(
                ask(
                    "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, '?1'",
                    [
                        .uuid(id), .int(Int64.min), .text(text), .json("{\"b\": 1, \"a\": 2}"), .bool(true), .bytes([0, 255]),
                        .text(""), .bytes([]), .int(nil), .uuid(nil),
                    ]))
            let row = answer[0].rows[0]
            #expect(row.uuid(0) == id)
            #expect(row.int(1) == .min)
            #expect(row.text(2) == text)
            #expect(row.text(3) == "{\"b\": 1, \"a\": 2}")
            #expect(row.bool(4))
            #expect(row.bytes(5) == [0, 255])
            #expect(row.text(6).isEmpty && row.bytes(7).isEmpty)
            #expect(row.optionalInt(8) == nil && row.optionalUUID(9) == nil)
            #expect(row.text(10) == "?1", "what is quoted is no parameter")
        }
    }

    @Test("answers of any length come through, also in the longest records of TLS", arguments: TestEngine.postgres)
    func lengths(engine: TestEngine) async throws {
        try await with(engine, { $0.statementTimeout = .seconds(5) }) { database, _ in
            for length in stride(from: 100, to: 12_000, by: 531) {
                let rows = try await database.read(
                    ask("SELECT repeat('x', ?1::int) FROM generate_series(1, 300)", [.int(length)]))[0].rows
                #expect(rows.count == 300 && rows.allSatisfy { $0.text(0).utf8.count == length })
            }
        }
    }

    @Test("a refusal at the commit is told, and others get their own answers", arguments: TestEngine.postgres)
    func refusedCommit(engine: TestEngine) async throws {
        try await with(engine, { $0.connections = 1 }) { database, urls in
            try await TestPostgres.connected(to: urls.owner) { owner in
                try await owner.run("CREATE TABLE sba.later (n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED)")
                try await owner.run("GRANT INSERT ON sba.later TO sba_system")
            }
            let insert = ask("INSERT INTO sba.later (n) VALUES (?1)", [.int(1)])
            _ = try await database.write(insert)
            // Few connections and many calls: those that wait share a round trip.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        if number.isMultiple(of: 5) {
                            await #expect(throws: StorageError.uniqueViolation("later_n_key")) {
                                try await database.write(insert)
                            }
                        } else {
                            let rows = try await database.read(ask("SELECT ?1", [.int(number)]))[0].rows
                            #expect(rows.map { $0.int(0) } == [Int64(number)])
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("closing at any moment comes to an end", arguments: [TestEngine.postgres18])
    func closingAtOnce(engine: TestEngine) async throws {
        try await with(engine) { _, urls in
            for number in 0..<200 {
                let database = urls.engine()
                async let answer = Result { try await self.number(database, "SELECT 7") }
                // At every moment of the thread's way to its first wait.
                for _ in 0..<(number % 20) { await Task.yield() }
                await database.close()
                switch await answer {
                case .success(let seven): #expect(seven == 7)
                case .failure(let error): #expect(error as? StorageError == .unavailable("the database is closed"))
                }
            }
        }
    }

    @Test("a cancelled read is broken off in the server, and its connection goes on", arguments: TestEngine.postgres)
    func cancel(engine: TestEngine) async throws {
        try await with(engine, { ($0.connections, $0.statementTimeout) = (1, .seconds(200)) }) { database, _ in
            let start = ContinuousClock.now
            // Also before the server has begun, which ignores it then.
            for delay in [300, 0, 1, 2, 5] {
                await #expect(throws: CancellationError.self) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        group.addTask { _ = try await database.read(ask("SELECT pg_sleep(100)")) }
                        try await Task.sleep(for: .milliseconds(delay))
                        group.cancelAll()
                        try await group.waitForAll()
                    }
                }
            }
            for _ in 0..<20 {
                let seven = try await number(database, "SELECT 7")
                #expect(seven == 7)
            }
            // Far from the time that they would have taken, on a machine that is busy with other tests.
            #expect(.now - start < .seconds(90))
        }
    }

    @Test("a statement that takes too long is ended by the server", arguments: TestEngine.postgres)
    func statementTimeout(engine: TestEngine) async throws {
        try await with(engine, { $0.statementTimeout = .milliseconds(300) }) { database, _ in
            let start = ContinuousClock.now
            let refusal = await #expect(throws: StorageError.self) { try await database.write(ask("SELECT pg_sleep(20)")) }
            #expect("\(String(describing: refusal))".contains("57014"))
            #expect(.now - start < .seconds(15))
        }
    }

    @Test("calls wait for a connection no longer than the bound, and are told so")
    func pool() async throws {
        try await with(.postgres18, { ($0.connections, $0.wait) = (1, .milliseconds(400)) }) { database, urls in
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await database.read(ask("SELECT pg_sleep(100)")) }
                // The one connection is taken before the others ask.
                try await TestPostgres.connected(to: try urls.superuser()) { superuser in
                    let look =
                        "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(100)' AND datname = current_database()"
                    let end = ContinuousClock.now + .seconds(60)
                    while try await superuser.ask(look).isEmpty, .now < end { try await Task.sleep(for: .milliseconds(20)) }
                }
                await withTaskGroup(of: Void.self) { others in
                    for _ in 0..<5 {
                        others.addTask {
                            await #expect(throws: StorageError.overloaded) { try await database.read(ask("SELECT 1")) }
                        }
                    }
                }
                group.cancelAll()
            }
            let one = try await number(database, "SELECT 1")
            #expect(one == 1)
        }
    }

    @Test("transactions that block each other are repeated", arguments: TestEngine.postgres)
    func deadlock(engine: TestEngine) async throws {
        try await with(engine) { database, _ in
            for key in ["a", "b"] {
                _ = try await database.write(
                    ask("INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, 'x', 1)", [.text(key)]))
            }
            // sba_system may not change a key, but lock its users: rows to lock in opposite orders.
            func lock(_ first: Int64, _ second: Int64) -> Batch {
                Batch(
                    .system,
                    [
                        SQLStatement("SELECT pg_advisory_xact_lock(?1)", [.int(first)]),
                        SQLStatement("SELECT pg_sleep(0.3)"),
                        SQLStatement("SELECT pg_advisory_xact_lock(?1)", [.int(second)]),
                        SQLStatement(
                            "INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, 'x', 1)", [.text("\(first)")]),
                    ])
            }
            async let one = database.write(lock(1, 2))
            async let other = database.write(lock(2, 1))
            _ = try await (one, other)
            #expect(try await database.read(ask("SELECT id FROM signing_keys"))[0].rows.count == 4)
        }
    }

    @Test("several reads of one batch see one state", arguments: TestEngine.postgres)
    func snapshot(engine: TestEngine) async throws {
        try await with(engine) { database, _ in
            let count = SQLStatement("SELECT count(*) FROM signing_keys")
            async let read = database.read(Batch(.system, [count, SQLStatement("SELECT pg_sleep(0.5)"), count]))
            try await Task.sleep(for: .milliseconds(200))
            _ = try await database.write(ask("INSERT INTO signing_keys (id, sealed, created_at) VALUES ('k', 'x', 1)"))
            let answers = try await read
            #expect(answers[0].rows[0].int(0) == answers[2].rows[0].int(0))
            #expect(try await database.read(Batch(.system, [count]))[0].rows[0].int(0) == 1)
        }
    }

    @Test("a connection keeps a bounded number of prepared statements, and only where it may", arguments: TestEngine.postgres)
    func prepared(engine: TestEngine) async throws {
        try await with(engine, { $0.connections = 1 }) { database, urls in
            for number in 0..<600 {
                let sum = try await database.read(ask("SELECT \(number) + ?1", [.int(1)]))[0].rows[0].int(0)
                #expect(sum == number + 1)
            }
            // The bound is met by a read of several statements, whose transaction has to begin before anything is looked at.
            for number in 0..<400 {
                let several = [SQLStatement("SELECT \(number)"), SQLStatement("SELECT -\(number)")]
                let answers = try await database.read(Batch(.system, several))
                #expect(answers.map { $0.rows[0].int(0) } == [Int64(number), -Int64(number)])
            }
            let kept = try await database.read(ask("SELECT count(*) FROM pg_prepared_statements"))[0].rows[0].int(0)
            #expect(urls.pooler == .none ? (1...256).contains(kept) : kept == 0)
        }
    }

    @Test("connections that the server ends are made anew, and nothing is lost or doubled", arguments: TestEngine.postgres)
    func terminated(engine: TestEngine) async throws {
        try await with(engine) { database, urls in
            try await TestPostgres.connected(to: try urls.superuser()) { superuser in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for writer in 0..<4 {
                        group.addTask {
                            for number in 0..<50 {
                                let insert = "INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, 'x', 1)"
                                let key = SQLValue.text("\(writer)-\(number)")
                                _ = try await database.write(
                                    Batch(
                                        .system, [SQLStatement(insert + " ON CONFLICT (id) DO NOTHING", [key])],
                                        isRepeatable: true))
                                try await Task.sleep(for: .milliseconds(4))
                            }
                        }
                    }
                    for _ in 0..<8 {
                        try await Task.sleep(for: .milliseconds(40))
                        _ = try await superuser.ask(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sba_system' AND datname = current_database()"
                        )
                    }
                    try await group.waitForAll()
                }
            }
            let count = try await number(database, "SELECT count(*) FROM signing_keys")
            #expect(count == 200)
        }
    }

    @Test("many calls share few connections, each in a transaction of its own", arguments: TestEngine.postgres)
    func shared(engine: TestEngine) async throws {
        try await with(engine, { ($0.connections, $0.wait) = (2, .seconds(120)) }) { database, _ in
            let sealed = "INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, 'x', 1)"
            let outcomes = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<400 {
                    // Every fourth breaks a constraint of its own, in the middle of its neighbours.
                    let key = SQLValue.text(number.isMultiple(of: 4) ? "same" : "\(number)")
                    group.addTask { (try? await database.write(ask(sealed, [key]))) != nil }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(outcomes == 301)
            let count = try await number(database, "SELECT count(*) FROM signing_keys")
            #expect(count == 301)
        }
    }

    @Test("a server that cannot be reached is told after the bound, with its reason")
    func unreachable() async throws {
        var configuration = PostgresConfiguration(url: "postgresql://sba_app@127.0.0.1:1/nowhere")
        configuration.outage = .milliseconds(300)
        let database = PostgresEngine(tenants: configuration, system: configuration)
        let start = ContinuousClock.now
        let refusal = await #expect(throws: StorageError.self) { try await database.read(ask("SELECT 1")) }
        if case .unavailable(let reason) = refusal { #expect(reason.contains("127.0.0.1")) }
        #expect((.milliseconds(300)...(.seconds(30))).contains(.now - start))
        await database.close()
        await #expect(throws: StorageError.unavailable("the database is closed")) { try await database.read(ask("SELECT 1")) }
    }

    @Test("closing ends every connection", arguments: [TestEngine.postgres18, .postgres15])
    func close(engine: TestEngine) async throws {
        try await TestPostgres.withDatabase(on: engine) { urls in
            let database = urls.engine()
            _ = try await database.read(ask("SELECT 1"))
            await database.close()
            try await TestPostgres.connected(to: try urls.superuser()) { superuser in
                let count = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'sba_%' AND datname = current_database()"
                var left = ""
                for _ in 0..<100 where left != "0" {
                    left = try await superuser.ask(count).first ?? ""
                    try await Task.sleep(for: .milliseconds(10))
                }
                #expect(left == "0")
            }
        }
    }

    @Test("a listener hears everything that is said, and comes back when its connection is lost")
    func listener() async throws {
        try await with(.postgres18) { database, urls in
            let heard = Notes<String?>()
            let listener = PostgresListener(PostgresConfiguration(url: urls.system), channel: "test") { payload in
                heard.add(payload)
            } onFailure: { reason in
                Issue.record("\(reason)")
            }
            func wait(for count: Int) async throws {
                for _ in 0..<500 where heard.all.count < count { try await Task.sleep(for: .milliseconds(10)) }
            }
            try await wait(for: 1)
            for number in 0..<200 { try await database.notify(channel: "test", payload: "\(number)") }
            try await wait(for: 201)
            #expect(heard.all == [nil] + (0..<200).map { "\($0)" })
            try await TestPostgres.connected(to: try urls.superuser()) { superuser in
                _ = try await superuser.ask(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN test'")
            }
            try await wait(for: 202)
            #expect(heard.all.last == .some(nil), "something may have been missed meanwhile")
            listener.close()
        }
    }

    @Test("a listener that cannot connect says why, once, and closes all the same")
    func deafListener() async throws {
        let reasons = Notes<String>()
        let nowhere = PostgresConfiguration(url: "postgresql://127.0.0.1:1/none")
        let listener = PostgresListener(nowhere, channel: "test") { _ in
            Issue.record("nobody says anything")
        } onFailure: { reason in
            reasons.add(reason)
        }
        for _ in 0..<500 where reasons.all.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
        // Longer than it waits before it tries again.
        try await Task.sleep(for: .milliseconds(1500))
        listener.close()
        #expect(reasons.all.count == 1)
        #expect(reasons.all.first?.contains("127.0.0.1") == true)
    }
}
