import Domain
import Foundation
import Synchronization

/// SQLite in this process: one writer that commits for everyone who is waiting, and a few readers beside it (WAL).
public final class SQLiteEngine: SQLEngine, SchemaTarget {
    /// How many rows one commit may gather, so that nobody waits long for a neighbour.
    private static let maximumGroupStatements = 500
    /// Batches that may wait; beyond, writing is refused rather than memory used up.
    private static let maximumWaiting = 10_000
    private static let readers = 2

    public let dialect: any SQLDialect = SQLiteDialect()

    private struct Pending: Sendable {
        let batch: Batch
        let continuation: CheckedContinuation<[ResultSet], any Error>
    }

    private let pending = Mutex<[Pending]>([])
    private let commits = Mutex(0)
    private let writer: ThreadPool<SQLiteConnection>
    /// The writer, for a database in memory: only its one connection sees it.
    private let reader: ThreadPool<SQLiteConnection>

    /// Opens or makes the database.
    ///
    /// - Parameters:
    ///   - path: a file, or `nil` for a database in memory.
    ///   - ambient: whose time is the database's.
    /// - Throws: `StorageError.unavailable`.
    public init(path: String?, ambient: Ambient = .system) throws {
        do {
            try SQLiteConnection(path: path, isReader: false, now: ambient.now).close()
        } catch {
            throw StorageError.unavailable("\(path ?? "memory"): \(error)")
        }
        // Writes are bounded where they gather, in `pending`; what waits here are only wake-ups.
        writer = ThreadPool(name: "sqlite-writer", threads: 1, maximumWaiting: .max) {
            try SQLiteConnection(path: path, isReader: false, now: ambient.now)
        }
        reader =
            path == nil
            ? writer
            : ThreadPool(name: "sqlite-reader", threads: Self.readers, maximumWaiting: Self.maximumWaiting) {
                try SQLiteConnection(path: path, isReader: true, now: ambient.now)
            }
    }

    public var commitCount: Int { commits.withLock { $0 } }

    public func read(_ batch: Batch) async throws -> [ResultSet] {
        try await Self.unavailableWhenFull { try await self.reader.run { try $0.read(batch) } }
    }

    public func write(_ batch: Batch) async throws -> [ResultSet] {
        try await withCheckedThrowingContinuation { continuation in
            let entry = Pending(batch: batch, continuation: continuation)
            let isRefused = pending.withLock { pending in
                guard pending.count < Self.maximumWaiting else { return true }
                pending.append(entry)
                return false
            }
            if isRefused { return continuation.resume(throwing: StorageError.overloaded) }
            // Whoever comes to the thread first commits for all who wait; the others find nothing left to do.
            writer.submit { [self] connection in commitPending(connection) }
        }
    }

    private func commitPending(_ connection: Result<SQLiteConnection, any Error>) {
        let group = takeGroup()
        guard !group.isEmpty else { return }
        do {
            let (results, didChange) = try Self.open(connection).write(group.map(\.batch))
            if didChange { commits.withLock { $0 += 1 } }
            for (entry, result) in zip(group, results) { entry.continuation.resume(with: result) }
        } catch {
            for entry in group { entry.continuation.resume(throwing: error) }
        }
    }

    private static func open(_ connection: Result<SQLiteConnection, any Error>) throws -> SQLiteConnection {
        do {
            return try connection.get()
        } catch let error as StorageError {
            throw error
        } catch {
            throw StorageError.unavailable("the database is closed or cannot be opened: \(error)")
        }
    }

    private func takeGroup() -> [Pending] {
        pending.withLock { pending in
            var statements = 0
            let end = pending.firstIndex { entry in
                statements += entry.batch.statements.count
                return statements > Self.maximumGroupStatements
            }
            let count = max(end ?? pending.count, min(1, pending.count))
            defer { pending.removeFirst(count) }
            return Array(pending.prefix(count))
        }
    }

    private static func unavailableWhenFull<Value>(_ work: () async throws -> Value) async throws -> Value {
        do {
            return try await work()
        } catch is ThreadPool<SQLiteConnection>.Full {
            throw StorageError.overloaded
        } catch is ThreadPool<SQLiteConnection>.Closed {
            throw StorageError.unavailable("the database is closed")
        }
    }

    // MARK: Migrations

    public var migrations: [Migration] {
        [
            Migration(
                number: 1, name: "initial",
                sql: String(decoding: PackageResources._001_initial_sqlite_sql, as: UTF8.self)),
            Migration(
                number: 2, name: "accounts",
                sql: String(decoding: PackageResources._002_accounts_sqlite_sql, as: UTF8.self)),
            Migration(
                number: 3, name: "queues",
                sql: String(decoding: PackageResources._003_queues_sqlite_sql, as: UTF8.self)),
            Migration(
                number: 4, name: "retention",
                sql: String(decoding: PackageResources._004_retention_sqlite_sql, as: UTF8.self)),
            Migration(
                number: 5, name: "automation",
                sql: String(decoding: PackageResources._005_automation_sqlite_sql, as: UTF8.self)),
        ]
    }

    public func appliedMigrations() async throws -> [Int] {
        let table = try await read(
            Batch(.system, [SQLStatement("SELECT 1 FROM sqlite_schema WHERE name = 'schema_migrations'")]))
        guard !table[0].rows.isEmpty else { return [] }
        let rows = try await read(Batch(.system, [SQLStatement("SELECT number FROM schema_migrations ORDER BY number")]))
        return rows[0].rows.map { Int($0.int(0)) }
    }

    public func apply(_ migration: Migration) async throws {
        let note = SQLStatement(
            "INSERT INTO schema_migrations (number, name) VALUES (?1, ?2)",
            [.int(migration.number), .text(migration.name)])
        try await Self.unavailableWhenFull {
            try await self.writer.run { connection in
                try connection.script(
                    """
                    CREATE TABLE IF NOT EXISTS schema_migrations (
                        number INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL
                    ) STRICT;
                    """ + migration.sql, then: note)
            }
        }
    }

    public func scrub() async throws {
        try await Self.unavailableWhenFull { try await self.writer.run { try $0.scrub() } }
    }

    public func close() async {
        // Closing waits for threads: not on the cooperative pool.
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            Thread.detachNewThread { [self] in
                if reader !== writer { reader.close() }
                writer.close()
                continuation.resume()
            }
        }
    }
}
