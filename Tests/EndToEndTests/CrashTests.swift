import Domain
import Foundation
import TestSupport
import Testing

@Suite("Crashes", .serialized)
struct CrashTests {
    /// Kills of the server on the embedded database; `make crash-test` asks for 100.
    private static let kills = ProcessInfo.processInfo.environment["SBA_TEST_KILLS"].flatMap { Int($0) } ?? 20

    /// On PostgreSQL a dead process's leases have to run out before anybody goes on: each kill takes seconds.
    private static func kills(on engine: TestEngine) -> Int { engine.isPostgres ? max(kills / 4, 1) : kills }

    private static let clients = 4

    @Test(
        "kill -9 at any moment loses, repeats and skips nothing", .timeLimit(.minutes(20)), arguments: TestEngine.servers)
    func kills(engine: TestEngine) async throws {
        let environment = ["SBA_LOG_LEVEL": "warning"]
        try await withServer(on: engine, environment: environment, toolDuration: .milliseconds(250)) { server, client, tools in
            let load = RunLoad(server: server)
            let killsInTool = try await load.run(clients: Self.clients, token: client.token) {
                try await killRepeatedly(server, tools, load, engine)
            }
            let verdict = try await load.verdict(tools, TestClient(url: server.url, token: client.token))
            let kills = Self.kills(on: engine)
            print("crash test: \(kills) kills on \(engine), \(killsInTool) of them between a tool's intent and its result")
            print(verdict)
            #expect(verdict.isClean)
            #expect(verdict.runs >= Self.clients)
            #expect(killsInTool * 2 >= kills)
            #expect(verdict.longestSilence < .seconds(10))
        }
    }

    /// Kills and restarts; answers how many kills came between a tool's intent and its result.
    private func killRepeatedly(
        _ server: SBAProcess, _ tools: JournalToolServer, _ load: RunLoad, _ engine: TestEngine
    ) async throws -> Int {
        var inTool = 0
        for number in 0..<Self.kills(on: engine) {
            // Where leases have to run out, kills that follow faster than that would add up.
            if engine.isPostgres { try await load.waitForRecovery(atMost: .seconds(20)) }
            if number.isMultiple(of: 4) {
                try await Task.sleep(for: .milliseconds(Int.random(in: 50...500)))
            } else {
                #expect(await tools.waitForCall(atMost: .seconds(20)), "a tool is called again after every start")
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...150)))
            }
            if tools.inFlight > 0 { inTool += 1 }
            await server.kill()
            try await server.start()
        }
        return inTool
    }
}
