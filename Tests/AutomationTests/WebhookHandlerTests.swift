import Accounts
import Automation
import Crypto
import Domain
import Foundation
import HTTPTypes
import Hummingbird
import Models
import NIOCore
import Queue
import Storage
import Synchronization
import TestSupport
import Testing

/// A receiver that keeps what it is told.
private final class Receiver: Sendable {
    struct Message: Sendable {
        let headers: HTTPFields
        let body: [UInt8]

        func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { headers[$0] } }
    }

    private let received = Mutex<[Message]>([])

    var messages: [Message] { received.withLock { $0 } }

    /// Answers everything the same.
    func router(_ status: HTTPResponse.Status, _ answer: String = "", location: String? = nil) -> Router<BasicRequestContext> {
        let router = Router()
        // Who follows a redirect may come with another method.
        for method in [HTTPRequest.Method.post, .get] {
            router.on("**", method: method) { request, _ in
                let body = try await request.body.collect(upTo: 1 << 20)
                self.received.withLock { $0.append(Message(headers: request.headers, body: Array(body.readableBytesView))) }
                var headers = HTTPFields()
                headers[.location] = location
                return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: answer)))
            }
        }
        return router
    }
}

/// The services around webhooks, a receiver, and workers that the test runs by hand.
private struct Bench: Sendable {
    let database: TestDatabase
    let clock: ManualClock
    let principal: Principal
    let receiver: Receiver
    /// Where the receiver listens.
    let url: String
    let service: WebhookService
    let handler: WebhookHandler

    /// The tests all run at once, on a machine that is busy with them.
    private static let patience = HTTPTimeouts(
        connect: .seconds(100), firstByte: .seconds(100), idle: .seconds(100), total: .seconds(100))

    /// - Parameter allowed: the networks that may be reached although they are inward.
    static func with(
        _ status: HTTPResponse.Status = .ok, _ answer: String = "", location: String? = nil, allowed: String? = "127.0.0.0/8",
        _ work: @escaping @Sendable (Bench) async throws -> Void
    ) async throws {
        let clock = ManualClock()
        try await TestDatabase.with(ambient: clock.ambient) { database in
            let principal = try await database.makePrincipal()
            let sealer = SecretSealer(secret: SecretSealer.makeSecret())
            let http = OutwardHTTP(allowed: [allowed].compactMap { $0.flatMap { IPNetwork($0) } })
            let receiver = Receiver()
            try await withHTTPServer(receiver.router(status, answer, location: location)) { url in
                try await work(
                    Bench(
                        database: database, clock: clock, principal: principal, receiver: receiver, url: url,
                        service: WebhookService(
                            store: database.webhooks, sealer: sealer, http: http, available: Signal(), ambient: clock.ambient),
                        handler: WebhookHandler(
                            store: database.webhooks, sealer: sealer, http: http, timeouts: patience, ambient: clock.ambient)))
            }
        }
    }

    func create(_ url: String? = nil) async throws -> (webhook: Webhook, secret: WebhookSecret) {
        try await service.create(
            principal, url: url ?? self.url + "/hook", description: nil, events: ["*"], requester: .server)
    }

    func claim() async throws -> JobLease { try #require(try await database.jobs.claim(WebhookHandler.kind, limit: 1).first) }

    /// An event on its way to a webhook.
    func send(
        _ data: JSONValue = [:], to webhook: Webhook, attempts: Int = 18
    ) async throws -> (delivery: WebhookDelivery, event: OutgoingEvent) {
        let (makeID, now) = (clock.ambient.makeID, clock.now)
        let event = OutgoingEvent(id: EventID(makeID()), type: "order.paid", data: data, time: now.adding(.seconds(-60)))
        let delivery = WebhookDelivery(
            id: DeliveryID(makeID()), webhook: webhook.id, event: event.id, type: event.type, createdAt: now)
        let job = NewJob(
            id: JobID(makeID()), kind: WebhookHandler.kind, subject: delivery.id.uuid, maximumAttempts: attempts)
        let note = AuditEntry.test(.webhookReplayed, in: principal.tenant)
        try await database.webhooks.send(tenant: principal.tenant, event, delivery: delivery, job: job, audit: note)
        return (delivery, event)
    }

    /// Works on the next job, which the handler settles itself.
    func work() async throws {
        let lease = try await claim()
        let outcome = try await handler.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
        guard case .settled = outcome else {
            Issue.record("the job is left to the worker")
            return
        }
    }

    /// Works on the next job, which fails; answers how, and hands the job back as a worker does.
    func fail() async throws -> any Error {
        let lease = try await claim()
        let error = try await #require(throws: (any Error).self) {
            try await handler.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
        }
        try await database.jobs.fail(lease, error: "\(error)", delay: .zero)
        return error
    }

    func now(_ delivery: WebhookDelivery) async throws -> WebhookDelivery {
        try await service.delivery(principal, of: delivery.webhook, delivery.id).delivery
    }
}

