/// How often something may be done: `count` times at once, then evenly so that `count` fit into `period`.
public struct RateLimit: Hashable, Sendable {
    public let count: Int
    public let period: Duration

    public init(count: Int, per period: Duration) {
        self.count = count
        self.period = period
    }
}

/// Counts who does what how often, by the generic cell rate algorithm (ITU-T I.371): a key costs one number.
///
/// Each call is atomic: of calls at the same time no more than the limit allows are let through.
public protocol RateLimiter: Sendable {
    /// Counts one more under `key`, if that is still within the limit.
    ///
    /// - Returns: `nil` when it is; else how long until the next one would be, and nothing was counted.
    func take(_ key: String, _ limit: RateLimit) async throws -> Duration?

    /// Takes back one that was counted, for it turned out not to be meant.
    func giveBack(_ key: String, _ limit: RateLimit) async throws
}
