import Domain
import Logging
import Metrics
import Synchronization

/// Measures what an engine does: how long each repository method's batches take, and which are slow.
public final class ObservedEngine: SQLEngine {
    private let engine: any SQLEngine
    private let slow: Duration
    private let logger: Logger
    /// By the addresses of a batch's file and function, which are there as long as the program.
    private let recorders = Mutex<[Place: Recorder]>([:])

    private struct Place: Hashable {
        let file: UInt
        let function: UInt

        init(_ batch: Batch) {
            file = UInt(bitPattern: batch.file.utf8Start)
            function = UInt(bitPattern: batch.function.utf8Start)
        }
    }

    /// - Parameter slow: a batch that takes longer is logged, without its values.
    public init(_ engine: any SQLEngine, slow: Duration, logger: Logger) {
        self.engine = engine
        self.slow = slow
        self.logger = logger
    }

    public var dialect: any SQLDialect { engine.dialect }
    public var commitCount: Int { engine.commitCount }

    public func read(_ batch: Batch) async throws -> [ResultSet] {
        try await observing(batch) { try await engine.read(batch) }
    }

    public func write(_ batch: Batch) async throws -> [ResultSet] {
        try await observing(batch) { try await engine.write(batch) }
    }

    public func scrub() async throws { try await engine.scrub() }

    public func close() async { await engine.close() }

    /// Waiting for a connection and for the disk counts, for it is what the caller waits for.
    private func observing(_ batch: Batch, _ work: () async throws -> [ResultSet]) async throws -> [ResultSet] {
        let start = ContinuousClock.now
        defer { note(batch, .now - start) }
        return try await work()
    }

    private func note(_ batch: Batch, _ duration: Duration) {
        let recorder = recorders.withLock { recorders in
            let place = Place(batch)
            if let known = recorders[place] { return known }
            let new = Recorder(label: "sba_storage_duration_ms", dimensions: [("operation", batch.operation)])
            recorders[place] = new
            return new
        }
        recorder.record(duration.milliseconds)
        guard duration > slow else { return }
        logger.warning(
            "The database was slow.",
            metadata: [
                "operation": "\(batch.operation)", "duration_ms": "\(Int(duration.milliseconds))",
                "sql": "\(Self.text(of: batch))",
            ])
    }

    private static let maximumLoggedCharacters = 2000

    /// Each statement once: a batch may repeat one thousands of times.
    private static func text(of batch: Batch) -> String {
        var seen: Set<String> = []
        let distinct = batch.statements.map(\.sql).filter { seen.insert($0).inserted }
        return "\(batch.statements.count) statements: \(distinct.joined(separator: "; "))".prefix(maximumLoggedCharacters)
            .description
    }
}
