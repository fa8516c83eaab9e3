import Agents
import Domain
import Foundation
import Queue
import Storage
import TestSupport
import Testing

/// What `RunStore` promises, on every engine.
@Suite("RunStore")
struct RunStoreConformanceTests {
    /// A stored run whose job is leased, as a worker has it.
    private func leased(_ database: TestDatabase, _ principal: Principal) async throws -> (run: Run, lease: JobLease) {
        let run = try await database.runs.create(tenant: principal.tenant, database.newRun(principal))
        let lease = try #require(
            try await database.jobs.claim(RunExecutor.kind, limit: 10, lease: .seconds(30))
                .first { $0.subject == run.id.uuid })
        return (run, lease)
    }

    private func commit(
        _ run: Run, _ authority: RunCommit.Authority, _ events: [RunEvent], _ effects: [RunEffect] = []
    ) -> RunCommit {
        RunCommit(
            tenant: run.tenant, run: run.id, authority: authority, events: events, effects: effects,
            time: Timestamp(microseconds: 1_800_000_000_000_000))
    }

    @Test("a created run has its prompt, its first event and its job", arguments: TestEngine.allCases)
    func create(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal(scopes: ["runs:write", "knowledge:read"])
            let run = try await database.runs.create(tenant: principal.tenant, database.newRun(principal, prompt: "Why?"))
            #expect(run.prompt == "Why?")
            #expect(run.status == .queued)
            #expect(run.principal == principal)
            let events = try await database.runs.events(tenant: principal.tenant, run: run.id, after: 0, limit: 10)
            #expect(events.map(\.seq) == [1])
            #expect(events.map(\.type) == ["RUN_STARTED"])
            let leases = try await database.jobs.claim(RunExecutor.kind, limit: 10, lease: .seconds(30))
            #expect(leases.map(\.subject) == [run.id.uuid])
        }
    }

    @Test("the same idempotency key gives the same run, and no second job", arguments: TestEngine.allCases)
    func idempotency(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let first = try await database.runs.create(
                tenant: principal.tenant, database.newRun(principal, key: ("k", "d")))
            let again = try await database.runs.create(
                tenant: principal.tenant, database.newRun(principal, key: ("k", "d")))
            #expect(again.id == first.id)
            #expect(try await database.jobs.claim(RunExecutor.kind, limit: 10, lease: .seconds(30)).count == 1)
            await #expect(throws: IdempotencyKeyReused.self) {
                try await database.runs.create(
                    tenant: principal.tenant, database.newRun(principal, key: ("k", "other")))
            }
            let neighbour = try await database.makePrincipal()
            let theirs = try await database.runs.create(
                tenant: neighbour.tenant, database.newRun(neighbour, key: ("k", "d")))
            #expect(theirs.id != first.id)
        }
    }

    @Test("one key used many times at once gives one run", arguments: TestEngine.allCases)
    func concurrentIdempotency(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let ids = try await withThrowingTaskGroup(of: RunID.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        try await database.runs.create(
                            tenant: principal.tenant, database.newRun(principal, key: ("k", "d"))
                        ).id
                    }
                }
                return try await group.reduce(into: Set<RunID>()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            #expect(try await database.runs.runs(tenant: principal.tenant, status: nil, page: .init()).items.count == 1)
        }
    }

    @Test("nothing of one tenant is seen or changed from another", arguments: TestEngine.allCases)
    func tenancy(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let owner = try await database.makePrincipal()
            let stranger = try await database.makePrincipal()
            let (run, lease) = try await leased(database, owner)
            let there = stranger.tenant
            #expect(try await database.runs.run(tenant: there, run.id) == nil)
            #expect(try await database.runs.runs(tenant: there, status: nil, page: .init()).items.isEmpty)
            #expect(try await database.runs.events(tenant: there, run: run.id, after: 0, limit: 10).isEmpty)
            #expect(try await database.runs.snapshot(tenant: there, run: run.id) == nil)
            #expect(try await database.runs.steps(tenant: there, run: run.id).isEmpty)
            #expect(try await database.runs.toolCalls(tenant: there, run: run.id).isEmpty)
            try await database.runs.requestCancel(tenant: there, run: run.id)
            #expect(try await database.runs.isCancelRequested(tenant: owner.tenant, run: run.id) == false)
            let foreign = RunCommit(
                tenant: there, run: run.id, authority: .taking(token: 0, lastSeq: 1, lease: lease),
                events: [.stepStarted(name: "x")],
                effects: [], time: run.createdAt)
            await #expect(throws: FenceLost.self) { try await database.runs.commit(foreign) }
            await #expect(throws: Problem.self) {
                try await database.runs.create(tenant: there, database.newRun(stranger, session: run.session))
            }
        }
    }

    @Test("events are numbered without gaps over commits", arguments: TestEngine.allCases)
    func sequence(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            let first = try await database.runs.commit(
                commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [.stepStarted(name: "a"), .stepFinished(name: "a")]))
            #expect(first.lastSeq == 3)
            let second = try await database.runs.commit(
                commit(run, .holding(token: 1, lastSeq: 3), [.stepStarted(name: "b")]))
            #expect(second.lastSeq == 4)
            let events = try await database.runs.events(tenant: run.tenant, run: run.id, after: 1, limit: 10)
            #expect(events.map(\.seq) == [2, 3, 4])
            #expect(events.map(\.type) == ["STEP_STARTED", "STEP_FINISHED", "STEP_STARTED"])
            #expect(try await database.runs.events(tenant: run.tenant, run: run.id, after: 2, limit: 1).map(\.seq) == [3])
        }
    }

    @Test("a worker whose token has passed on stores nothing", arguments: TestEngine.allCases)
    func fence(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            _ = try await database.runs.commit(
                commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [], [.status(.running)]))
            #expect(try await database.jobs.rescue(all: true) == 1)
            let next = try #require(
                try await database.jobs.claim(RunExecutor.kind, limit: 1, lease: .seconds(30)).first)
            await #expect(throws: FenceLost.self, "the old lease cannot take the fence") {
                try await database.runs.commit(
                    commit(run, .taking(token: 1, lastSeq: 1, lease: lease), [.stepStarted(name: "old")]))
            }
            _ = try await database.runs.commit(
                commit(run, .taking(token: 1, lastSeq: 1, lease: next), [.stepStarted(name: "new")]))
            let message = RunEffect.answered(messageID: UUID(), text: "late")
            await #expect(throws: FenceLost.self) {
                try await database.runs.commit(
                    commit(
                        run, .holding(token: 1, lastSeq: 1), [.runFinished(outcome: .success)], [message, .status(.succeeded)]))
            }
            let now = try #require(try await database.runs.run(tenant: run.tenant, run.id))
            #expect(now.status == .running)
            let types = try await database.runs.events(tenant: run.tenant, run: run.id, after: 0, limit: 10).map(\.type)
            #expect(types == ["RUN_STARTED", "STEP_STARTED"])
        }
    }

    @Test("the fence is not taken on an old look at the log", arguments: TestEngine.allCases)
    func staleLook(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            _ = try await database.runs.commit(
                commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [.stepStarted(name: "a")], [.status(.running)]))
            #expect(try await database.jobs.rescue(all: true) == 1)
            _ = try await database.runs.commit(commit(run, .holding(token: 1, lastSeq: 2), [.stepFinished(name: "a")]))
            let next = try #require(
                try await database.jobs.claim(RunExecutor.kind, limit: 1, lease: .seconds(30)).first)
            await #expect(throws: FenceLost.self) {
                try await database.runs.commit(commit(run, .taking(token: 1, lastSeq: 2, lease: next), []))
            }
            _ = try await database.runs.commit(commit(run, .taking(token: 1, lastSeq: 3, lease: next), []))
        }
    }

    @Test("a commit that fails in its last statement stores nothing of the others", arguments: TestEngine.allCases)
    func atomicity(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            let move = RunEffect.toolCallMoved(id: "none", from: .requested, to: .dispatching, attempt: 1, result: nil)
            await #expect(throws: FenceLost.self) {
                try await database.runs.commit(
                    commit(
                        run, .taking(token: 0, lastSeq: 1, lease: lease), [.stepStarted(name: "a")], [.status(.running), move]))
            }
            let snapshot = try #require(try await database.runs.snapshot(tenant: run.tenant, run: run.id))
            #expect(snapshot.lastSeq == 1)
            #expect(snapshot.token == 0)
            #expect(snapshot.run.status == .queued)
        }
    }

    @Test("a run only moves where the state machine allows it", arguments: TestEngine.allCases)
    func transitions(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            await #expect(throws: FenceLost.self, "queued does not succeed") {
                try await database.runs.commit(
                    commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [], [.status(.succeeded)]))
            }
            _ = try await database.runs.commit(commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [], [.status(.running)]))
            _ = try await database.runs.commit(
                commit(run, .holding(token: 1, lastSeq: 1), [], [.status(.succeeded, output: "done"), .jobCompleted(lease)]))
            let ended = try #require(try await database.runs.run(tenant: run.tenant, run.id))
            #expect(ended.output == "done")
            #expect(ended.startedAt != nil && ended.finishedAt != nil)
            await #expect(throws: FenceLost.self, "an ended run stays ended") {
                try await database.runs.commit(commit(run, .holding(token: 1, lastSeq: 1), [], [.status(.running)]))
            }
        }
    }

    @Test("an idle run can be taken by the API, a held one cannot", arguments: TestEngine.allCases)
    func takingIdle(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let idle = try await database.runs.create(tenant: principal.tenant, database.newRun(principal))
            let ended: [RunEffect] = [.unfinishedAbandoned, .status(.cancelled)]
            _ = try await database.runs.commit(
                commit(idle, .takingIdle(token: 0, lastSeq: 1), [.runFinished(outcome: .cancelled)], ended))
            #expect(try await database.jobs.claim(RunExecutor.kind, limit: 1, lease: .seconds(1)).isEmpty)
            let (held, _) = try await leased(database, principal)
            await #expect(throws: FenceLost.self) {
                try await database.runs.commit(
                    commit(held, .takingIdle(token: 0, lastSeq: 1), [.runFinished(outcome: .cancelled)], ended))
            }
        }
    }

    @Test("a cancel command is seen by the worker's next commit", arguments: TestEngine.allCases)
    func cancelFlag(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            let before = try await database.runs.commit(
                commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [], [.status(.running)]))
            #expect(!before.isCancelRequested)
            try await database.runs.requestCancel(tenant: run.tenant, run: run.id)
            #expect(try await database.runs.isCancelRequested(tenant: run.tenant, run: run.id))
            let after = try await database.runs.commit(commit(run, .holding(token: 1, lastSeq: 1), [.stepStarted(name: "a")]))
            #expect(after.isCancelRequested)
        }
    }

    @Test("steps and tool calls come back as they were stored", arguments: TestEngine.allCases)
    func rows(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (run, lease) = try await leased(database, principal)
            let time = Timestamp(microseconds: 1_800_000_000_000_000)
            var step = RunStep(id: StepID(UUID()), index: 1, kind: .model, startedAt: time)
            var call = ToolCallRecord(
                id: "call-1", step: step.id, ordinal: 0, name: "calculator", arguments: "{}", createdAt: time)
            let turn = ModelTurn(text: "Let me see", toolCalls: ["call-1"])
            _ = try await database.runs.commit(
                commit(run, .taking(token: 0, lastSeq: 1, lease: lease), [], [.status(.running), .stepStarted(step)]))
            _ = try await database.runs.commit(
                commit(
                    run, .holding(token: 1, lastSeq: 1), [],
                    [
                        .stepRestarted(step.id, attempt: 2),
                        .stepFinished(step.id, output: turn, StepUse(name: "test/model", inputTokens: 5, outputTokens: 7)),
                        .toolCallRequested(call),
                        .toolCallMoved(id: call.id, from: .requested, to: .dispatching, attempt: 1, result: nil),
                        .toolCallMoved(id: call.id, from: .dispatching, to: .succeeded, attempt: 1, result: "4"),
                    ]))
            (step.attempt, step.status, step.output, step.finishedAt) = (2, .finished, turn, time)
            (call.attempt, call.state, call.result, call.finishedAt) = (1, .succeeded, "4", time)
            #expect(try await database.runs.steps(tenant: run.tenant, run: run.id) == [step])
            #expect(try await database.runs.toolCalls(tenant: run.tenant, run: run.id) == [call])
            let usage = try #require(try await database.runs.run(tenant: run.tenant, run.id)).usage
            #expect(usage == Run.Usage(inputTokens: 5, outputTokens: 7))
        }
    }

    @Test("a run sees the messages of its session before it, and no others", arguments: TestEngine.allCases)
    func history(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            let (first, lease) = try await leased(database, principal)
            _ = try await database.runs.commit(
                commit(
                    first, .taking(token: 0, lastSeq: 1, lease: lease), [],
                    [.status(.running), .answered(messageID: database.ambient.makeID(), text: "Hi")]))
            _ = try await database.runs.create(tenant: principal.tenant, database.newRun(principal, prompt: "elsewhere"))
            let second = try await database.runs.create(
                tenant: principal.tenant, database.newRun(principal, prompt: "And?", session: first.session))
            let snapshot = try #require(try await database.runs.snapshot(tenant: principal.tenant, run: second.id))
            #expect(
                snapshot.history == [SessionMessage(role: .user, text: "Hello"), SessionMessage(role: .assistant, text: "Hi")])
        }
    }

    @Test("pages go through every run once, newest first", arguments: TestEngine.allCases)
    func paging(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let principal = try await database.makePrincipal()
            var created: [RunID] = []
            for _ in 0..<7 {
                created.append(try await database.runs.create(tenant: principal.tenant, database.newRun(principal)).id)
            }
            var seen: [RunID] = []
            var cursor: PageCursor?
            repeat {
                let page = try await database.runs.runs(
                    tenant: principal.tenant, status: .queued, page: PageRequest(limit: 3, cursor: cursor))
                seen += page.items.map(\.id)
                cursor = page.next
            } while cursor != nil
            #expect(seen == created.reversed())
            let none = try await database.runs.runs(tenant: principal.tenant, status: .failed, page: .init())
            #expect(none.items.isEmpty && none.next == nil)
        }
    }
}
