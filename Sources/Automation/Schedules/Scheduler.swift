import Domain
import Logging
import Metrics
import Queue

/// Fires the schedules whose time has come. Every process that works looks each second; none leads.
public struct Scheduler: Sendable {
    private static let interval: Duration = .seconds(1)
    /// Schedules that are looked at together.
    private static let maximumDue = 100

    private let store: any ScheduleStore
    /// Notified when a job became available.
    private let available: Signal
    private let ambient: Ambient
    private let logger: Logger

    public init(store: any ScheduleStore, available: Signal, ambient: Ambient = .system, logger: Logger) {
        self.store = store
        self.available = available
        self.ambient = ambient
        self.logger = logger
    }

    /// Looks for as long as the process runs.
    public var service: PeriodicService {
        PeriodicService(every: Self.interval, failure: "Schedules cannot be fired.", logger: logger) { _ = try await fireDue() }
    }

    /// Fires every schedule that is due, unless another process does; answers how many runs that makes.
    public func fireDue() async throws -> Int {
        var total = 0
        var due: [DueSchedule] = []
        repeat {
            due = try await store.due(after: due.last, limit: Self.maximumDue)
            for one in due where !Task.isCancelled {
                // One that cannot be fired keeps no other from it.
                do { total += try await fire(one.tenant, one.schedule) } catch {
                    logger.error(
                        "A schedule cannot be fired.",
                        metadata: ["schedule_id": "\(one.schedule)", "tenant_id": "\(one.tenant)", "error": "\(error)"])
                }
            }
        } while due.count == Self.maximumDue && !Task.isCancelled
        if total > 0 {
            Counter(label: "sba_schedule_firings_total").increment(by: Int64(total))
            available.notify()
        }
        return total
    }

    private func fire(_ tenant: TenantID, _ id: ScheduleID) async throws -> Int {
        guard let schedule = try await store.schedule(tenant: tenant, id) else { return 0 }
        let now = ambient.now()
        let firings = schedule.due(at: now).map { time, isFired in
            ScheduleFiring(of: schedule, at: time, .time, isFired ? .pending : .skipped, ambient)
        }
        guard !firings.isEmpty else { return 0 }
        let jobs = firings.filter { $0.outcome == .pending }.map { $0.job(ambient) }
        do {
            try await store.fire(
                tenant: tenant, schedule, firings, jobs: jobs, next: schedule.recurrence.next(after: now))
            return jobs.count
        } catch is ScheduleMoved {
            // Another process was first.
            return 0
        }
    }
}
