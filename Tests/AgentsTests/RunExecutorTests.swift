import Agents
import Coordination
import Domain
import Foundation
import Knowledge
import Logging
import Models
import Queue
import Storage
import Synchronization
import TestSupport
import Testing

/// A tool that counts its calls and does what the test says.
private final class FakeTool: Tool {
    let definition: ToolDefinition
    private let state = Mutex<[String]>([])
    private let action: @Sendable () async throws -> ToolOutput

    init(
        _ name: String, isIdempotent: Bool = true, timeout: Duration = .seconds(5), maximumOutputBytes: Int = 1024,
        scope: String? = nil, action: @escaping @Sendable () async throws -> ToolOutput = { ToolOutput(content: "ok") }
    ) throws {
        definition = ToolDefinition(
            name: name, description: "A test's tool.",
            parameters: try JSONSchema([
                "type": "object", "properties": ["n": ["type": "integer"]], "additionalProperties": false,
            ]),
            timeout: timeout, maximumOutputBytes: maximumOutputBytes, isIdempotent: isIdempotent, scope: scope)
        self.action = action
    }

    /// The idempotency keys of the calls so far.
    var keys: [String] { state.withLock { $0 } }

    func call(_ arguments: JSONValue, context: ToolContext) async throws -> ToolOutput {
        state.withLock { $0.append(context.idempotencyKey) }
        return try await action()
    }
}

private struct EveryoneIsAllowed: RunAuthorizer {
    var scopes: [String] = ["*"]

    func isAllowed(_ principal: Principal, scope: String?) async throws -> Bool {
        scope.map { Principal(tenant: principal.tenant, user: principal.user, scopes: scopes).may($0) } ?? true
    }
}

/// A platform without HTTP: the service, and workers that the test runs by hand.
private struct Bench {
    let database: TestDatabase
    let principal: Principal
    let model: ScriptedChatModel
    let service: RunService
    let executor: RunExecutor
    let bus = InProcessEventBus()

    init(
        _ database: TestDatabase, _ scripts: [[ScriptedChatModel.Step]], tools: [any Tool] = [],
        authorizer: EveryoneIsAllowed = EveryoneIsAllowed(), configure: (inout RunExecutorConfiguration) -> Void = { _ in }
    ) async throws {
        self.database = database
        principal = try await database.makePrincipal()
        model = ScriptedChatModel(scripts)
        let models = ModelCatalog(providers: ["test": model], defaultModel: "test/model")
        let catalog = try ToolCatalog(tools)
        var configuration = RunExecutorConfiguration()
        configure(&configuration)
        service = RunService(
            store: database.runs, models: models, tools: catalog, bus: bus, jobs: Signal(), ambient: database.ambient)
        executor = RunExecutor(
            store: database.runs, bus: bus, models: models, tools: catalog, authorizer: authorizer,
            configuration: configuration, ambient: database.ambient, logger: Logger(label: "test"))
    }

    func start(_ request: RunRequest = RunRequest(prompt: "Hello")) async throws -> Run {
        try await service.create(principal, request, trace: Trace(requestID: "test"), idempotency: nil)
    }

    func claim() async throws -> JobLease {
        try #require(
            try await database.jobs.claim(RunExecutor.kind, limit: 1, lease: .seconds(60)).first)
    }

    /// Works on the next job to its end.
    func work(remainingLease: Duration = .seconds(60)) async throws {
        let lease = try await claim()
        _ = try await executor.handle(JobContext(lease: lease, remainingLease: { remainingLease }))
    }

    /// Works on the next job until the model pauses, then crashes: the worker is gone, its lease is rescued.
    func workAndCrashAtPause() async throws {
        let lease = try await claim()
        let worker = Task { [executor] in
            try await executor.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
        }
        await model.untilPaused()
        try await Task.sleep(for: .milliseconds(120))
        worker.cancel()
        _ = await worker.result
        #expect(try await database.jobs.rescue(all: true) == 1)
    }

    func log(_ run: Run) async throws -> [LoggedEvent] {
        try await database.runs.events(tenant: run.tenant, run: run.id, after: 0, limit: 1000)
    }

    func types(_ run: Run) async throws -> [String] { try await log(run).map(\.type) }

    func now(_ run: Run) async throws -> Run {
        try #require(try await database.runs.run(tenant: run.tenant, run.id))
    }

    func toolCalls(_ run: Run) async throws -> [ToolCallRecord] {
        try await database.runs.toolCalls(tenant: run.tenant, run: run.id)
    }
}

