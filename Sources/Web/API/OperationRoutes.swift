import Domain
import HTTPTypes
import Hummingbird

/// What load balancers, Prometheus and people ask about the server itself.
struct OperationRoutes {
    let version: String
    let health: @Sendable () async -> HealthReport
    let metrics: @Sendable () async -> String

    var routes: [APIRoute] {
        [
            APIRoute(.get, "/api/health", .open) { _, _ in
                let report = await health()
                return .json(report.json(version: version), status: report.isReady ? .ok : .serviceUnavailable)
            },
            APIRoute(.get, "/api/health/live", .open) { _, _ in .json(["status": "ok"]) },
            APIRoute(.get, "/api/health/ready", .open) { _, _ in
                let report = await health()
                return .json(
                    ["status": report.isReady ? "ok" : "unavailable"],
                    status: report.isReady ? .ok : .serviceUnavailable)
            },
            APIRoute(.get, "/api/metrics/prometheus", .open) { _, _ in
                Response(
                    status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                    body: ResponseBody(byteBuffer: ByteBuffer(string: await metrics())))
            },
        ]
    }
}

/// Whether the server can do its work, part by part.
public struct HealthReport: Sendable {
    public struct Check: Sendable {
        public let name: String
        public let isHealthy: Bool
        /// What is wrong, for whoever runs the server.
        public let detail: String?

        public init(name: String, isHealthy: Bool, detail: String? = nil) {
            self.name = name
            self.isHealthy = isHealthy
            self.detail = detail
        }
    }

    public let checks: [Check]

    public init(checks: [Check]) { self.checks = checks }

    public var isReady: Bool { checks.allSatisfy(\.isHealthy) }

    func json(version: String) -> JSONValue {
        [
            "status": isReady ? "ok" : "unavailable", "version": .string(version),
            "checks": .array(
                checks.map { check in
                    [
                        "name": .string(check.name), "status": check.isHealthy ? "ok" : "unavailable",
                        "detail": JSONValue(check.detail),
                    ]
                }),
        ]
    }
}
