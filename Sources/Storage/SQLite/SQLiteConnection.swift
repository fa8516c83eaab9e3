import Domain
import Foundation
import GRDB

/// One SQLite connection, used by one thread at a time.
final class SQLiteConnection: Sendable {
    private let queue: DatabaseQueue

    /// - Parameters:
    ///   - path: a file, or `nil` for a database in memory that ends with the connection.
    ///   - now: what `current_micros()` answers.
    init(path: String?, isReader: Bool, now: @escaping @Sendable () -> Timestamp) throws {
        var configuration = Configuration()
        configuration.readonly = isReader
        configuration.busyMode = .timeout(5)
        configuration.foreignKeysEnabled = true
        let clock = DatabaseFunction("current_micros", argumentCount: 0) { _ in now().microseconds }
        configuration.prepareDatabase { db in
            db.add(function: clock)
            if !isReader {
                if path != nil { try db.execute(sql: "PRAGMA journal_mode = WAL") }
                try db.execute(sql: "PRAGMA synchronous = FULL")
                // 32 MiB of log between two checkpoints: pages that change often are written back once, not each time.
                try db.execute(sql: "PRAGMA wal_autocheckpoint = 8192")
            }
            // What undoes a savepoint stays in memory: a file of its own for each would cost more than the commit.
            try db.execute(sql: "PRAGMA temp_store = MEMORY")
            // Enough for the pages of a busy index, small enough for a small machine.
            try db.execute(sql: "PRAGMA cache_size = -4096")
        }
        queue =
            try path.map { try DatabaseQueue(path: $0, configuration: configuration) }
            ?? DatabaseQueue(configuration: configuration)
    }

    /// Runs the statements in one read transaction.
    func read(_ batch: Batch) throws -> [ResultSet] {
        try translatingErrors {
            try queue.inDatabase { db in
                guard batch.statements.count > 1 else { return try batch.statements.map { try Self.run($0, db) } }
                return try Self.transaction("DEFERRED", db) { try batch.statements.map { try Self.run($0, db) } }
            }
        }
    }

    /// Runs the batches in one transaction; a batch that fails is undone alone. Answers whether anything was changed.
    func write(_ batches: [Batch]) throws -> (results: [Result<[ResultSet], any Error>], didChange: Bool) {
        try translatingErrors {
            try queue.writeWithoutTransaction { db in
                let before = db.totalChangesCount
                let results = try Self.transaction("IMMEDIATE", db) {
                    try batches.map { batch -> Result<[ResultSet], any Error> in
                        // One batch alone needs no savepoint: undoing it is undoing the transaction.
                        guard batches.count > 1 else { return .success(try batch.statements.map { try Self.run($0, db) }) }
                        return try Self.savepoint(batch, db)
                    }
                }
                return (results, db.totalChangesCount != before)
            }
        }
    }

    /// Runs one batch of several so that it can be undone alone.
    private static func savepoint(_ batch: Batch, _ db: Database) throws -> Result<[ResultSet], any Error> {
        try execute("SAVEPOINT batch", db)
        do {
            let answers = try batch.statements.map { try run($0, db) }
            try execute("RELEASE batch", db)
            return .success(answers)
        } catch {
            // A full disk ends the whole transaction: then nothing of the others is stored either.
            guard db.isInsideTransaction else { throw error }
            try execute("ROLLBACK TO batch", db)
            try execute("RELEASE batch", db)
            return .failure(translated(error))
        }
    }

    func script(_ sql: String, then statement: SQLStatement) throws {
        try translatingErrors {
            try queue.writeWithoutTransaction { db in
                try Self.transaction("IMMEDIATE", db) {
                    try db.execute(sql: sql)
                    _ = try Self.run(statement, db)
                }
            }
        }
    }

    /// Tries of a checkpoint that a reader holds up, for as long as the busy mode says each.
    private static let maximumCheckpoints = 3

