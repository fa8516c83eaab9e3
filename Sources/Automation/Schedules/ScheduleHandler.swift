import Agents
import Domain
import Logging
import Queue

/// The job handler that starts the run of a firing.
public struct ScheduleHandler: JobHandler {
    public static let kind = JobKind(rawValue: "schedule")

    public let policy = JobPolicy(slots: 8, timeout: .seconds(60))
    /// What the principal of a schedule needs, as whoever starts a run by hand does.
    private static let scope = "runs:write"

    private let store: any ScheduleStore
    private let runs: RunService
    private let authorizer: any RunAuthorizer
    private let logger: Logger

    public init(store: any ScheduleStore, runs: RunService, authorizer: any RunAuthorizer, logger: Logger) {
        self.store = store
        self.runs = runs
        self.authorizer = authorizer
        self.logger = logger
    }

    public var kind: JobKind { Self.kind }

    public func handle(_ context: JobContext) async throws -> JobOutcome {
        let lease = context.lease
        guard let id = Self.firing(of: lease), let firing = try await store.firing(tenant: lease.tenant, id),
            firing.outcome == .pending,
            let schedule = try await store.schedule(tenant: lease.tenant, firing.schedule)
        else { return .completed }
        let refusal = try await refusal(of: schedule, firing)
        try await store.settle(lease, id, as: refusal == nil ? .started : .failed, error: refusal)
        if let refusal {
            logger.warning(
                "A schedule could not start its run.",
                metadata: ["schedule_id": "\(schedule.id)", "tenant_id": "\(lease.tenant)", "error": "\(refusal)"])
        }
        return .settled
    }

    /// Starts the run; answers why there is none, and there will be none however often it is tried.
    private func refusal(of schedule: Schedule, _ firing: ScheduleFiring) async throws -> String? {
        // An earlier try came as far as this.
        if try await runs.store.run(tenant: schedule.principal.tenant, firing.run) != nil { return nil }
        guard try await authorizer.isAllowed(schedule.principal, scope: Self.scope) else {
            return "Whoever changed the schedule last may not start runs in this tenant any more."
        }
        do {
            _ = try await runs.create(
                schedule.principal, schedule.request, id: firing.run, trace: Trace(requestID: "schedule-\(firing.id)"),
                idempotency: nil)
            return nil
        } catch let problem as Problem where problem.retryAfter == nil {
            return problem.detail
        }
    }

    public func giveUp(_ lease: JobLease, reason: String) async throws {
        guard let id = Self.firing(of: lease) else { return }
        try await store.fail(tenant: lease.tenant, id, error: reason)
    }

    private static func firing(of lease: JobLease) -> FiringID? {
        lease.payload["firingId"]?.string.flatMap { FiringID($0) }
    }
}
