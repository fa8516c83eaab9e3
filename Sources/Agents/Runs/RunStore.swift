import Domain
import Foundation
import Queue

/// A run on its way in.
public struct NewRun: Sendable {
    public let id: RunID
    /// The session it continues, or `nil` to begin a new one, under `newSession`.
    public let session: SessionID?
    public let newSession: SessionID
    public let principal: Principal
    public let trace: Trace
    public let prompt: String
    public let options: RunOptions
    public let job: NewJob
    /// The caller's `Idempotency-Key`, and a digest of what it came with.
    public let idempotency: (key: String, digest: String)?

    public init(
        id: RunID, session: SessionID?, newSession: SessionID, principal: Principal, trace: Trace, prompt: String,
        options: RunOptions, job: NewJob, idempotency: (key: String, digest: String)?
    ) {
        self.id = id
        self.session = session
        self.newSession = newSession
        self.principal = principal
        self.trace = trace
        self.prompt = prompt
        self.options = options
        self.job = job
        self.idempotency = idempotency
    }
}

/// What a worker needs to go on with a run: one consistent look at it.
public struct RunSnapshot: Sendable {
    public let run: Run
    public let token: Int64
    public let lastSeq: Int64
    public let isCancelRequested: Bool
    /// Whether a worker holds the run's job now.
    public let isHeld: Bool
    /// Earlier messages of the session, oldest first.
    public let history: [SessionMessage]
    /// In order.
    public let steps: [RunStep]
    /// In order of their step, then their ordinal.
    public let toolCalls: [ToolCallRecord]

    public init(
        run: Run, token: Int64, lastSeq: Int64, isCancelRequested: Bool, isHeld: Bool, history: [SessionMessage],
        steps: [RunStep], toolCalls: [ToolCallRecord]
    ) {
        self.run = run
        self.token = token
        self.lastSeq = lastSeq
        self.isCancelRequested = isCancelRequested
        self.isHeld = isHeld
        self.history = history
        self.steps = steps
        self.toolCalls = toolCalls
    }
}

public struct SessionMessage: Hashable, Sendable {
    public enum Role: String, Sendable {
        case user
        case assistant
    }

    /// A run sees at most this many earlier messages of its session.
    public static let maximumHistory = 40

    public let role: Role
    public let text: String

    public init(role: Role, text: String) {
        self.role = role
        self.text = text
    }
}

/// One atomic change to a run: events for its log, and the rows that change with them.
public struct RunCommit: Sendable {
    /// By what right the change is made.
    public enum Authority: Sendable {
        /// The writer took the fence before, holds `token`, and has written up to `lastSeq`.
        case holding(token: Int64, lastSeq: Int64)
        /// Takes the fence from `token` to `token + 1`, as the holder of the run's job. The log must still end at
        /// `lastSeq`: what was decided on an older look at it does not hold.
        case taking(token: Int64, lastSeq: Int64, lease: JobLease)
        /// The same while no worker holds the run's job; waiting jobs of the run are cancelled.
        case takingIdle(token: Int64, lastSeq: Int64)
    }

    public let tenant: TenantID
    public let run: RunID
    public let authority: Authority
    public let events: [RunEvent]
    public let effects: [RunEffect]
    /// The time of the events.
    public let time: Timestamp

    public init(
        tenant: TenantID, run: RunID, authority: Authority, events: [RunEvent], effects: [RunEffect], time: Timestamp
    ) {
        self.tenant = tenant
        self.run = run
        self.authority = authority
        self.events = events
        self.effects = effects
        self.time = time
    }

    /// The token that holds after the commit.
    public var token: Int64 {
        switch authority {
        case .holding(let token, _): token
        case .taking(let token, _, _), .takingIdle(let token, _): token + 1
        }
    }

    /// What the gateways are told once the commit is made.
    public func signal(_ receipt: RunReceipt) -> RunSignal {
        let first = receipt.lastSeq - Int64(events.count) + 1
        return RunSignal(
            tenant: tenant, run: run,
            events: events.enumerated().map { offset, event in
                LoggedEvent(seq: first + Int64(offset), timestamp: time, event: event)
            })
    }
}

