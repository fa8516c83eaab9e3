import Domain

/// A kind of rows that go when they are old.
public enum RetainedRows: String, CaseIterable, Sendable {
    /// Jobs that are done or cancelled.
    case jobs
    /// Jobs that were discarded.
    case deadLetters
    /// Runs that have ended, with their events, steps, tool calls and messages.
    case runs
    /// What makes a repeated request the same request.
    case idempotencyKeys
    case auditLogs
    case usage
    /// Sign-ins that nobody can go on with, used refresh tokens, expired invitations and resets.
    case signIns
    /// What schedules did at their times.
    case scheduleFirings
    /// Events that webhooks were told, with their deliveries.
    case deliveries
    case metaEvents
}

/// How long each kind of rows is kept; what is absent is kept for ever.
public struct RetentionPolicy: Hashable, Sendable {
    /// Rows of the audit log are kept at least this long: the database itself deletes no younger one.
    public static let minimumAudit: Duration = .seconds(30 * 86_400)

    public var ages: [RetainedRows: Duration]

    public init(ages: [RetainedRows: Duration]) { self.ages = ages }
}

/// Deletes what is old.
public protocol RetentionStore: Sendable {
    /// Moves the time of some work on by `interval` if it has come; answers whether it had, for one caller of all processes.
    func isDue(_ work: String, every interval: Duration) async throws -> Bool

    /// Deletes at most `limit` rows that are older than `age` by the database's clock; answers how many it deleted.
    func prune(_ rows: RetainedRows, olderThan age: Duration, limit: Int) async throws -> Int
}
