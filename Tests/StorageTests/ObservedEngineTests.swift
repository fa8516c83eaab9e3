import Domain
import Logging
import Storage
import Synchronization
import TestSupport
import Testing

/// Keeps what is logged.
private struct KeepingLogHandler: LogHandler {
    final class Lines: Sendable {
        private let lines = Mutex<[String]>([])
        var all: [String] { lines.withLock { $0 } }
        func add(_ line: String) { lines.withLock { $0.append(line) } }
    }

    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { lines.add("\(event.message) \(event.metadata ?? [:])") }
}

@Suite("ObservedEngine")
struct ObservedEngineTests {
    @Test("what is slow is logged with its method and its statements, each once, and without its values")
    func slow() async throws {
        try await TestDatabase.with { database in
            let lines = KeepingLogHandler.Lines()
            let logger = Logger(label: "test") { _ in KeepingLogHandler(lines: lines) }
            let insert = SQLStatement(
                "INSERT INTO signing_keys (id, sealed, created_at) VALUES (?1, ?2, 1) ON CONFLICT (id) DO NOTHING",
                [.text("key"), .text("a value")])
            let batch = Batch(.system, Array(repeating: insert, count: 50))
            _ = try await ObservedEngine(database.engine, slow: .seconds(60), logger: logger).write(batch)
            #expect(lines.all.isEmpty)
            _ = try await ObservedEngine(database.engine, slow: .zero, logger: logger).write(batch)
            let line = try #require(lines.all.first)
            #expect(line.contains("ObservedEngineTests.slow") && line.contains("50 statements"))
            #expect(line.split(separator: "INSERT INTO").count == 2)
            #expect(!line.contains("a value"))
        }
    }
}
