import Domain
import Logging
import Metrics
import Models
import Queue

/// Whether a principal may still do something: asked again at every tool call, for a membership may have ended since.
public protocol RunAuthorizer: Sendable {
    /// Whether the principal is still a member of its tenant and its scopes hold `scope` (any scope when `nil`).
    func isAllowed(_ principal: Principal, scope: String?) async throws -> Bool
}

/// Bounds of the loop that no run's options can lift.
public struct RunExecutorConfiguration: Sendable {
    /// Tries of one step, crashes included: a step that takes the process down must not do so for ever. Many, for a step
    /// that is only unlucky, as when a machine keeps losing its power, must not be given up.
    public var maximumStepAttempts = 100
    /// Tries of one model call after its stream broke in the middle.
    public var maximumStreamAttempts = 3
    /// A tool is called only while this much of the lease is left: time enough to store the intent first.
    public var minimumLease: Duration = .seconds(2)
    /// Text waits at most this long before it is stored and streamed: below what a reader notices.
    public var textDelay: Duration = .milliseconds(50)
    /// The longest answer of a model.
    public var maximumTokens = 2048

    public init() {}
}

/// The job handler that carries a run from where its rows say it stands to its end.
///
/// Every finished step is stored before the next begins, so whoever takes over goes on after the last one.
public struct RunExecutor: JobHandler {
    public static let kind = JobKind(rawValue: "run")

    let store: any RunStore
    let bus: any EventBus
    let models: ModelCatalog
    let tools: ToolCatalog
    let authorizer: any RunAuthorizer
    let configuration: RunExecutorConfiguration
    let ambient: Ambient
    let logger: Logger

    /// A run has a deadline of its own.
    public let policy: JobPolicy

    /// - Parameter slots: runs at work at one time in this process.
    public init(
        store: any RunStore, bus: any EventBus, models: ModelCatalog, tools: ToolCatalog,
        authorizer: any RunAuthorizer, configuration: RunExecutorConfiguration = .init(), slots: Int = 64,
        ambient: Ambient = .system, logger: Logger
    ) {
        policy = JobPolicy(slots: slots)
        self.store = store
        self.bus = bus
        self.models = models
        self.tools = tools
        self.authorizer = authorizer
        self.configuration = configuration
        self.ambient = ambient
        self.logger = logger
    }

    public var kind: JobKind { Self.kind }

    public func handle(_ context: JobContext) async throws -> JobOutcome {
        let lease = context.lease
        guard let snapshot = try await store.snapshot(tenant: lease.tenant, run: RunID(lease.subject)),
            !snapshot.run.status.isFinal
        else { return .completed }
        let open = try await store.openItems(snapshot)
        let recorder = RunRecorder(
            snapshot: snapshot, open: open, context: context, store: store, bus: bus, textDelay: configuration.textDelay,
            ambient: ambient)
        var logger = logger
        logger[metadataKey: "run_id"] = "\(snapshot.run.id)"
        logger[metadataKey: "tenant_id"] = "\(lease.tenant)"
        logger[metadataKey: "request_id"] = "\(snapshot.run.trace.requestID)"
        if let trace = snapshot.run.trace.traceID { logger[metadataKey: "trace_id"] = "\(trace)" }
        var loop = RunLoop(executor: self, context: context, snapshot: snapshot, recorder: recorder, logger: logger)
        let status = try await loop.run()
        Counter(label: "sba_runs_total", dimensions: [("status", status.rawValue)]).increment()
        Recorder(label: "sba_run_duration_ms", dimensions: [])
            .record(ambient.now().duration(since: snapshot.run.createdAt).milliseconds)
        logger.info("The run left its worker.", metadata: ["status": "\(status.rawValue)"])
        return .settled
    }

    public func giveUp(_ lease: JobLease, reason: String) async throws {
        guard let snapshot = try await store.snapshot(tenant: lease.tenant, run: RunID(lease.subject)),
            !snapshot.run.status.isFinal
        else { return }
        let message = "The run could not be done: it failed or crashed too often, or an operator gave it up."
        let failure = Run.Failure(code: ErrorCode.internalError.rawValue, message: message)
        let commit = RunCommit(
            tenant: lease.tenant, run: snapshot.run.id,
            authority: .taking(token: snapshot.token, lastSeq: snapshot.lastSeq, lease: lease),
            events: try await store.openItems(snapshot).closing + [.runError(code: .internalError, message: message)],
            effects: [.unfinishedAbandoned, .status(.running), .status(.failed, failure: failure)], time: ambient.now())
        bus.publish(commit.signal(try await store.commit(commit)))
    }
}
