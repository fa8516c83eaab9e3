/// What a commit to a run's log tells the gateways.
public struct RunSignal: Sendable {
    public let tenant: TenantID
    public let run: RunID
    public let first: Int64
    public let last: Int64
    /// The events from `first` to `last`, or none when they exceed `maximumEventBytes`: read the log then.
    public let events: [LoggedEvent]

    /// Larger batches travel as numbers only, so that the bus stays a signal and never becomes the log.
    public static let maximumEventBytes = 8 * 1024

    public init(tenant: TenantID, run: RunID, events: [LoggedEvent]) {
        self.tenant = tenant
        self.run = run
        first = events.first?.seq ?? 0
        last = events.last?.seq ?? 0
        let bytes = events.reduce(0) { $0 + $1.fields.utf8.count }
        self.events = bytes <= Self.maximumEventBytes ? events : []
    }
}

/// Carries signals from whoever committed to whoever streams.
///
/// Delivery is best effort and at most once: a signal may be lost, never reordered within a run by one publisher.
/// Subscribers recover what is lost from the log.
public protocol EventBus: Sendable {
    /// Hands the signal to every subscriber. Called after the commit; never blocks and never fails.
    func publish(_ signal: RunSignal)

    /// Calls `receive` for every later signal until `cancel` of the answer. `receive` must not block.
    func subscribe(_ receive: @escaping @Sendable (RunSignal) -> Void) -> BusSubscription
}

/// Ends a subscription.
public struct BusSubscription: Sendable {
    public let cancel: @Sendable () -> Void

    public init(cancel: @escaping @Sendable () -> Void) { self.cancel = cancel }
}
