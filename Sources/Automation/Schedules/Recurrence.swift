import Domain
import Foundation
import Queue

/// When a schedule fires: a cron expression on the clocks of a zone.
public struct Recurrence: Hashable, Sendable {
    public let cron: CronExpression
    /// As it was given: the zone itself may call itself otherwise.
    public let zoneName: String
    private let zone: TimeZone

    /// - Throws: `Problem` with `invalid_request`.
    public init(cron: String, zone: String) throws(Problem) {
        self.cron = try CronExpression(cron)
        zoneName = zone
        self.zone = try CronExpression.zone(named: zone)
    }

    /// The first firing after `time`; `nil` when there is none any more.
    public func next(after time: Timestamp) -> Timestamp? { cron.next(after: time, in: zone) }

    /// The first `count` firings after `time`.
    public func next(_ count: Int, after time: Timestamp) -> [Timestamp] {
        Array(sequence(first: time) { next(after: $0) }.dropFirst().prefix(count))
    }

    /// The last firings from `first` through `last`, in order; at most `count`.
    public func last(_ count: Int, from first: Timestamp, through last: Timestamp) -> [Timestamp] {
        let start = Timestamp(microseconds: first.microseconds - 1)
        // Looks back further and further: a time long ago may be many firings ago.
        var span: Duration = .seconds(3600)
        while true {
            let from = max(start, last.adding(.zero - span))
            let found = cron.firings(after: from, through: last, in: zone, limit: .max)
            if found.count >= count || from == start { return found.suffix(count) }
            span *= 4
        }
    }
}
