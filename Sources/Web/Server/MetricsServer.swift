import Domain
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

/// The second port, for whoever watches this process: metrics and health, and nothing of tenants.
public struct MetricsServer: Sendable {
    private let token: String?
    private let metrics: @Sendable () async -> String
    private let workers: @Sendable () async -> String
    private let health: @Sendable () async -> HealthReport

    /// - Parameters:
    ///   - token: what whoever asks has to send, when others than this machine can.
    ///   - metrics: all, as Prometheus' text.
    ///   - workers: those of the queues.
    public init(
        token: String?, metrics: @escaping @Sendable () async -> String, workers: @escaping @Sendable () async -> String,
        health: @escaping @Sendable () async -> HealthReport
    ) {
        self.token = token
        self.metrics = metrics
        self.workers = workers
        self.health = health
    }

    public func router() -> Router<BasicRequestContext> {
        let router = Router(options: .autoGenerateHeadEndpoints)
        router.get("/metrics") { request, _ in await text(request, metrics) }
        router.get("/metrics/workers") { request, _ in await text(request, workers) }
        router.get("/health/live") { _, _ in Response.json(["status": "ok"]) }
        router.get("/health/ready") { _, _ in
            let isReady = await health().isReady
            return Response.json(
                ["status": isReady ? "ok" : "unavailable"], status: isReady ? .ok : .serviceUnavailable)
        }
        return router
    }

    private func text(_ request: Request, _ make: @Sendable () async -> String) async -> Response {
        if let token, !Self.isEqual(request.headers[.authorization] ?? "", "Bearer \(token)") {
            return Response(
                status: .unauthorized, headers: [.wwwAuthenticate: "Bearer", .contentType: "text/plain; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: "Send SBA_METRICS_TOKEN as Authorization: Bearer ….\n")))
        }
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: await make())))
    }

    /// In a time that tells nothing of where they differ.
    private static func isEqual(_ one: String, _ other: String) -> Bool {
        guard one.utf8.count == other.utf8.count else { return false }
        return zip(one.utf8, other.utf8).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    /// - Parameter onRunning: told the port once connections are taken.
    public func application(
        host: String, port: Int, logger: Logger, onRunning: @escaping @Sendable (Int) async -> Void
    ) -> some ApplicationProtocol {
        Application(
            router: router(), configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? port) }, logger: logger)
    }
}
