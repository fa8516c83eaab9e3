import ArgumentParser
import AsyncHTTPClient
import CMalloc
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

            With DATABASE_URL and DATABASE_SYSTEM_URL it stores in PostgreSQL, once 'sba migrate' has made the tables. Any \
            number of processes may then share it: all alike, or some with --no-worker and some with --only-worker.

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

    @Flag(help: "Serve only: other processes work on the jobs (SBA_WORKER=off).")
    var noWorker = false

    @Flag(help: "Work on jobs only, and serve nothing but metrics and health on the second port (SBA_WORKER=only).")
    var onlyWorker = false

    @Option(help: "Queues to work on, separated by commas: run, index_document (SBA_QUEUES).")
    var queues: String?

    func validate() throws {
        if noWorker, onlyWorker { throw ValidationError("--no-worker and --only-worker exclude each other.") }
    }

    func run() async throws {
        var flags: [String: String] = [:]
        if noWorker { flags[Setting.worker.name] = WorkerMode.off.rawValue }
        if onlyWorker { flags[Setting.worker.name] = WorkerMode.only.rawValue }
        flags[Setting.queues.name] = queues
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

    /// Freed memory up to this stays with the process: giving it back and asking again at every commit costs more than
    /// the commit.
    private static let keptFreeBytes: CInt = 8 << 20

    private static func serve(_ configuration: ServerConfiguration, _ registry: MetricsRegistry) async throws {
        mallopt(M_TRIM_THRESHOLD, keptFreeBytes)
        mallopt(M_TOP_PAD, keptFreeBytes / 8)
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
        let database = try await Database(configuration, logger: logger)
        let platform = try await Platform(
            configuration: configuration, database: database, registry: registry, http: http, logger: logger)
        let result = await Result {
            let first = FirstStart(platform: platform)
            let made = configuration.worker == .only ? nil : try await first.run()
            // Said at once: nothing that fails from here on may lose the password.
            if let made { Self.introduce(made) }
            let documents = if let made { try await first.addSample(for: made.tenant) } else { 0 }
            try await platform.run { port in
                logger.notice("Serving.", metadata: ["host": "\(configuration.host)", "port": "\(port)"])
                Self.greet(port: port, configuration, made, documents: documents)
            }
        }
        await platform.close()
        // The embedded database's folder is locked until here, and the log says that everything was closed.
        logger.notice("Stopped.", metadata: ["database": "\(database.place)"])
        try result.get()
    }

    private static func introduce(_ made: FirstStart.Made) {
        var lines = ["First account: \(made.email)"]
        if let password = made.generatedPassword { lines.append("Its password, shown this once: \(password)") }
        Terminal.announce(lines.joined(separator: "\n") + "\n")
    }

    /// Tells whoever started it what to try next.
    private static func greet(
        port: Int, _ configuration: ServerConfiguration, _ made: FirstStart.Made?, documents: Int
    ) {
        guard configuration.worker != .only else {
            let queues = configuration.queues?.sorted().joined(separator: ", ") ?? "all queues"
            Terminal.announce(
                "sba \(Version.text) works on \(queues); metrics on http://\(configuration.metrics.host):\(port)/metrics")
            return
        }
        let host = configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host
        let url = "\(configuration.speaksTLS ? "https" : "http")://\(host):\(port)"
        var lines = ["sba \(Version.text) serves on \(url) (model: \(configuration.defaultModel))"]
        if let made {
            if documents > 0 { lines.append("Sample knowledge base: \(documents) documents are being indexed.") }
            lines.append("")
            lines.append("Try, in another terminal:")
            lines.append("  export SBA_URL=\(url) SBA_EMAIL=\(made.email) SBA_PASSWORD=…")
            lines.append("  \(CommandLine.arguments[0]) chat \"How does a run survive a crash?\"")
        }
        Terminal.announce(lines.joined(separator: "\n"))
    }
}
