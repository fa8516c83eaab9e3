import Foundation

/// Whether a process works on jobs, serves requests, or both.
enum WorkerMode: String, CaseIterable, Sendable {
    case on
    case off
    case only
}

/// The second port, for whoever watches the process.
struct MetricsChoice: Sendable {
    static let minimumTokenCharacters = 16

    let host: String
    let port: Int
    let token: String?
    /// Nobody asked for this very port: when it is taken, the process goes on without.
    let isDefault: Bool

    /// Faults go to the reader.
    init(_ settings: inout SettingsReader) {
        host = settings.text(.metricsHost)
        port = settings.int(.metricsPort, in: 0...65535)
        isDefault = settings.find(.metricsPort)?.source == "default"
        token = settings.string(.metricsToken)
        if let token, token.count < Self.minimumTokenCharacters {
            settings.fault(.metricsToken, "must have at least \(Self.minimumTokenCharacters) characters.")
        }
        let loopback: Set<String> = ["127.0.0.1", "::1", "localhost"]
        if !loopback.contains(host), token == nil {
            settings.fault(.metricsToken, "must be set when SBA_METRICS_HOST is not loopback.")
        }
    }
}