@Suite("RunExecutor")
struct RunExecutorTests {
    @Test("a trivial run: its log, its answer, and at most four commits", arguments: TestEngine.allCases)
    func trivial(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let bench = try await Bench(database, [ScriptedChatModel.say("Hi ", "there")]) { $0.textDelay = .seconds(60) }
            let commits = database.engine.commitCount
            let before = database.engine.asked.count
            let run = try await bench.start()
            try await bench.work()
            #expect(database.engine.commitCount - commits <= 4)
            // docs/benchmarks.md says the same. A machine that is busy leaves time for a look whether the run is cancelled.
            let asked = database.engine.asked.dropFirst(before).filter { $0.operation != "RunRepository.isCancelRequested" }
            #expect(
                asked.map(\.operation) == [
                    "RunRepository.create", "JobRepository.claim", "RunRepository.snapshot", "RunRepository.commit",
                    "RunRepository.commit",
                ])
            // PostgreSQL asks for a lock besides.
            #expect(asked.reduce(0) { $0 + $1.statements } == (engine.isPostgres ? 28 : 27))
            #expect(
                try await bench.types(run) == [
                    "RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END",
                    "STEP_FINISHED", "RUN_FINISHED",
                ])
            let ended = try await bench.now(run)
            #expect(ended.status == .succeeded)
            #expect(ended.output == "Hi there")
            #expect(ended.usage == Run.Usage(inputTokens: 3, outputTokens: 2))
            #expect(try await database.jobs.depths().isEmpty)
        }
    }

    @Test("a tool's result goes back to the model, which then answers")
    func tool() async throws {
        try await TestDatabase.with { database in
            let tool = try FakeTool("add") { ToolOutput(content: "42", citations: [["citation": 1]]) }
            let bench = try await Bench(
                database, [ScriptedChatModel.call("add", #"{"n":1}"#), ScriptedChatModel.say("42.")], tools: [tool])
            let run = try await bench.start()
            try await bench.work()
            #expect(
                try await bench.types(run) == [
                    "RUN_STARTED", "STEP_STARTED", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "STEP_FINISHED",
                    "STEP_STARTED", "TOOL_CALL_RESULT", "CUSTOM", "STEP_FINISHED", "STEP_STARTED", "TEXT_MESSAGE_START",
                    "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_FINISHED",
                ])
            let call = try #require(try await bench.toolCalls(run).first)
            #expect(call.state == .succeeded && call.attempt == 1 && call.result == "42")
            #expect(
                bench.model.requests.last?.messages == [
                    .user("Hello"),
                    .assistant(text: "", toolCalls: [ToolCall(id: call.id, name: "add", arguments: #"{"n":1}"#)]),
                    .tool(callID: call.id, name: "add", content: "42"),
                ])
            let parts = try #require(tool.keys.first).split(separator: "/")
            #expect(parts.count == 3 && parts[0] == "\(run.id)" && parts[2] == call.id)
        }
    }

    @Test(
        "what a tool gets wrong, the model is told",
        arguments: [
            ("add", "{", "not valid JSON"), ("add", #"{"n":"x"}"#, "must be integer"), ("none", "{}", "no tool named"),
            ("fails", "{}", "out of paper"), ("slow", "{}", "did not answer within"), ("secret", "{}", "not allowed"),
        ])
    func failures(name: String, arguments: String, message: String) async throws {
        try await TestDatabase.with { database in
            let tools: [FakeTool] = [
                try FakeTool("add"), try FakeTool("fails") { throw ToolFailure("out of paper") },
                try FakeTool("slow", timeout: .milliseconds(20)) {
                    try await Task.sleep(for: .seconds(60))
                    return ToolOutput(content: "")
                },
                try FakeTool("secret", scope: "secrets:read"),
            ]
            let bench = try await Bench(
                database, [ScriptedChatModel.call(name, arguments), ScriptedChatModel.say("Sorry.")], tools: tools,
                authorizer: EveryoneIsAllowed(scopes: ["runs:*"]))
            let run = try await bench.start()
            try await bench.work()
            #expect(try await bench.now(run).status == .succeeded)
            let call = try #require(try await bench.toolCalls(run).first)
            #expect(call.state == .failed)
            #expect(call.result?.contains(message) == true, "\(call.result ?? "")")
        }
    }

    @Test("a long result is cut and says so")
    func outputBound() async throws {
        try await TestDatabase.with { database in
            let tool = try FakeTool("long", maximumOutputBytes: 10) { ToolOutput(content: String(repeating: "x", count: 50)) }
            let bench = try await Bench(
                database, [ScriptedChatModel.call("long", "{}"), ScriptedChatModel.say("ok")], tools: [tool])
            let run = try await bench.start()
            try await bench.work()
            let result = try #require(try await bench.toolCalls(run).first?.result)
            #expect(result.hasPrefix("xxxxxxxxxx\n[cut") && result.contains("10 bytes"))
        }
    }

    // MARK: Crashes

    @Test("a crash in the middle of an answer: the attempt is discarded, and streamed again under new ids")
    func crashInStream() async throws {
        try await TestDatabase.with { database in
            let bench = try await Bench(
                database, [[.delta(.text("half an ans")), .pause], ScriptedChatModel.say("A whole answer")])
            let run = try await bench.start()
            try await bench.workAndCrashAtPause()
            #expect(
                try await bench.types(run) == ["RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT"])
            try await bench.work()
            let log = try await bench.log(run)
            #expect(
                log.map(\.type) == [
                    "RUN_STARTED", "STEP_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "CUSTOM",
                    "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "STEP_FINISHED", "RUN_FINISHED",
                ])
            let ids = log.filter { $0.type == "TEXT_MESSAGE_START" }.map { try? JSONValue(parsing: $0.fields)["messageId"] }
            let discarded = try JSONValue(parsing: log[5].fields)
            #expect(discarded["name"] == "sba.attempt_discarded")
            #expect(discarded["value"]?["ids"]?.array == [ids[0] ?? .null])
            #expect(ids[0] != ids[1])
            let ended = try await bench.now(run)
            #expect(ended.output == "A whole answer")
            let step = try #require(try await database.runs.steps(tenant: run.tenant, run: run.id).first)
            #expect(step.attempt == 2 && step.status == .finished)
        }
    }

    @Test("a finished step is not repeated after a crash")
    func crashAfterTool() async throws {
        try await TestDatabase.with { database in
            let tool = try FakeTool("once", isIdempotent: false)
            let bench = try await Bench(
                database, [ScriptedChatModel.call("once", "{}"), [.pause], ScriptedChatModel.say("Done")], tools: [tool])
            let run = try await bench.start()
            try await bench.workAndCrashAtPause()
            try await bench.work()
            #expect(tool.keys.count == 1)
            #expect(bench.model.requests.count == 3)
            let types = try await bench.types(run)
            #expect(types.filter { $0 == "STEP_STARTED" }.count == 3)
            #expect(types.filter { $0 == "STEP_FINISHED" }.count == 3)
            #expect(try await bench.now(run).status == .succeeded)
        }
    }

    /// Runs into a tool that never answers, and crashes there.
    private func crashInTool(_ bench: Bench) async throws -> Run {
        let run = try await bench.start()
        let lease = try await bench.claim()
        let worker = Task { [executor = bench.executor] in
            try await executor.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
        }
        while try await bench.toolCalls(run).first?.state != .dispatching { try await Task.sleep(for: .milliseconds(5)) }
        try await Task.sleep(for: .milliseconds(20))
        worker.cancel()
        _ = await worker.result
        #expect(try await bench.database.jobs.rescue(all: true) == 1)
        return run
    }

    private func hangingOnce(_ name: String, isIdempotent: Bool) throws -> FakeTool {
        let calls = Mutex(0)
        return try FakeTool(name, isIdempotent: isIdempotent) {
            let isFirst = calls.withLock { count in
                count += 1
                return count == 1
            }
            if isFirst { try await Task.sleep(for: .seconds(60)) }
            return ToolOutput(content: "done")
        }
    }

    @Test("an idempotent tool is called again after a crash, under the same key")
    func idempotentCrash() async throws {
        try await TestDatabase.with { database in
            let tool = try hangingOnce("note", isIdempotent: true)
            let bench = try await Bench(
                database, [ScriptedChatModel.call("note", "{}"), ScriptedChatModel.say("Noted")], tools: [tool])
            let run = try await crashInTool(bench)
            try await bench.work()
            #expect(tool.keys.count == 2 && Set(tool.keys).count == 1)
            let call = try #require(try await bench.toolCalls(run).first)
            #expect(call.state == .succeeded && call.attempt == 2)
        }
    }

    @Test("any other tool is not: the run waits for a person, who lets it go on", arguments: ["retry", "result", "failure"])
    func unknownOutcome(decision: String) async throws {
        try await TestDatabase.with { database in
            let tool = try hangingOnce("pay", isIdempotent: false)
            let bench = try await Bench(
                database, [ScriptedChatModel.call("pay", "{}"), ScriptedChatModel.say("Paid")], tools: [tool])
            let run = try await crashInTool(bench)
            try await bench.work()
            #expect(try await bench.now(run).status == .waiting)
            #expect(tool.keys.count == 1)
            let waiting = try #require(try await bench.log(run).last)
            #expect(try JSONValue(parsing: waiting.fields)["name"] == "sba.waiting")
            let call = try #require(try await bench.toolCalls(run).first)
            #expect(call.state == .unknown)
            let decided: ToolCallDecision =
                decision == "retry" ? .retry : decision == "result" ? .result("receipt 7") : .failure("refused")
            let resumed = try await bench.service.resume(
                tenant: run.tenant, run: run.id, toolCall: call.id, decision: decided)
            #expect(resumed.status == .queued)
            let again = await #expect(throws: Problem.self) {
                try await bench.service.resume(tenant: run.tenant, run: run.id, toolCall: call.id, decision: decided)
            }
            #expect(again?.code == .runNotWaiting)
            try await bench.work()
            #expect(try await bench.now(run).status == .succeeded)
            #expect(tool.keys.count == (decision == "retry" ? 2 : 1))
            let results = try await bench.log(run).filter { $0.type == "TOOL_CALL_RESULT" }
            #expect(results.count == 1)
            let content = try JSONValue(parsing: try #require(results.first).fields)["content"]?.string
            #expect(content == ["retry": "done", "result": "receipt 7", "failure": #"{"error":"refused"}"#][decision])
        }
    }

    @Test("a call is not sent when the lease is nearly over; the next worker sends it")
    func shortLease() async throws {
        try await TestDatabase.with { database in
            let tool = try FakeTool("pay", isIdempotent: false)
            let bench = try await Bench(
                database, [ScriptedChatModel.call("pay", "{}"), ScriptedChatModel.say("Paid")], tools: [tool])
            let run = try await bench.start()
            await #expect(throws: CancellationError.self) { try await bench.work(remainingLease: .seconds(1)) }
            #expect(tool.keys.isEmpty)
            #expect(try await database.jobs.rescue(all: true) == 1)
            try await bench.work()
            #expect(tool.keys.count == 1)
            #expect(try await bench.now(run).status == .succeeded)
        }
    }

    @Test("a worker that was overtaken stores nothing more")
    func overtaken() async throws {
        try await TestDatabase.with { database in
            let bench = try await Bench(
                database, [[.delta(.text("old")), .pause, .delta(.text(" words"))], ScriptedChatModel.say("New words")])
            let run = try await bench.start()
            let lease = try await bench.claim()
            let old = Task { [executor = bench.executor] in
                try await executor.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
            }
            await bench.model.untilPaused()
            #expect(try await database.jobs.rescue(all: true) == 1)
            try await bench.work()
            bench.model.resume()
            await #expect(throws: FenceLost.self) { try await old.value }
            #expect(try await bench.now(run).output == "New words")
            #expect(try await bench.types(run).last == "RUN_FINISHED")
        }
    }

    // MARK: Ends

    @Test("a cancellation stops a model in the middle of its stream within a second")
    func cancelStream() async throws {
        try await TestDatabase.with { database in
            let bench = try await Bench(database, [[.delta(.text("for ever and")), .pause]])
            let run = try await bench.start()
            let lease = try await bench.claim()
            let worker = Task { [executor = bench.executor] in
                try await executor.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
            }
            await bench.model.untilPaused()
            try await bench.service.cancel(tenant: run.tenant, run: run.id)
            _ = try await worker.value
            #expect(try await bench.now(run).status == .cancelled)
            let log = try await bench.log(run)
            #expect(log.suffix(2).map(\.type) == ["STEP_FINISHED", "RUN_FINISHED"])
            #expect(try JSONValue(parsing: log.last?.fields ?? "")["outcome"]?["type"] == "cancelled")
            let step = try #require(try await database.runs.steps(tenant: run.tenant, run: run.id).first)
            #expect(step.status == .abandoned)
        }
    }

    @Test("a queued run is cancelled at once, and a cancelled one again changes nothing")
    func cancelQueued() async throws {
        try await TestDatabase.with { database in
            let bench = try await Bench(database, [])
            let run = try await bench.start()
            try await bench.service.cancel(tenant: run.tenant, run: run.id)
            try await bench.service.cancel(tenant: run.tenant, run: run.id)
            #expect(try await bench.types(run) == ["RUN_STARTED", "RUN_FINISHED"])
            #expect(try await database.jobs.claim(RunExecutor.kind, limit: 1, lease: .seconds(1)).isEmpty)
            let unknown = await #expect(throws: Problem.self) {
                try await bench.service.cancel(tenant: run.tenant, run: RunID(UUID()))
            }
            #expect(unknown?.code == .notFound)
        }
    }

    @Test("a waiting run is cancelled at once, its open step closed")
    func cancelWaiting() async throws {
        try await TestDatabase.with { database in
            let tool = try hangingOnce("pay", isIdempotent: false)
            let bench = try await Bench(database, [ScriptedChatModel.call("pay", "{}")], tools: [tool])
            let run = try await crashInTool(bench)
            try await bench.work()
            try await bench.service.cancel(tenant: run.tenant, run: run.id)
            #expect(try await bench.types(run).suffix(3) == ["CUSTOM", "STEP_FINISHED", "RUN_FINISHED"])
            #expect(try await bench.toolCalls(run).first?.state == .cancelled)
        }
    }

    @Test("a model that fails ends the run with its code", arguments: [ErrorCode.modelRejected, .modelTimeout])
    func modelFailure(code: ErrorCode) async throws {
        try await TestDatabase.with { database in
            let bench = try await Bench(database, [[.fail(ModelError(code, "no luck", isRetryable: false))]])
            let run = try await bench.start()
            try await bench.work()
            let ended = try await bench.now(run)
            #expect(ended.status == .failed)
            #expect(ended.failure == Run.Failure(code: code.rawValue, message: "no luck"))
            #expect(try await bench.types(run).last == "RUN_ERROR")
        }
    }

    @Test("a stream that breaks off is asked for again; what it said does not count", arguments: [5, 2000])
    func brokenStream(length: Int) async throws {
        try await TestDatabase.with { database in
            let broken = ModelError(.modelUnavailable, "cut", isRetryable: true)
            let long = String(repeating: "x", count: length)
            let bench = try await Bench(
                database, [[.delta(.text(long)), .fail(broken)], ScriptedChatModel.say("Better")]
            ) {
                $0.textDelay = .seconds(60)
            }
            let run = try await bench.start()
            try await bench.work()
            #expect(try await bench.now(run).output == "Better")
            // What was never stored needs no notice.
            #expect(try await bench.types(run).contains("CUSTOM") == (length > 1024))
        }
    }

    @Test("a run that never answers ends at its step limit")
    func stepLimit() async throws {
        try await TestDatabase.with { database in
            let tool = try FakeTool("again")
            let scripts = Array(repeating: ScriptedChatModel.call("again", "{}"), count: 10)
            let bench = try await Bench(database, scripts, tools: [tool])
            let run = try await bench.start(RunRequest(prompt: "Loop", stepLimit: 4))
            try await bench.work()
            #expect(try await bench.now(run).failure?.code == "step_limit")
            #expect(tool.keys.count == 2)
        }
    }

    @Test("a run that takes too long expires, also in the middle of a stream")
    func expiry() async throws {
        let clock = ManualClock()
        try await TestDatabase.with(ambient: clock.ambient) { database in
            let bench = try await Bench(database, [[.delta(.text("slow")), .pause]])
            let run = try await bench.start(RunRequest(prompt: "Wait", timeout: .seconds(30)))
            let lease = try await bench.claim()
            let worker = Task { [executor = bench.executor] in
                try await executor.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
            }
            await bench.model.untilPaused()
            clock.advance(by: .seconds(31))
            _ = try await worker.value
            let ended = try await bench.now(run)
            #expect(ended.status == .expired)
            #expect(ended.failure?.code == "run_expired")
        }
    }

    @Test("a step that takes its worker down every time ends the run")
    func poison() async throws {
        try await TestDatabase.with { database in
            let scripts = Array(repeating: [ScriptedChatModel.Step.delta(.text("x")), .pause], count: 5)
            let bench = try await Bench(database, scripts) { $0.maximumStepAttempts = 2 }
            let run = try await bench.start()
            try await bench.workAndCrashAtPause()
            try await bench.workAndCrashAtPause()
            try await bench.work()
            #expect(try await bench.now(run).failure?.code == "internal_error")
        }
    }

    @Test("a run that names an unknown model or tool is refused before it is stored")
    func unknownNames() async throws {
        try await TestDatabase.with { database in
            let bench = try await Bench(database, [])
            let model = await #expect(throws: Problem.self) {
                try await bench.start(RunRequest(prompt: "x", model: "nowhere/model"))
            }
            #expect(model?.code == .unknownModel)
            let tool = await #expect(throws: Problem.self) {
                try await bench.start(RunRequest(prompt: "x", tools: ["hammer"]))
            }
            #expect(tool?.code == .unknownTool)
            #expect(try await database.runs.runs(tenant: bench.principal.tenant, status: nil, page: .init()).items.isEmpty)
        }
    }
}