    /// Rewrites the database without what deleted rows have left in it, and empties the log.
    func scrub() throws {
        try translatingErrors {
            try queue.writeWithoutTransaction { db in
                // Words of deleted chunks stay in the index until it is merged.
                try db.execute(sql: "INSERT INTO chunks_fts (chunks_fts) VALUES ('optimize')")
                // The copy may be large: in a file, not in memory.
                try db.execute(sql: "PRAGMA temp_store = FILE")
                defer { try? db.execute(sql: "PRAGMA temp_store = MEMORY") }
                try db.execute(sql: "VACUUM")
                for _ in 0..<Self.maximumCheckpoints {
                    let row = try Row.fetchOne(db, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
                    if row?[0] as Int? != 1 { return }
                }
                throw StorageError.unavailable("readers hold up the log: erase again")
            }
        }
    }

    func close() throws { try queue.close() }

    private static func transaction<Value>(_ kind: String, _ db: Database, _ work: () throws -> Value) throws -> Value {
        try execute("BEGIN \(kind)", db)
        do {
            let value = try work()
            try execute("COMMIT", db)
            return value
        } catch {
            if db.isInsideTransaction { try execute("ROLLBACK", db) }
            throw error
        }
    }

    private static func execute(_ sql: String, _ db: Database) throws {
        try db.cachedStatement(sql: sql).execute()
    }

    private static func run(_ statement: SQLStatement, _ db: Database) throws -> ResultSet {
        let prepared = try db.cachedStatement(sql: statement.sql)
        prepared.setUncheckedArguments(StatementArguments(statement.arguments.map(databaseValue)))
        var rows: [SQLRow] = []
        if prepared.columnCount > 0 {
            let cursor = try Row.fetchCursor(prepared)
            while let row = try cursor.next() { rows.append(SQLRow(cells: row.databaseValues.map(cell))) }
        } else {
            try prepared.execute()
        }
        let changes = prepared.isReadonly ? 0 : db.changesCount
        if case .rows(let count, let error) = statement.expectation {
            guard (prepared.columnCount > 0 ? rows.count : changes) == count else { throw error }
        }
        return ResultSet(rows: rows, changes: changes)
    }

    private static func databaseValue(_ value: SQLValue) -> DatabaseValue {
        switch value {
        case .uuid(let id): id?.databaseValue ?? .null
        case .int(let number): number?.databaseValue ?? .null
        case .text(let text), .json(let text): text?.databaseValue ?? .null
        case .bool(let flag): flag.map { ($0 ? 1 : 0).databaseValue } ?? .null
        case .bytes(let bytes): bytes.map { Data($0).databaseValue } ?? .null
        }
    }

    private static func cell(_ value: DatabaseValue) -> SQLCell {
        switch value.storage {
        case .null: .null
        case .int64(let number): .int(number)
        case .double(let number): .double(number)
        case .string(let text): .text(text)
        case .blob(let data): .bytes(Array(data))
        }
    }

    // MARK: Errors

    private func translatingErrors<Value>(_ work: () throws -> Value) throws -> Value {
        do { return try work() } catch { throw Self.translated(error) }
    }

    private static func translated(_ error: any Error) -> any Error {
        guard let error = error as? DatabaseError else { return error }
        switch error.extendedResultCode {
        case .SQLITE_CONSTRAINT_UNIQUE, .SQLITE_CONSTRAINT_PRIMARYKEY:
            // "UNIQUE constraint failed: table.column, …"
            return StorageError.uniqueViolation(error.message.flatMap { $0.split(separator: ": ").last }.map(String.init) ?? "")
        case .SQLITE_CONSTRAINT_FOREIGNKEY: return StorageError.foreignKeyViolation
        default: return StorageError.unavailable(error.message ?? "\(error.resultCode)")
        }
    }
}

extension Row {
    fileprivate var databaseValues: [DatabaseValue] { (0..<count).map { self[$0] as DatabaseValue } }
}