/// A row that changes together with the log.
public enum RunEffect: Sendable {
    /// Moves the run; refused unless `RunStateMachine` allows it from where the run is.
    case status(RunStatus, output: String? = nil, failure: Run.Failure? = nil)
    case stepStarted(RunStep)
    case stepRestarted(StepID, attempt: Int)
    /// Ends the step, and writes what it used.
    case stepFinished(StepID, output: ModelTurn?, StepUse)
    /// Every step and tool call that has not ended ends with the run.
    case unfinishedAbandoned
    case toolCallRequested(ToolCallRecord)
    case toolCallMoved(id: String, from: ToolCallState, to: ToolCallState, attempt: Int, result: String?)
    /// The final answer joins the session's messages.
    case answered(messageID: UUID, text: String)
    case jobCompleted(JobLease)
    case jobEnqueued(NewJob)
    /// The run may take this long again, from the commit's time.
    case deadline(Timestamp)
}

/// What a finished step used: one row of usage.
public struct StepUse: Hashable, Sendable {
    /// What runs that name no agent are counted under.
    public static let defaultAgent = "default"

    /// The model as `provider/model`, or the tool.
    public let name: String
    public let inputTokens: Int
    public let outputTokens: Int

    public init(name: String, inputTokens: Int = 0, outputTokens: Int = 0) {
        self.name = name
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
    }
}

/// What a commit answers.
public struct RunReceipt: Sendable {
    public let lastSeq: Int64
    /// Whether a cancellation was asked for meanwhile.
    public let isCancelRequested: Bool

    public init(lastSeq: Int64, isCancelRequested: Bool) {
        self.lastSeq = lastSeq
        self.isCancelRequested = isCancelRequested
    }
}

/// The `Idempotency-Key` was used before, for something else.
public struct IdempotencyKeyReused: Error, Hashable, Sendable {
    public init() {}
}

/// Holds runs, their logs, steps and tool calls.
///
/// Every call is atomic, and sees one tenant only: another tenant's run is no run.
/// `seq` is gapless from 1, in the order of the commits. A commit whose authority does not hold any more stores nothing
/// and throws `FenceLost`. What `create` and `commit` answered survives a crash of the process and of the machine.
public protocol RunStore: Sendable {
    /// Stores the run, its head, its `RUN_STARTED`, the prompt as a message, its job and the idempotency key.
    ///
    /// - Returns: the run; an earlier one when the key, or the id, was used for the same before.
    /// - Throws: `IdempotencyKeyReused`; `Problem` with `not_found` when the session is not the tenant's.
    func create(tenant: TenantID, _ run: NewRun) async throws -> Run

    func run(tenant: TenantID, _ id: RunID) async throws -> Run?

    /// Newest first; only those in `status` when it is given.
    func runs(tenant: TenantID, status: RunStatus?, page: PageRequest) async throws -> Page<Run>

    /// In order.
    func steps(tenant: TenantID, run: RunID) async throws -> [RunStep]

    /// In order of their step, then their ordinal.
    func toolCalls(tenant: TenantID, run: RunID) async throws -> [ToolCallRecord]

    /// The log after `seq`, in order, at most `limit` events.
    func events(tenant: TenantID, run: RunID, after seq: Int64, limit: Int) async throws -> [LoggedEvent]

    func snapshot(tenant: TenantID, run: RunID) async throws -> RunSnapshot?

    func commit(_ commit: RunCommit) async throws -> RunReceipt

    /// Leaves a cancel command for the worker that holds the run. Does nothing to a run that has ended.
    func requestCancel(tenant: TenantID, run: RunID) async throws

    func isCancelRequested(tenant: TenantID, run: RunID) async throws -> Bool

    /// How many runs are in each unfinished status, over all tenants.
    func depths() async throws -> [RunStatus: Int]
}
