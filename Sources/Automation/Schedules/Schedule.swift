import Agents
import Domain
import Queue

/// A run that is started again and again.
public struct Schedule: Hashable, Sendable {
    public static let maximumPerTenant = 1000
    public static let nameCharacters = 1...100
    public static let cronCharacters = 1...CronExpression.maximumLength
    public static let zoneCharacters = 1...64
    public static let defaultZone = "UTC"
    /// Times that are shown ahead.
    public static let shownTimes = 5
    /// A time that no process saw for this long was missed.
    public static let grace: Duration = .seconds(60)
    /// Of missed times, the last ones that are caught up with, or noted.
    public static let maximumMissed = 100

    /// What becomes of times at which no server ran.
    public enum Missed: String, CaseIterable, Sendable {
        /// They are noted, and make no run.
        case skip
        /// All of them make one run.
        case once
        /// Each makes a run.
        case all
    }

    public let id: ScheduleID
    /// Who its runs act as: whoever made it or changed it last.
    public var principal: Principal
    public var name: String
    public var recurrence: Recurrence
    public var missed: Missed
    public var request: RunRequest
    /// Grows with every change and every firing.
    public var version: Int64
    public var pausedAt: Timestamp?
    /// When it fires next; never while it is paused.
    public var nextAt: Timestamp?
    public let createdAt: Timestamp
    public var updatedAt: Timestamp

    public init(
        id: ScheduleID, principal: Principal, name: String, recurrence: Recurrence, missed: Missed, request: RunRequest,
        version: Int64 = 1, pausedAt: Timestamp? = nil, nextAt: Timestamp?, createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.id = id
        self.principal = principal
        self.name = name
        self.recurrence = recurrence
        self.missed = missed
        self.request = request
        self.version = version
        self.pausedAt = pausedAt
        self.nextAt = nextAt
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }

    /// The next times, as far as they are shown.
    public var nextTimes: [Timestamp] {
        guard let nextAt else { return [] }
        return [nextAt] + recurrence.next(Self.shownTimes - 1, after: nextAt)
    }

    /// The times that have come by `now`, each with what becomes of it, in order.
    public func due(at now: Timestamp) -> [(time: Timestamp, isFired: Bool)] {
        guard let nextAt, nextAt <= now else { return [] }
        let found = recurrence.last(Self.maximumMissed, from: nextAt, through: now)
        // What was a time once is one, also where the zone's clocks are set otherwise since.
        let times = found.isEmpty ? [nextAt] : found
        return times.map { time in
            let isFired =
                switch missed {
                case .skip: time >= now.adding(.zero - Self.grace)
                case .once: time == times.last
                case .all: true
                }
            return (time, isFired)
        }
    }
}

/// One time at which a schedule fired, or would have.
public struct ScheduleFiring: Hashable, Sendable {
    public enum Cause: String, Sendable {
        case time
        /// Somebody asked for it.
        case manual
    }

    public enum Outcome: String, Sendable {
        /// Its job will make the run.
        case pending
        case started
        /// There is no run, for a reason that is noted.
        case failed
        /// Its time was missed.
        case skipped
    }

    public let id: FiringID
    public let schedule: ScheduleID
    /// When it was due, or asked for.
    public let time: Timestamp
    public let cause: Cause
    public let outcome: Outcome
    public let error: String?
    public let createdAt: Timestamp

    public init(
        id: FiringID, schedule: ScheduleID, time: Timestamp, cause: Cause, outcome: Outcome, error: String? = nil,
        createdAt: Timestamp
    ) {
        self.id = id
        self.schedule = schedule
        self.time = time
        self.cause = cause
        self.outcome = outcome
        self.error = error
        self.createdAt = createdAt
    }

    init(of schedule: Schedule, at time: Timestamp, _ cause: Cause, _ outcome: Outcome, _ ambient: Ambient) {
        self.init(
            id: FiringID(ambient.makeID()), schedule: schedule.id, time: time, cause: cause, outcome: outcome,
            createdAt: ambient.now())
    }

    /// Tries to start the run, while the database cannot be reached.
    private static let maximumAttempts = 20

    /// The job that starts the run. Its subject is the schedule, for the run's own job has the run's id.
    func job(_ ambient: Ambient) -> NewJob {
        NewJob(
            id: JobID(ambient.makeID()), kind: ScheduleHandler.kind, subject: schedule.uuid,
            maximumAttempts: Self.maximumAttempts, payload: ["firingId": .string("\(id)")])
    }

    /// The run that it makes.
    public var run: RunID { RunID(id.uuid) }
}
