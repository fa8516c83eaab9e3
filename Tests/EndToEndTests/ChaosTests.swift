import Domain
import Foundation
import Glibc
import Storage
import TestSupport
import Testing

/// What a server stands on fails under load: nothing is lost or doubled, and it goes on without a hand.
@Suite("Chaos", .serialized)
struct ChaosTests {
    /// How often each fault comes; `make chaos` asks for more.
    private static let rounds = ProcessInfo.processInfo.environment["SBA_TEST_ROUNDS"].flatMap { Int($0) } ?? 3

    /// Runs a load on the real server while `disturb` does its worst, and checks what came of it.
    private func disturbing(
        _ fault: String, on engine: TestEngine = .postgres18, environment: [String: String] = [:], clients: Int = 6,
        _ disturb: @escaping @Sendable (SBAProcess, TestClient, RunLoad) async throws -> Void
    ) async throws {
        try await withServer(on: engine, environment: environment, toolDuration: .milliseconds(100)) { server, client, tools in
            try await verify(fault, server, client, tools, clients: clients, disturb)
        }
    }

    private func verify(
        _ fault: String, _ server: SBAProcess, _ client: TestClient, _ tools: JournalToolServer, clients: Int,
        _ disturb: @Sendable (SBAProcess, TestClient, RunLoad) async throws -> Void
    ) async throws {
        let load = RunLoad(server: server)
        let pid = server.pid
        try await load.run(clients: clients, token: client.token) { try await disturb(server, client, load) }
        let verdict = try await load.verdict(tools, client)
        print("chaos: \(fault)\n\(verdict)")
        #expect(verdict.isClean)
        #expect(verdict.waiting == 0, "no person is needed")
        #expect(server.pid == pid && kill(pid, 0) == 0, "the server was never restarted")
    }

    private func pause(_ milliseconds: ClosedRange<Int>) async throws {
        try await Task.sleep(for: .milliseconds(Int.random(in: milliseconds)))
    }

    @Test("PostgreSQL is restarted", .timeLimit(.minutes(5)))
    func restart() async throws {
        try await disturbing("PostgreSQL restarted at once \(Self.rounds) times") { _, _, _ in
            for _ in 0..<Self.rounds {
                try await pause(500...1500)
                // Not by Process, which would wait for the server that the script leaves running.
                #expect(system("\(try TestPostgres.variable("SBA_TEST_SERVICES")) restart postgres-18 > /dev/null") == 0)
            }
            try await pause(1000...1000)
        }
    }

    @Test("one backend after another is terminated", .timeLimit(.minutes(5)), arguments: [TestEngine.postgres18, .pgBouncer])
    func terminate(engine: TestEngine) async throws {
        try await disturbing("\(10 * Self.rounds) backends terminated, on \(engine)", on: engine) { _, _, _ in
            try await TestPostgres.connected(to: try TestPostgres.superuser(on: engine)) { superuser in
                for _ in 0..<10 * Self.rounds {
                    try await pause(20...150)
                    _ = try await superuser.ask(
                        """
                        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE usename IN ('sba_app', 'sba_system') ORDER BY state, random() LIMIT 1
                        """)
                }
            }
            try await pause(500...500)
        }
    }

    @Test("there are far fewer connections than work", .timeLimit(.minutes(5)))
    func exhausted() async throws {
        try await disturbing(
            "one connection a role for 24 clients", environment: ["SBA_DATABASE_CONNECTIONS": "1"], clients: 24
        ) { _, _, _ in
            try await Task.sleep(for: .seconds(Self.rounds))
        }
    }

