import Domain
import Foundation
import Logging
import Models
import Queue

/// What someone wants done.
public struct RunRequest: Hashable, Sendable {
    public var prompt: String
    public var session: SessionID?
    public var model: String?
    public var instructions: String?
    /// Every tool when `nil`.
    public var tools: [String]?
    public var collection: String?
    public var stepLimit: Int?
    public var timeout: Duration?

    public init(
        prompt: String, session: SessionID? = nil, model: String? = nil, instructions: String? = nil,
        tools: [String]? = nil, collection: String? = nil, stepLimit: Int? = nil, timeout: Duration? = nil
    ) {
        self.prompt = prompt
        self.session = session
        self.model = model
        self.instructions = instructions
        self.tools = tools
        self.collection = collection
        self.stepLimit = stepLimit
        self.timeout = timeout
    }
}

extension RunRequest {
    /// As the interface takes it and a schedule stores it: what was left out stays out.
    public var json: JSONValue {
        var options: [String: JSONValue] = [:]
        options["model"] = model.map { .string($0) }
        options["instructions"] = instructions.map { .string($0) }
        options["tools"] = tools.map { .array($0.map { .string($0) }) }
        options["collection"] = collection.map { .string($0) }
        options["stepLimit"] = stepLimit.map { .int(Int64($0)) }
        options["timeoutSeconds"] = timeout.map { .int($0.components.seconds) }
        return ["prompt": .string(prompt), "sessionId": JSONValue(session.map { "\($0)" }), "options": .object(options)]
    }

    public init(json: JSONValue) {
        let options = json["options"] ?? [:]
        self.init(
            prompt: json["prompt"]?.string ?? "", session: json["sessionId"]?.string.flatMap { SessionID($0) },
            model: options["model"]?.string, instructions: options["instructions"]?.string,
            tools: options["tools"]?.array?.compactMap(\.string), collection: options["collection"]?.string,
            stepLimit: options["stepLimit"]?.int.map { Int($0) }, timeout: options["timeoutSeconds"]?.int.map { .seconds($0) })
    }
}

/// What a person decides about a tool call whose outcome is unknown.
public enum ToolCallDecision: Sendable {
    /// It did not happen: call the tool again.
    case retry
    /// It happened, with this result.
    case result(String)
    /// It failed, or counts as failed.
    case failure(String)
}

/// Starts, cancels and resumes runs.
public struct RunService: Sendable {
    /// A run's job is started again after every crash; what stops a poisonous run is the bound on a step's attempts.
    private static let maximumJobAttempts = 1000
    /// How often a cancellation looks again when the run changed hands meanwhile.
    private static let maximumCancelTries = 10

    public let store: any RunStore
    private let models: ModelCatalog
    private let tools: ToolCatalog
    private let bus: any EventBus
    private let jobs: Signal
    private let ambient: Ambient

    /// - Parameter jobs: notified when a job became available.
    public init(
        store: any RunStore, models: ModelCatalog, tools: ToolCatalog, bus: any EventBus, jobs: Signal,
        ambient: Ambient = .system
    ) {
        self.store = store
        self.models = models
        self.tools = tools
        self.bus = bus
        self.jobs = jobs
        self.ambient = ambient
    }

    /// What a request asks for, with what it leaves out filled in.
    ///
    /// - Throws: `Problem` with `unknown_model` or `unknown_tool`.
    public func options(of request: RunRequest) throws -> RunOptions {
        let model = request.model ?? models.defaultModel
        _ = try models.resolve(model)
        if let unknown = request.tools?.first(where: { tools[$0] == nil }) {
            throw Problem(
                .unknownTool, "There is no tool named '\(unknown)'. Tools: \(tools.names.joined(separator: ", ")).")
        }
        return RunOptions(
            model: model, instructions: request.instructions, tools: request.tools ?? tools.names,
            collection: request.collection, stepLimit: request.stepLimit ?? RunOptions.defaultSteps,
            timeout: request.timeout ?? RunOptions.defaultTimeout)
    }

