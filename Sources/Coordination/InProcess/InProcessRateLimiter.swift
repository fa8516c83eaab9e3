import Domain
import Synchronization

/// The rate limiter of one process.
public final class InProcessRateLimiter: RateLimiter {
    /// Beyond this many keys those whose time is over are forgotten, and then, if that is not enough, the half that is
    /// nearest to it.
    private static let maximumKeys = 100_000

    /// For each key, when it would be as if nothing had been counted: the theoretical arrival time of the algorithm.
    private let arrivals = Mutex<[String: Timestamp]>([:])
    private let now: @Sendable () -> Timestamp

    public init(now: @escaping @Sendable () -> Timestamp = Ambient.system.now) { self.now = now }

    public func take(_ key: String, _ limit: RateLimit) -> Duration? {
        let now = now()
        let interval = limit.period / limit.count
        return arrivals.withLock { arrivals in
            let arrival = max(arrivals[key] ?? now, now)
            let excess = arrival.adding(interval).duration(since: now) - limit.period
            guard excess <= .zero else { return excess }
            if arrivals.count >= Self.maximumKeys { Self.makeRoom(in: &arrivals, at: now) }
            arrivals[key] = arrival.adding(interval)
            return nil
        }
    }

    public func giveBack(_ key: String, _ limit: RateLimit) {
        arrivals.withLock { arrivals in
            guard let arrival = arrivals[key] else { return }
            arrivals[key] = arrival.adding(.zero - limit.period / limit.count)
        }
    }

    private static func makeRoom(in arrivals: inout [String: Timestamp], at now: Timestamp) {
        arrivals = arrivals.filter { $0.value > now }
        guard arrivals.count > maximumKeys / 2 else { return }
        let middle = arrivals.values.sorted()[arrivals.count / 2]
        arrivals = arrivals.filter { $0.value > middle }
    }
}
