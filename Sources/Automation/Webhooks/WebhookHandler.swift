import Accounts
import Domain
import Models
import Queue
import Synchronization

/// The job handler that tells a webhook an event.
public struct WebhookHandler: JobHandler {
    public static let kind = JobKind(rawValue: "webhook")

    /// What an answer may take.
    public static let patience = HTTPTimeouts(total: .seconds(15))
    /// The receiver is gone for good (RFC 9110 section 15.5.11).
    private static let gone = 410

    public let policy = JobPolicy(
        slots: 64, timeout: .seconds(30), backoff: Backoff(base: .seconds(5), cap: .seconds(6 * 3600)))

    private let store: any WebhookStore
    private let sealer: SecretSealer
    private let http: any OutgoingHTTP
    private let timeouts: HTTPTimeouts
    private let ambient: Ambient

    /// - Parameter http: reaches nothing that tenants may not.
    public init(
        store: any WebhookStore, sealer: SecretSealer, http: any OutgoingHTTP, timeouts: HTTPTimeouts = patience,
        ambient: Ambient = .system
    ) {
        self.store = store
        self.sealer = sealer
        self.http = http
        self.timeouts = timeouts
        self.ambient = ambient
    }

    public var kind: JobKind { Self.kind }

    /// The other side did not take the event.
    struct NotTaken: ClassifiedError, CustomStringConvertible {
        let failureClass: FailureClass
        let description: String
    }

    public func handle(_ context: JobContext) async throws -> JobOutcome {
        let lease = context.lease
        guard let (delivery, event) = try await store.delivery(tenant: lease.tenant, DeliveryID(lease.subject)),
            delivery.state == .pending,
            let webhook = try await store.webhook(tenant: lease.tenant, delivery.webhook)
        else { return .completed }
        guard webhook.disabledAt == nil else {
            let refusal = WebhookDelivery.Attempt(
                status: nil, error: "The webhook is disabled.", response: nil, duration: .zero, time: ambient.now())
            try await store.settle(lease, as: .failed, refusal, disabling: nil)
            return .settled
        }
        let (attempt, failure) = try await attempt(event, to: webhook)
        guard let failure else {
            try await store.settle(lease, as: .delivered, attempt, disabling: nil)
            return .settled
        }
        if attempt.status == Self.gone {
            try await store.settle(lease, as: .failed, attempt, disabling: "The other side answered 410: it is gone.")
            return .settled
        }
        try await store.note(lease, attempt)
        throw failure
    }

    private func attempt(
        _ event: OutgoingEvent, to webhook: Webhook
    ) async throws -> (WebhookDelivery.Attempt, NotTaken?) {
        let (time, start) = (ambient.now(), ContinuousClock.now)
        let answer = Answer()
        func attempt(_ status: Int?, _ error: String?) -> WebhookDelivery.Attempt {
            WebhookDelivery.Attempt(
                status: status, error: error, response: answer.text, duration: .now - start, time: time)
        }
        do {
            let head = try await http.exchange(
                try request(event, to: webhook, at: time), timeouts: timeouts
            ) { answer.take($1) }
            guard !(200..<300).contains(head.status) else { return (attempt(head.status, nil), nil) }
            let words = "The other side answered \(head.status)."
            let isClients = (300..<500).contains(head.status)
            return (
                attempt(head.status, words), NotTaken(failureClass: isClients ? .client : .server, description: words)
            )
        } catch let failure as HTTPFailure {
            let words = failure.words
            let kind: FailureClass = if case .timedOut = failure { .timeout } else { .server }
            return (attempt(nil, words), NotTaken(failureClass: kind, description: words))
        }
    }

    /// The message, signed with each secret that holds.
    private func request(_ event: OutgoingEvent, to webhook: Webhook, at time: Timestamp) throws -> OutgoingRequest {
        let body = Array(event.body.text.utf8)
        let seconds = time.milliseconds / 1000
        var sealed = [webhook.sealed]
        if let previous = webhook.previousSealed, let until = webhook.previousUntil, time < until { sealed.append(previous) }
        let signatures = try sealed.map { sealed in
            WebhookSecret(text: try sealer.open(sealed, row: WebhookService.row(webhook.id)))
                .signature(id: "\(event.id)", timestamp: seconds, body: body)
        }
        return OutgoingRequest(
            url: webhook.url,
            headers: [
                ("Content-Type", "application/json"), ("User-Agent", "sba-agentic"), ("Webhook-Id", "\(event.id)"),
                ("Webhook-Timestamp", "\(seconds)"), ("Webhook-Signature", signatures.joined(separator: " ")),
            ], body: body)
    }

    public func giveUp(_ lease: JobLease, reason: String) async throws {
        try await store.fail(tenant: lease.tenant, DeliveryID(lease.subject), error: reason)
    }
}

/// How the body of an answer begins; the rest is read and forgotten.
private final class Answer: Sendable {
    private static let maximumBytes = 4 * WebhookDelivery.Attempt.keptCharacters

    private let bytes = Mutex<[UInt8]>([])

    func take(_ piece: [UInt8]) { bytes.withLock { $0 += piece.prefix(Self.maximumBytes - $0.count) } }

    /// `nil` while nothing has come. A database takes no null characters.
    var text: String? {
        let text = String(decoding: bytes.withLock { $0 }, as: UTF8.self).replacing("\0", with: "")
        return text.isEmpty ? nil : String(text.unicodeScalars.prefix(WebhookDelivery.Attempt.keptCharacters))
    }
}

extension HTTPFailure {
    /// For whoever reads the delivery log.
    fileprivate var words: String {
        switch self {
        case .notConnected(let reason): "No connection: \(reason)."
        case .broken(let reason): "The connection broke: \(reason)."
        case .timedOut(let phase): "No answer in time: \(phase.rawValue)."
        }
    }
}