@Suite("WebhookHandler", .timeLimit(.minutes(5)))
struct WebhookHandlerTests {
    /// What a receiver finds out for itself (Standard Webhooks 1.0.0).
    private func signature(_ message: Receiver.Message, _ secret: WebhookSecret) throws -> String {
        let key = try #require(Data(base64Encoded: String(secret.text.dropFirst("whsec_".count))))
        let id = try #require(message.header("webhook-id"))
        let timestamp = try #require(message.header("webhook-timestamp"))
        let signed = Data("\(id).\(timestamp).".utf8) + Data(message.body)
        let code = HMAC<SHA256>.authenticationCode(for: signed, using: SymmetricKey(data: key))
        return "v1," + Data(code).base64EncodedString()
    }

    @Test("a receiver is told what happened in a message that it can verify")
    func message() async throws {
        try await Bench.with(.accepted, "thanks") { bench in
            let (webhook, secret) = try await bench.create()
            let (delivery, event) = try await bench.send(["total": .double(12.5), "who": "Zoë"], to: webhook)
            try await bench.work()
            let message = try #require(bench.receiver.messages.first)
            #expect(bench.receiver.messages.count == 1)
            #expect(message.header("content-type") == "application/json")
            #expect(message.header("webhook-id") == "\(event.id)")
            #expect(message.header("webhook-timestamp") == "\(bench.clock.now.microseconds / 1_000_000)")
            #expect(try message.header("webhook-signature") == signature(message, secret))
            let body = try JSONValue(parsing: message.body)
            #expect(
                body == [
                    "type": "order.paid", "timestamp": .string(event.time.iso8601),
                    "data": ["total": .double(12.5), "who": "Zoë"],
                ])
            let now = try await bench.now(delivery)
            #expect(now.state == .delivered && now.deliveredAt == bench.clock.now && now.attempts == 1)
            let attempt = try #require(now.lastAttempt)
            #expect(attempt.status == 202 && attempt.error == nil && attempt.response == "thanks")
            #expect(attempt.time == bench.clock.now && attempt.duration >= .zero)
            #expect(try await bench.database.jobs.depths().isEmpty)
        }
    }

    @Test("a webhook is tried with an event that says nothing")
    func test() async throws {
        try await Bench.with { bench in
            let (webhook, secret) = try await bench.create()
            let delivery = try await bench.service.test(bench.principal, webhook.id, requester: .server)
            try await bench.work()
            let message = try #require(bench.receiver.messages.first)
            let body = try JSONValue(parsing: message.body)
            #expect(body["type"] == "webhook.test" && body["data"] == [:])
            #expect(try message.header("webhook-signature") == signature(message, secret))
            #expect(try await bench.now(delivery).state == .delivered)
        }
    }

    @Test("while two secrets hold each signs, and later the new one alone")
    func twoSecrets() async throws {
        try await Bench.with { bench in
            let (webhook, old) = try await bench.create()
            let (rotated, new) = try await bench.service.rotateSecret(bench.principal, webhook.id, requester: .server)
            #expect(new != old && rotated.previousUntil == bench.clock.now.adding(.seconds(24 * 3600)))
            let times = [(Duration.zero, [old, new]), (.seconds(24 * 3600 - 1), [old, new]), (.seconds(1), [new])]
            for (passed, secrets) in times {
                bench.clock.advance(by: passed)
                _ = try await bench.send(to: webhook)
                try await bench.work()
                let message = try #require(bench.receiver.messages.last)
                let signatures = message.header("webhook-signature")?.split(separator: " ").map(String.init) ?? []
                #expect(signatures.count == secrets.count)
                #expect(try Set(signatures) == Set(secrets.map { try signature(message, $0) }))
            }
            #expect(bench.receiver.messages.count == 3)
        }
    }

    @Test(
        "what is not taken is noted, tried again, and followed nowhere",
        arguments: [
            (500, FailureClass.server), (503, .server), (302, .client), (307, .client), (404, .client), (429, .client),
        ])
    func notTaken(code: Int, kind: FailureClass) async throws {
        try await Bench.with(.init(code: code), "no", location: "/elsewhere") { bench in
            let (webhook, _) = try await bench.create()
            let (delivery, _) = try await bench.send(to: webhook)
            for attempt in 1...2 {
                let error = try await bench.fail()
                #expect(FailureClass(error) == kind && "\(error)".contains("\(code)"))
                let now = try await bench.now(delivery)
                #expect(now.state == .pending && now.attempts == attempt && now.deliveredAt == nil)
                #expect(now.lastAttempt?.status == code && now.lastAttempt?.response == "no")
                #expect(now.lastAttempt?.error?.contains("\(code)") == true)
                #expect(bench.receiver.messages.count == attempt)
            }
            let ids = Set(bench.receiver.messages.map { $0.header("webhook-id") })
            #expect(ids == ["\(delivery.event)"], "so that a receiver knows what it has had")
            #expect(try await bench.service.webhook(bench.principal, webhook.id).disabledAt == nil)
        }
    }

    @Test("a receiver that is gone is told no more")
    func gone() async throws {
        try await Bench.with(.gone) { bench in
            let (webhook, _) = try await bench.create()
            let (delivery, _) = try await bench.send(to: webhook)
            let (next, _) = try await bench.send(to: webhook)
            try await bench.work()
            let failed = try await bench.now(delivery)
            #expect(failed.state == .failed && failed.lastAttempt?.status == 410 && failed.attempts == 1)
            let disabled = try await bench.service.webhook(bench.principal, webhook.id)
            #expect(disabled.disabledAt == bench.clock.now && disabled.disabledReason?.contains("410") == true)
            try await bench.work()
            let refused = try await bench.now(next)
            #expect(refused.state == .failed && refused.lastAttempt?.status == nil)
            #expect(refused.lastAttempt?.error?.contains("disabled") == true)
            #expect(bench.receiver.messages.count == 1)
            #expect(try await bench.database.jobs.depths().isEmpty)
        }
    }

    @Test("an inward address is refused and noted, and not connected to", arguments: ["http", "https"])
    func inward(scheme: String) async throws {
        let server = try RawServer()
        defer { server.close() }
        try await Bench.with(allowed: nil) { bench in
            let (webhook, _) = try await bench.create("\(scheme)://127.0.0.1:\(server.port)/")
            let (delivery, _) = try await bench.send(to: webhook)
            #expect(FailureClass(try await bench.fail()) == .server)
            let now = try await bench.now(delivery)
            #expect(now.state == .pending && now.attempts == 1 && now.lastAttempt?.status == nil)
            #expect(now.lastAttempt?.error?.contains("inward address") == true)
            #expect(server.requests.isEmpty)
        }
    }

    @Test("a connection that breaks is noted, and tried again")
    func broken() async throws {
        let server = try RawServer(answer: "")
        defer { server.close() }
        try await Bench.with { bench in
            let (webhook, _) = try await bench.create("http://127.0.0.1:\(server.port)/")
            let (delivery, _) = try await bench.send(to: webhook)
            #expect(FailureClass(try await bench.fail()) == .server)
            let now = try await bench.now(delivery)
            #expect(now.state == .pending && now.attempts == 1 && now.lastAttempt?.status == nil)
            #expect(now.lastAttempt?.error?.contains("broke") == true)
        }
    }

    @Test("of an answer a thousand characters are kept, and none that a database does not take")
    func longAnswer() async throws {
        let answer = "a\0b" + String(repeating: "ü€😀", count: 100_000)
        try await Bench.with(.ok, answer) { bench in
            let (webhook, _) = try await bench.create()
            let (delivery, _) = try await bench.send(to: webhook)
            try await bench.work()
            let now = try await bench.now(delivery)
            #expect(now.state == .delivered)
            let kept = try #require(now.lastAttempt?.response)
            #expect(kept.unicodeScalars.count == 1000 && kept.hasPrefix("abü€😀ü€😀"))
            #expect(!kept.unicodeScalars.contains("\u{FFFD}"))
        }
    }

    @Test("what is given up is a dead letter, until somebody replays it")
    func givenUp() async throws {
        try await Bench.with { bench in
            let (webhook, _) = try await bench.create()
            let (delivery, _) = try await bench.send(to: webhook, attempts: 1)
            let lost = try await bench.claim()
            try await bench.handler.giveUp(lost, reason: "No attempt is left.")
            try await bench.database.jobs.fail(lost, error: "No attempt is left.", delay: .zero)
            #expect(try await bench.now(delivery).state == .failed)
            let replayed = try await bench.service.replay(bench.principal, of: webhook.id, delivery.id, requester: .server)
            #expect(replayed.state == .pending)
            try await bench.work()
            #expect(try await bench.now(delivery).state == .delivered)
            #expect(bench.receiver.messages.map { $0.header("webhook-id") } == ["\(delivery.event)"])
        }
    }

    @Test("a job of a delivery that has ended, or whose webhook is gone, ends without a message")
    func ended() async throws {
        try await Bench.with { bench in
            let (webhook, _) = try await bench.create()
            let (delivery, _) = try await bench.send(to: webhook)
            let lease = try await bench.claim()
            try await bench.database.webhooks.fail(tenant: bench.principal.tenant, delivery.id, error: "given up")
            for isDeleted in [false, true] {
                if isDeleted { try await bench.service.delete(bench.principal, webhook.id, requester: .server) }
                let outcome = try await bench.handler.handle(JobContext(lease: lease, remainingLease: { .seconds(60) }))
                guard case .completed = outcome else {
                    Issue.record("the job is not left to the worker")
                    continue
                }
            }
            #expect(bench.receiver.messages.isEmpty)
        }
    }
}

@Suite("WebhookSecret")
struct WebhookSecretTests {
    @Test("signs as the Standard Webhooks specification's example does")
    func vector() {
        let secret = WebhookSecret(text: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        let signature = secret.signature(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body: Array(#"{"test": 2432232314}"#.utf8))
        #expect(signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test("a new one is random, and of 256 bits")
    func make() {
        let secrets = (0..<10).map { _ in WebhookSecret.make() }
        #expect(Set(secrets).count == 10)
        for secret in secrets {
            #expect(secret.text.hasPrefix("whsec_"))
            #expect(Data(base64Encoded: String(secret.text.dropFirst(6)))?.count == 32)
        }
    }
}
