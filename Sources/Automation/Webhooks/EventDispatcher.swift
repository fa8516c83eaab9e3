import Domain
import Logging
import Metrics
import Queue

/// Makes deliveries of pending events. Every process that works looks each second; none leads.
public struct EventDispatcher: Sendable {
    private static let interval: Duration = .seconds(1)
    /// Events that are looked at together.
    private static let maximumPending = 500
    /// Events of a tenant that are sent on in one transaction, each perhaps to many webhooks.
    private static let maximumTogether = 50

    private let store: any WebhookStore
    /// Notified when a job became available.
    private let available: Signal
    private let ambient: Ambient
    private let logger: Logger

    public init(store: any WebhookStore, available: Signal, ambient: Ambient = .system, logger: Logger) {
        self.store = store
        self.available = available
        self.ambient = ambient
        self.logger = logger
    }

    /// Looks for as long as the process runs.
    public var service: PeriodicService {
        PeriodicService(every: Self.interval, failure: "Events cannot be sent on.", logger: logger) { _ = try await dispatch() }
    }

    /// Sends every pending event on, unless another process does; answers how many deliveries that makes.
    public func dispatch() async throws -> Int {
        var total = 0
        var pending: [PendingEvent] = []
        repeat {
            pending = try await store.pending(after: pending.last, limit: Self.maximumPending)
            for (tenant, events) in Dictionary(grouping: pending, by: \.tenant) {
                // A tenant whose events cannot be sent keeps no other from it.
                do {
                    for start in stride(from: 0, to: events.count, by: Self.maximumTogether) {
                        let together = events[start..<min(start + Self.maximumTogether, events.count)]
                        total += try await send(together, in: tenant)
                    }
                } catch is EventMoved {
                    // Another process was first.
                } catch {
                    logger.error(
                        "Events of a tenant cannot be sent on.",
                        metadata: ["tenant_id": "\(tenant)", "error": "\(error)"])
                }
            }
        } while pending.count == Self.maximumPending && !Task.isCancelled
        if total > 0 {
            Counter(label: "sba_webhook_deliveries_total").increment(by: Int64(total))
            available.notify()
        }
        return total
    }

    private func send(_ events: ArraySlice<PendingEvent>, in tenant: TenantID) async throws -> Int {
        let webhooks = try await store.enabled(tenant: tenant)
        let deliveries = events.flatMap { event in
            webhooks.filter { $0.wants(event.type) }.map { webhook in
                WebhookDelivery(of: event.event, type: event.type, to: webhook.id, ambient)
            }
        }
        try await store.send(
            tenant: tenant, events.map(\.event), deliveries: deliveries, jobs: deliveries.map { $0.job(ambient) })
        return deliveries.count
    }
}