    /// Stores a run and its job; the answer means that it will be done, whatever crashes.
    ///
    /// - Parameters:
    ///   - id: the same id gives the same run.
    ///   - idempotency: the caller's key and a digest of the request: the same pair gives the same run.
    /// - Throws: `Problem`, `IdempotencyKeyReused`.
    public func create(
        _ principal: Principal, _ request: RunRequest, id: RunID? = nil, trace: Trace,
        idempotency: (key: String, digest: String)?
    ) async throws -> Run {
        let options = try options(of: request)
        let id = id ?? RunID(ambient.makeID())
        let run = try await store.create(
            tenant: principal.tenant,
            NewRun(
                id: id, session: request.session, newSession: SessionID(ambient.makeID()), principal: principal,
                trace: trace, prompt: request.prompt, options: options, job: newJob(for: id), idempotency: idempotency))
        jobs.notify()
        return run
    }

    private func newJob(for run: RunID) -> NewJob {
        NewJob(
            id: JobID(ambient.makeID()), kind: RunExecutor.kind, subject: run.uuid,
            maximumAttempts: Self.maximumJobAttempts)
    }

    /// Cancels a run: at once when no worker holds it, else by a command that its worker sees within half a second.
    /// Cancelling a run that has ended changes nothing.
    ///
    /// - Throws: `Problem` with `not_found`.
    public func cancel(tenant: TenantID, run: RunID) async throws {
        for _ in 0..<Self.maximumCancelTries {
            guard let snapshot = try await store.snapshot(tenant: tenant, run: run) else { throw Problem.notFound("run") }
            if snapshot.run.status.isFinal { return }
            if snapshot.isHeld {
                try await store.requestCancel(tenant: tenant, run: run)
                let after = try await store.snapshot(tenant: tenant, run: run)
                if after?.isHeld == true || after?.run.status.isFinal == true { return }
                continue
            }
            do {
                try await cancelIdle(snapshot)
                return
            } catch is FenceLost {
                continue
            } catch StorageError.outcomeUnknown {
                // The next look tells.
                continue
            }
        }
        throw Problem(.overloaded, "The run keeps changing hands. Try again.", retryAfter: .seconds(1))
    }

    private func cancelIdle(_ snapshot: RunSnapshot) async throws {
        let open = try await store.openItems(snapshot)
        try await commitIdle(
            snapshot, open.closing + [.runFinished(outcome: .cancelled)],
            [.unfinishedAbandoned, .status(.cancelled)])
    }

    /// Goes on with a run that waits because nobody knows whether a tool call happened.
    ///
    /// - Throws: `Problem` with `not_found` or `run_not_waiting`.
    public func resume(
        tenant: TenantID, run: RunID, toolCall: String, decision: ToolCallDecision
    ) async throws -> Run {
        guard let snapshot = try await store.snapshot(tenant: tenant, run: run) else { throw Problem.notFound("run") }
        guard snapshot.run.status == .waiting else {
            throw Problem(.runNotWaiting, "The run is \(snapshot.run.status.rawValue); only a waiting run can be resumed.")
        }
        guard let call = snapshot.toolCalls.first(where: { $0.id == toolCall && $0.state == .unknown }) else {
            throw Problem.notFound("waiting tool call")
        }
        let (state, result): (ToolCallState, String?) =
            switch decision {
            case .retry: (.requested, nil)
            case .result(let text): (.succeeded, text)
            case .failure(let text): (.failed, JSONValue.object(["error": .string(text)]).text)
            }
        do {
            try await commitIdle(
                snapshot,
                [.custom(name: .resumed, value: ["toolCallId": .string(call.id), "state": .string(state.rawValue)])],
                [
                    .toolCallMoved(id: call.id, from: .unknown, to: state, attempt: call.attempt, result: result),
                    .status(.queued), .deadline(ambient.now().adding(snapshot.run.options.timeout)),
                    .jobEnqueued(newJob(for: run)),
                ])
        } catch is FenceLost {
            throw Problem(.runNotWaiting, "The run was resumed or cancelled at the same time.")
        }
        jobs.notify()
        return try await store.run(tenant: tenant, run) ?? snapshot.run
    }

    private func commitIdle(_ snapshot: RunSnapshot, _ events: [RunEvent], _ effects: [RunEffect]) async throws {
        let commit = RunCommit(
            tenant: snapshot.run.tenant, run: snapshot.run.id,
            authority: .takingIdle(token: snapshot.token, lastSeq: snapshot.lastSeq), events: events, effects: effects,
            time: ambient.now())
        bus.publish(commit.signal(try await store.commit(commit)))
    }
}
