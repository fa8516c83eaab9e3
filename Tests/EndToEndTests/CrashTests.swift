import Domain
import Foundation
import Hummingbird
import Synchronization
import TestSupport
import Testing

/// What one client saw of one run, over as many connections as it took.
private struct Seen: Sendable {
    let run: String
    var events: [TestClient.Event] = []
    var gaps = 0
    /// When the last new event came.
    var lastEvent = ContinuousClock.now

    var lastID: Int64 { events.last?.id ?? 0 }
    var isOver: Bool { events.last.map { $0.type == "RUN_FINISHED" || $0.type == "RUN_ERROR" } ?? false }
    var isWaiting: Bool { events.last?.json["name"] == "sba.waiting" }
}

/// Clients that start runs and follow each to its end, whatever happens to the server.
private final class Load: Sendable {
    private let server: SBAProcess
    private let seen = Mutex<[String: Seen]>([:])
    private let stopping = Mutex(false)
    /// The longest silence of a stream that a kill has broken.
    private let recovery = Mutex(Duration.zero)

    init(server: SBAProcess) { self.server = server }

    var results: [Seen] { seen.withLock { Array($0.values) } }
    var longestRecovery: Duration { recovery.withLock { $0 } }

    func stop() { stopping.withLock { $0 = true } }

    func run(_ number: Int, token: String) async {
        var count = 0
        while !stopping.withLock({ $0 }) {
            count += 1
            let tool = (number + count).isMultiple(of: 2) ? "ledger" : "note"
            let prompt = "tools:2 tool:\(tool) words:12 delay:15"
            guard let run = await create(prompt, key: "load-\(number)-\(count)", token) else { return }
            await follow(run, token)
        }
    }

    /// Asks under one key until there is an answer.
    private func create(_ prompt: String, key: String, _ token: String) async -> String? {
        for _ in 0..<1000 {
            let client = TestClient(url: server.url, token: token)
            let answer = try? await client.send(
                "POST", "/api/agent/runs", ["prompt": .string(prompt)], headers: ["Idempotency-Key": key])
            if answer?.status == 202, let run = answer?.json["id"]?.string {
                seen.withLock { $0[run] = Seen(run: run) }
                return run
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return nil
    }

    /// Follows the run over broken connections, from where it was.
    private func follow(_ run: String, _ token: String) async {
        var brokenAt: ContinuousClock.Instant?
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            let before = seen.withLock { $0[run]?.lastID ?? 0 }
            let client = TestClient(url: server.url, token: token)
            let broken = brokenAt
            try? await client.events("GET", "/api/agent/runs/\(run)/events", after: before) { event in
                if let broken, event.id == before + 1 {
                    recovery.withLock { $0 = max($0, .now - broken) }
                }
                return note(event, run)
            }
            let state = seen.withLock { $0[run] }
            if state?.isOver == true || state?.isWaiting == true { return }
            if brokenAt == nil || (state?.lastID ?? 0) > before { brokenAt = .now }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Answers whether to go on.
    private func note(_ event: TestClient.Event, _ run: String) -> Bool {
        seen.withLock { seen in
            guard var state = seen[run] else { return false }
            if event.id != state.lastID + 1 { state.gaps += 1 }
            state.events.append(event)
            state.lastEvent = .now
            seen[run] = state
            return !state.isWaiting
        }
    }
}

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
        let model = ScriptedModelServer()
        let tools = JournalToolServer(duration: .milliseconds(250))
        let router = Router()
        model.addRoutes(to: router)
        tools.addRoutes(to: router)
        try await withHTTPServer(router) { url in
            let folder = TemporaryFolder()
            let toolsFile = folder.path + "/tools.json"
            try JournalToolServer.declaration(url: url).write(toFile: toolsFile, atomically: true, encoding: .utf8)
            let environment = [
                "OPENAI_BASE_URL": url + "/v1", "SBA_MODEL": "openai/scripted", "SBA_TOOLS_FILE": toolsFile,
                "SBA_LOG_LEVEL": "warning",
            ]
            try await engine.withServerEnvironment { database in
                let server = SBAProcess(environment: environment.merging(database) { $1 }, folder: folder)
                try await server.start()
                let client = try await TestClient.signedIn(to: server)
                let load = Load(server: server)
                let killsInTool = try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<Self.clients { group.addTask { await load.run(number, token: client.token) } }
                    let count = try await killRepeatedly(server, tools, times: Self.kills(on: engine))
                    load.stop()
                    try await group.waitForAll()
                    return count
                }
                let later = TestClient(url: server.url, token: client.token)
                try await verify(load, tools, later, engine, killsInTool, modelCalls: model.requestCount)
                await server.stop()
            }
        }
    }

