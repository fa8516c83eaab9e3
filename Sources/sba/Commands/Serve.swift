import ArgumentParser
import AsyncHTTPClient
import CoreMetrics
import Domain
import Foundation
import Logging
import Models
import Telemetry

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serves the API, the live streams and the workers, in one process.",
        discussion: """
            With nothing configured it listens on 127.0.0.1:8080, keeps an embedded database in ./data, answers by \
            local/extractive (which quotes your documents and is no language model), and makes a first account whose \
            password it prints once.

            SIGTERM or Ctrl-C: running work is given SBA_DRAIN_SECONDS to finish; what does not, goes on at the next start.

            Example, with a real model:
              OPENAI_BASE_URL=http://127.0.0.1:8081/v1 SBA_MODEL=openai/any sba serve
            """)

    @Option(help: "Address to listen on (SBA_HTTP_HOST).")
    var host: String?

    @Option(help: "Port to listen on, 0 for any free one (SBA_HTTP_PORT).")
    var port: Int?

    @Option(help: "Folder of the embedded database (SBA_DATA_DIR).")
    var dataDir: String?

    func run() async throws {
        var flags: [String: String] = [:]
        flags[Setting.httpHost.name] = host
        flags[Setting.httpPort.name] = port.map(String.init)
        flags[Setting.dataDirectory.name] = dataDir
        try await reportingErrors {
            var settings = await SettingsReader(flags: flags)
            let configuration = try ServerConfiguration(&settings)
            let registry = MetricsRegistry(help: MetricHelp.texts)
            Self.bootstrap(configuration, registry)
            try await Self.serve(configuration, registry)
        }
    }

    private static func bootstrap(_ configuration: ServerConfiguration, _ registry: MetricsRegistry) {
        let isTerminal = Terminal.isTerminal(STDERR_FILENO)
        let format = configuration.logFormat ?? (isTerminal ? .text : .json)
        LoggingSystem.bootstrap { label in
            StructuredLogHandler(
                label: label, level: configuration.logLevel, format: format,
                usesColor: format == .text && Terminal.usesColor(STDERR_FILENO))
        }
        MetricsSystem.bootstrap(RegistryMetricsFactory(registry: registry))
    }

    private static func serve(_ configuration: ServerConfiguration, _ registry: MetricsRegistry) async throws {
        let timeouts = configuration.openAI?.timeouts ?? HTTPTimeouts()
        // Every job at work may talk to the same model server.
        let client = HTTPClientTransport.makeClient(
            connect: timeouts.connect, connections: configuration.workerSlots)
        let result = await Result {
            try await serve(configuration, registry, HTTPClientTransport(client: client))
        }
        try await client.shutdown()
        try result.get()
    }

    private static func serve(
        _ configuration: ServerConfiguration, _ registry: MetricsRegistry, _ http: HTTPClientTransport
    ) async throws {
        let logger = Logger(label: "sba")
        let directory = try DataDirectory(configuration.dataDirectory)
        let platform = try await Platform(
            configuration: configuration, directory: directory, registry: registry, http: http, logger: logger)
        let result = await Result {
            let made = try await FirstStart(platform: platform).run()
            try await platform.run { port in
                logger.notice("Serving.", metadata: ["host": "\(configuration.host)", "port": "\(port)"])
                Self.greet(url: "http://\(configuration.host):\(port)", model: configuration.defaultModel, made)
            }
        }
        await platform.close()
        // The lock on the folder is held until here, and the log says that everything was closed.
        logger.notice("Stopped.", metadata: ["data": "\(directory.path)"])
        try result.get()
    }

    /// Tells whoever started it what to try next.
    private static func greet(url: String, model: String, _ made: FirstStart.Made?) {
        var lines = ["sba \(Version.text) serves on \(url) (model: \(model))"]
        if let made {
            lines.append("")
            lines.append("First account: \(made.email)")
            if let password = made.generatedPassword {
                lines.append("Its password, shown this once: \(password)")
            }
            if made.documents > 0 { lines.append("Sample knowledge base: \(made.documents) documents are being indexed.") }
            lines.append("")
            lines.append("Try, in another terminal:")
            lines.append("  export SBA_URL=\(url) SBA_EMAIL=\(made.email) SBA_PASSWORD=\(made.generatedPassword ?? "…")")
            lines.append("  sba chat \"How does a run survive a crash?\"")
        }
        Terminal.print(lines.joined(separator: "\n"))
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ work: () async throws -> Success) async {
        do { self = .success(try await work()) } catch { self = .failure(error) }
    }
}
