import Domain

/// What went wrong with one batch on one connection.
enum PostgresError: Error {
    /// No connection could be made, or it was gone before everything was sent: nothing took effect.
    case notConnected(String)
    /// The connection was lost after everything was sent: the batch took effect or did not.
    case lost(String)
    /// The server refused a statement; nothing took effect.
    case server(ServerError)

    struct ServerError {
        /// Five characters, as in appendix A of PostgreSQL's manual.
        let sqlState: String
        let message: String
        let constraint: String?
        /// The statement's place in the batch; `nil` when it was one of the engine's own.
        let statement: Int?
    }
}

extension PostgresError.ServerError {
    /// Raised by `expect_rows`.
    static let unmetExpectation = "SBA01"

    /// Another transaction was in the way: the same batch may succeed when repeated.
    var isConflict: Bool { sqlState == "40001" || sqlState == "40P01" }

    /// The server is going down, coming up, or full: later it may do.
    var isOutage: Bool {
        sqlState.hasPrefix("57P") || sqlState == "53300"
    }

    var isCancelled: Bool { sqlState == "57014" }

    var storageError: StorageError {
        switch sqlState {
        case "23505": .uniqueViolation(constraint ?? message)
        case "23503": .foreignKeyViolation
        default: isPassing ? .unavailable("\(sqlState) \(message)") : .refused("\(sqlState) \(message)")
        }
    }

    /// For want of something that may be there later: resources, a lock, an operator, the system, another transaction.
    private var isPassing: Bool {
        ["53", "55P03", "57", "58"].contains { sqlState.hasPrefix($0) } || isConflict
    }

    /// The connection is of no use any more, though it stands: the server has forgotten what was prepared, knows it under
    /// another form, or has become one that only reads. Nothing took effect.
    var isStale: Bool { ["26000", "42P05", "0A000", "25006"].contains(sqlState) }
}