    @Test("a forgotten transaction holds locks", .timeLimit(.minutes(5)))
    func locks() async throws {
        try await disturbing("rows of every run locked \(Self.rounds) times for two seconds by an idle transaction") { _, _, _ in
            try await TestPostgres.connected(to: try TestPostgres.superuser(on: .postgres18)) { superuser in
                var names: [String] = []
                while names.isEmpty {
                    try await pause(50...50)
                    names = try await superuser.ask("SELECT datname FROM pg_stat_activity WHERE usename = 'sba_app' LIMIT 1")
                }
                let name = try #require(names.first)
                let url = TestPostgres.url(
                    try TestPostgres.superuser(on: .postgres18), database: name, user: "postgres", password: "postgres")
                try await TestPostgres.connected(to: url) { forgetful in
                    for _ in 0..<Self.rounds {
                        try await pause(300...600)
                        try await forgetful.run("BEGIN; SELECT FROM sba.run_heads FOR UPDATE")
                        try await Task.sleep(for: .seconds(2))
                        try await forgetful.run("ROLLBACK")
                    }
                }
            }
        }
    }

    @Test("connections are cut before and after a commit", .timeLimit(.minutes(5)))
    func cut() async throws {
        try await TestPostgres.withDatabase(on: .postgres18) { urls in
            let proxy = try CuttingProxy(server: TestPostgres.port(of: urls.application))
            defer { proxy.close() }
            let environment = [
                "DATABASE_URL": TestPostgres.url(urls.application, port: proxy.port), "DATABASE_SYSTEM_URL": urls.system,
                "SBA_SECRET_KEY": "a secret that all processes of a test share",
            ]
            try await disturbing("connections cut at a Sync", on: .sqliteFile, environment: environment) { _, _, _ in
                for number in 0..<10 * Self.rounds {
                    try await pause(20...120)
                    proxy.cut(number.isMultiple(of: 2) ? .afterSync : .beforeSync)
                }
                try await pause(200...200)
            }
            print("  connections cut                      \(proxy.cutCount)")
            #expect(proxy.cutCount >= 5 * Self.rounds)
        }
    }

    @Test("the disk of the embedded database is full for a while", .timeLimit(.minutes(5)))
    func fullDisk() async throws {
        let folder = TemporaryFolder()
        let disk = try SmallDisk(at: folder.path + "/data", megabytes: 24)
        defer { disk.remove() }
        try await withServer(folder: folder, toolDuration: .milliseconds(100)) { server, client, tools in
            try await verify("disk full \(Self.rounds) times", server, client, tools, clients: 4) { _, client, _ in
                var refused = 0
                for _ in 0..<Self.rounds {
                    try await pause(300...600)
                    try disk.fill()
                    for _ in 0..<20 {
                        let answer = try await client.send("POST", "/api/agent/runs", ["prompt": "words:1"])
                        if answer.status == 503, answer.json["code"] == "storage_unavailable" { refused += 1 }
                        try await pause(20...40)
                    }
                    try disk.free()
                }
                print("  requests refused with 503            \(refused)")
                #expect(refused > 0, "the disk was really full")
            }
        }
    }
}

/// A file system of its own, small enough to fill.
private struct SmallDisk {
    private let path: String

    /// Mounts it, which takes a superuser: as such, or by `sudo` without a password.
    init(at path: String, megabytes: Int) throws {
        self.path = path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Self.run(["mount", "-t", "tmpfs", "-o", "size=\(megabytes)m,mode=0700,uid=\(getuid())", "tmpfs", path])
    }

    private static func run(_ command: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = getuid() == 0 ? command : ["sudo", "-n"] + command
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw SBAProcess.NotStarted(description: "'\(command.joined(separator: " "))' failed; it needs root or sudo")
        }
    }

    /// Writes until nothing more fits.
    func fill() throws {
        let descriptor = open(path + "/filler", O_WRONLY | O_CREAT, 0o600)
        let block = [UInt8](repeating: 1, count: 4096)
        while write(descriptor, block, block.count) > 0 {}
        close(descriptor)
    }

    func free() throws { try FileManager.default.removeItem(atPath: path + "/filler") }

    func remove() { try? Self.run(["umount", "--lazy", path]) }
}
