import Storage
import Synchronization

/// Notes what an engine is asked for.
public final class CountingEngine: SQLEngine {
    /// One batch, which is one round trip to PostgreSQL.
    public struct Asked: Sendable {
        public let operation: String
        public let statements: Int
    }

    private let engine: any SQLEngine
    private let state = Mutex<[Asked]>([])

    public init(_ engine: any SQLEngine) { self.engine = engine }

    /// In the order of asking.
    public var asked: [Asked] { state.withLock { $0 } }
    public var dialect: any SQLDialect { engine.dialect }
    public var commitCount: Int { engine.commitCount }

    public func read(_ batch: Batch) async throws -> [ResultSet] {
        note(batch)
        return try await engine.read(batch)
    }

    public func write(_ batch: Batch) async throws -> [ResultSet] {
        note(batch)
        return try await engine.write(batch)
    }

    private func note(_ batch: Batch) {
        let asked = Asked(operation: batch.operation, statements: batch.statements.count)
        state.withLock { $0.append(asked) }
    }

    public func scrub() async throws { try await engine.scrub() }

    public func close() async { await engine.close() }
}
