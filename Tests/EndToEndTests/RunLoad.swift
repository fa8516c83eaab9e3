import Domain
import Foundation
import Synchronization
import TestSupport
import Testing

/// What one client saw of one run, over as many connections as it took.
struct Seen: Sendable {
    let run: String
    var events: [TestClient.Event] = []
    var gaps = 0
    /// When the last new event came.
    var lastEvent = ContinuousClock.now

    var lastID: Int64 { events.last?.id ?? 0 }
    var isOver: Bool { events.last.map { $0.type == "RUN_FINISHED" || $0.type == "RUN_ERROR" } ?? false }
    var isWaiting: Bool { events.last?.json["name"] == "sba.waiting" }
}

/// Clients that start runs and follow each to its end, whatever happens to the server or to what it stands on.
final class RunLoad: Sendable {
    private let server: SBAProcess
    private let seen = Mutex<[String: Seen]>([:])
    private let stopping = Mutex(false)
    /// The longest silence of a stream that was broken.
    private let recovery = Mutex(Duration.zero)
    /// The longest time between two events of a run, as its client saw them.
    private let longestPause = Mutex(Duration.zero)
    /// Runs whose stream was broken and has not gone on.
    private let brokenRuns = Mutex<Set<String>>([])

    init(server: SBAProcess) { self.server = server }

    var results: [Seen] { seen.withLock { Array($0.values) } }

    /// Keeps `clients` busy while `disturb` runs; answers what it answers once the last run has ended.
    func run<Value: Sendable>(clients: Int, token: String, disturb: () async throws -> Value) async throws -> Value {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<clients { group.addTask { await self.run(number, token: token) } }
            let result = await Result { try await disturb() }
            stopping.withLock { $0 = true }
            try await group.waitForAll()
            return try result.get()
        }
    }

    /// Waits until every stream that was broken has gone on.
    func waitForRecovery(atMost bound: Duration) async throws {
        let end = ContinuousClock.now + bound
        while ContinuousClock.now < end, !brokenRuns.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(20)) }
    }

    private func run(_ number: Int, token: String) async {
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
            brokenRuns.withLock { _ = $0.insert(run) }
            if brokenAt == nil || (state?.lastID ?? 0) > before { brokenAt = .now }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Answers whether to go on.
    private func note(_ event: TestClient.Event, _ run: String) -> Bool {
        seen.withLock { seen in
            guard var state = seen[run] else { return false }
            if event.id != state.lastID + 1 { state.gaps += 1 }
            brokenRuns.withLock { _ = $0.remove(run) }
            state.events.append(event)
            longestPause.withLock { $0 = max($0, .now - state.lastEvent) }
            state.lastEvent = .now
            seen[run] = state
            return !state.isWaiting
        }
    }
}

/// What a load came to: counted by its clients and by the tools, outside of the server.
struct Verdict: CustomStringConvertible {
    var runs = 0
    var lost = 0
    var repeatedSteps = 0
    var dispatches = 0
    var repeatedDispatches = 0
    var gaps = 0
    var missingFromLog = 0
    var waiting = 0
    var repeatedModelCalls = 0
    var longestSilence = Duration.zero
    var longestPause = Duration.zero

    var description: String {
        """
          runs started                         \(runs)
          lost runs                            \(lost)
          finished steps repeated              \(repeatedSteps)
          non-idempotent dispatches repeated   \(repeatedDispatches) of \(dispatches)
          gaps or repeats in streams           \(gaps)
          events seen that the log lacks       \(missingFromLog)
          longest silence of a broken stream   \(longestSilence)
          longest pause between two events     \(longestPause)
          runs left waiting for a person       \(waiting), all resumed to their end
          model calls repeated                 \(repeatedModelCalls)
        """
    }

    /// Whether nothing was lost, doubled or left out.
    var isClean: Bool { lost + repeatedSteps + repeatedDispatches + gaps + missingFromLog == 0 && runs > 0 }
}

extension RunLoad {
    /// Waits for every run's end and compares what its client saw with its log and with what the tools were asked to do.
    func verdict(_ tools: JournalToolServer, _ client: TestClient) async throws -> Verdict {
        var verdict = Verdict()
        for seen in results {
            verdict.runs += 1
            let final = try await client.wait(for: seen.run, in: ["succeeded", "waiting", "failed", "cancelled", "expired"])
            if !["succeeded", "waiting"].contains(final["status"]?.string ?? "") {
                verdict.lost += 1
                Issue.record("lost: \(final)")
                continue
            }
            if final["status"] == "waiting" {
                verdict.waiting += 1
                try await settle(seen.run, client)
            }
            let log = try await client.log(of: seen.run)
            let byID = Dictionary(uniqueKeysWithValues: log.map { ($0.id, $0.data) })
            verdict.missingFromLog += seen.events.filter { byID[$0.id] != $0.data }.count
            let finished = log.filter { $0.type == "STEP_FINISHED" }.compactMap { $0.json["stepName"]?.string }
            verdict.repeatedSteps += finished.count - Set(finished).count
            #expect(log.map(\.id) == Array(1...Int64(log.count)), "the log of \(seen.run) has no gap")
            #expect(log.last?.type == "RUN_FINISHED")
            let steps = try await client.send("GET", "/api/agent/runs/\(seen.run)/steps").json["items"]?.array ?? []
            verdict.repeatedModelCalls += steps.filter { $0["kind"] == "model" }
                .reduce(0) { $0 + Int($1["attempt"]?.int ?? 1) - 1 }
            verdict.gaps += seen.gaps
        }
        let ledger = tools.entries.filter { $0.tool == "ledger" }.map(\.key)
        verdict.dispatches = ledger.count
        verdict.repeatedDispatches = ledger.count - Set(ledger).count
        verdict.longestSilence = recovery.withLock { $0 }
        verdict.longestPause = longestPause.withLock { $0 }
        return verdict
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
