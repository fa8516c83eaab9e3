import Domain
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// Workers in processes of their own are killed, frozen, drained and misled about the time, under load: nothing is lost or
/// doubled, and it goes on without a hand. What happened is counted by clients and by the tools, outside of the server.
@Suite("Worker chaos", .serialized)
struct WorkerChaosTests {
    /// Kills of workers; `make chaos` asks for 1,000.
    private static let kills = ProcessInfo.processInfo.environment["SBA_TEST_WORKER_KILLS"].flatMap { Int($0) } ?? 50
    private static let rounds = ProcessInfo.processInfo.environment["SBA_TEST_ROUNDS"].flatMap { Int($0) } ?? 3
    private static let workers = 3
    private static let clients = 6

    /// What goes on beside the load.
    private struct Scene: Sendable {
        let server: SBAProcess
        let workers: [SBAProcess]
        let load: RunLoad
        let tools: JournalToolServer
    }

    /// One process that serves and three that work, on one PostgreSQL, while `disturb` does its worst.
    ///
    /// - Parameter environment: of the workers, by number.
    @discardableResult
    private func disturbing(
        _ fault: String, environment: @escaping @Sendable (Int) -> [String: String] = { _ in [:] },
        _ disturb: @escaping @Sendable (Scene) async throws -> Void
    ) async throws -> Verdict {
        let outcome = Mutex(Verdict())
        let serving = ["SBA_WORKER": "off", "SBA_LOG_LEVEL": "notice"]
        try await withServer(on: .postgres18, environment: serving, toolDuration: .milliseconds(100)) { server, client, tools in
            let workers = (0..<Self.workers).map { number in
                server.sibling("--only-worker", environment: ["SBA_WORKER": "only"].merging(environment(number)) { $1 })
            }
            for worker in workers { try await worker.start() }
            let scene = Scene(server: server, workers: workers, load: RunLoad(server: server), tools: tools)
            try await scene.load.run(clients: Self.clients, token: client.token) { try await disturb(scene) }
            let verdict = try await scene.load.verdict(tools, TestClient(url: server.url, token: client.token))
            for worker in workers { await worker.stop() }
            print("worker chaos: \(fault)\n\(verdict)")
            #expect(verdict.isClean)
            #expect(verdict.runs >= Self.clients)
            outcome.withLock { $0 = verdict }
        }
        return outcome.withLock { $0 }
    }

    private func pause(_ milliseconds: ClosedRange<Int>) async throws {
        try await Task.sleep(for: .milliseconds(Int.random(in: milliseconds)))
    }

    @Test("one worker after another is killed", .timeLimit(.minutes(60)))
    func killed() async throws {
        try await disturbing("\(Self.kills) workers killed") { scene in
            for number in 0..<Self.kills {
                let worker = scene.workers[number % Self.workers]
                try await pause(50...400)
                await worker.kill()
                try await worker.start()
            }
            try await Task.sleep(for: .seconds(10))
        }
    }

    @Test("a worker that dies is noticed within ten seconds", .timeLimit(.minutes(5)))
    func noticed() async throws {
        let verdict = try await disturbing("one worker killed for good") { scene in
            try await pause(1000...1500)
            await scene.workers[0].kill()
            try await Task.sleep(for: .seconds(12))
        }
        #expect(verdict.longestPause < .seconds(10))
    }

    @Test("every process is killed at once", .timeLimit(.minutes(10)))
    func allKilled() async throws {
        try await disturbing("every process killed \(Self.rounds) times") { scene in
            for _ in 0..<Self.rounds {
                try await pause(500...2000)
                let all = scene.workers + [scene.server]
                for process in all { process.signal(SIGKILL) }
                for process in all { await process.kill() }
                for process in all { try await process.start() }
                try await scene.load.waitForRecovery(atMost: .seconds(20))
            }
        }
    }

    @Test("workers are told to stop, and drain", .timeLimit(.minutes(10)))
    func drained() async throws {
        let drain = ["SBA_DRAIN_SECONDS": "1"]
        try await disturbing("workers stopped \(2 * Self.rounds) times", environment: { _ in drain }) { scene in
            for number in 0..<2 * Self.rounds {
                try await pause(300...900)
                let worker = scene.workers[number % Self.workers]
                let begun = ContinuousClock.now
                let status = await worker.stop()
                #expect(status == 0)
                #expect(.now - begun < .seconds(10), "within its bound, and handing back the rest")
                try await worker.start()
            }
        }
    }

    @Test("a worker is frozen past its leases, and goes on", .timeLimit(.minutes(10)))
    func frozen() async throws {
        try await disturbing("a worker frozen for 9 s, \(Self.rounds) times") { scene in
            for number in 0..<Self.rounds {
                try await pause(300...900)
                let worker = scene.workers[number % Self.workers]
                worker.signal(SIGSTOP)
                try await Task.sleep(for: .seconds(9))
                worker.signal(SIGCONT)
                try await pause(500...1000)
            }
        }
    }

    @Test("a worker's clock is an hour off", .timeLimit(.minutes(10)), arguments: ["+1h", "-1h"])
    func clock(offset: String) async throws {
        let off = [
            "LD_PRELOAD": "/usr/lib/\(Self.architecture)-linux-gnu/faketime/libfaketime.so.1", "FAKETIME": offset,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        ]
        try await disturbing("a worker \(offset)", environment: { $0 == 0 ? off : [:] }) { scene in
            #expect(scene.workers[0].log.contains("This machine's clock is wrong"))
            #expect(!scene.workers[1].log.contains("This machine's clock is wrong"))
            for worker in scene.workers.dropFirst() {
                try await pause(500...1000)
                await worker.kill()
                try await worker.start()
            }
            try await Task.sleep(for: .seconds(8))
        }
    }

    private static var architecture: String {
        #if arch(arm64)
            "aarch64"
        #else
            "x86_64"
        #endif
    }

    @Test("PostgreSQL is restarted under several processes", .timeLimit(.minutes(10)))
    func databaseRestarted() async throws {
        try await disturbing("PostgreSQL restarted \(Self.rounds) times") { _ in
            for _ in 0..<Self.rounds {
                try await pause(500...1500)
                #expect(system("\(try TestPostgres.variable("SBA_TEST_SERVICES")) restart postgres-18 > /dev/null") == 0)
            }
            try await pause(1000...1000)
        }
    }
}