    /// Kills and restarts; answers how many kills came between a tool's intent and its result.
    private func killRepeatedly(_ server: SBAProcess, _ tools: JournalToolServer, times: Int) async throws -> Int {
        var inTool = 0
        for number in 0..<times {
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

    private func verify(
        _ load: Load, _ tools: JournalToolServer, _ client: TestClient, _ engine: TestEngine, _ killsInTool: Int,
        modelCalls: Int
    ) async throws {
        var lost = 0
        var repeatedSteps = 0
        var missingFromLog = 0
        var waiting = 0
        var repeatedModelCalls = 0
        let runs = load.results
        for seen in runs {
            let final = try await client.wait(for: seen.run, in: ["succeeded", "waiting", "failed", "cancelled", "expired"])
            if !["succeeded", "waiting"].contains(final["status"]?.string ?? "") {
                lost += 1
                Issue.record("lost: \(final)")
                continue
            }
            if final["status"] == "waiting" {
                waiting += 1
                try await settle(seen.run, client)
            }
            let log = try await client.log(of: seen.run)
            let byID = Dictionary(uniqueKeysWithValues: log.map { ($0.id, $0.data) })
            missingFromLog += seen.events.filter { byID[$0.id] != $0.data }.count
            let finished = log.filter { $0.type == "STEP_FINISHED" }.compactMap { $0.json["stepName"]?.string }
            repeatedSteps += finished.count - Set(finished).count
            #expect(log.map(\.id) == Array(1...Int64(log.count)), "the log of \(seen.run) has no gap")
            #expect(log.last?.type == "RUN_FINISHED")
            let steps = try await client.send("GET", "/api/agent/runs/\(seen.run)/steps").json["items"]?.array ?? []
            repeatedModelCalls += steps.filter { $0["kind"] == "model" }.reduce(0) { $0 + Int($1["attempt"]?.int ?? 1) - 1 }
        }
        let ledger = tools.entries.filter { $0.tool == "ledger" }.map(\.key)
        let repeatedDispatches = ledger.count - Set(ledger).count
        let gaps = runs.reduce(0) { $0 + $1.gaps }
        print(
            """
            crash test: \(Self.kills(on: engine)) kills on \(engine), \(killsInTool) of them between a tool's intent and its result
              runs started                         \(runs.count)
              lost runs                            \(lost)
              finished steps repeated              \(repeatedSteps)
              non-idempotent dispatches repeated   \(repeatedDispatches) of \(ledger.count)
              gaps or repeats in streams           \(gaps)
              events seen that the log lacks       \(missingFromLog)
              longest silence after a kill         \(load.longestRecovery)
              runs left waiting for a person       \(waiting), all resumed to their end
              model calls repeated                 \(repeatedModelCalls) of \(modelCalls)
            """)
        #expect(runs.count >= Self.clients)
        #expect(killsInTool * 2 >= Self.kills(on: engine))
        #expect(lost == 0)
        #expect(repeatedSteps == 0)
        #expect(repeatedDispatches == 0)
        #expect(gaps == 0)
        #expect(missingFromLog == 0)
        #expect(load.longestRecovery < .seconds(10))
    }

    /// Decides about every call of a waiting run, as a person would, until it ends.
    private func settle(_ run: String, _ client: TestClient) async throws {
        for _ in 0..<10 {
            let calls = try await client.send("GET", "/api/agent/runs/\(run)/tool-calls").json["items"]?.array ?? []
            guard let open = calls.first(where: { $0["state"] == "unknown" }) else { return }
            let answer = try await client.send(
                "POST", "/api/agent/runs/\(run)/resume",
                ["toolCallId": open["id"] ?? .null, "decision": "result", "result": "seen to"])
            #expect(answer.status == 202)
            let now = try await client.wait(for: run, in: ["succeeded", "waiting", "failed"])
            if now["status"] == "succeeded" { return }
        }
        Issue.record("\(run) never ended")
    }
}
