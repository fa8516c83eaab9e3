import CLibPQ
import Domain

/// One round trip in pipeline mode: the commands of one transaction after another, a Sync behind each, and all their
/// answers. It never blocks: it goes on whenever the server has said something, or takes more.
struct PostgresExchange {
    private enum Step {
        case prepare(PostgresStatement, name: String)
        case command(place: Int?)
        case sync
    }

    private let handle: PostgresHandle
    private var steps: [Step] = []
    /// The step whose answer comes next.
    private var step = 0
    /// The Sync that comes next was answered with an error, which libpq ends as if it were a command's; the Sync's own answer
    /// comes behind it.
    private var isSyncRefused = false
    /// What the transaction under way has answered.
    private var answers: [PostgresAnswer] = []
    private var failure: PostgresError.ServerError?
    /// Transactions that are sent.
    private var syncs = 0
    /// The names of what is being prepared.
    private(set) var names: [PostgresStatement: String] = [:]
    /// Those that the server has prepared; they stay so whatever comes of the batch.
    private(set) var prepared: [PostgresStatement: String] = [:]
    /// What each transaction came to, in order: what its commands answered; `server`; or `lost`, from the first on whose
    /// Sync was not answered.
    private(set) var results: [Result<[PostgresAnswer], PostgresError>] = []
    /// Whether the server has not yet taken all that is to be sent.
    private(set) var isUnsent = false

    init(_ handle: PostgresHandle) {
        self.handle = handle
        steps.reserveCapacity(8)
    }

    /// Whether every transaction has ended.
    var isOver: Bool { results.count == syncs }

    // MARK: Sending

    mutating func prepare(_ statement: PostgresStatement, name: String) throws(PostgresError) {
        let types = statement.types.map(\.rawValue)
        guard PQsendPrepare(handle.pointer, name, statement.sql, Int32(types.count), types) == 1 else { throw unsent() }
        names[statement] = name
        steps.append(.prepare(statement, name: name))
    }

    /// - Parameter name: what it was prepared as; `nil` sends its text along.
    mutating func send(_ command: PostgresCommand, name: String?) throws(PostgresError) {
        let isSent = command.parameters.withPointers { count, values, lengths, formats in
            if let name { return PQsendQueryPrepared(handle.pointer, name, count, values, lengths, formats, 1) }
            let types = command.statement.types.map(\.rawValue)
            return PQsendQueryParams(handle.pointer, command.statement.sql, count, types, values, lengths, formats, 1)
        }
        guard isSent == 1 else { throw unsent() }
        steps.append(.command(place: command.place))
    }

    /// Ends a transaction: from here on it may be committed.
    mutating func sync() throws(PostgresError) {
        guard PQpipelineSync(handle.pointer) == 1 else { throw unsent() }
        steps.append(.sync)
        syncs += 1
    }

    private func unsent() -> PostgresError { .notConnected(handle.message) }

    // MARK: Receiving

    /// Sends what the server takes, and takes what it has said.
    mutating func advance(isReadable: Bool) {
        do throws(PostgresError) {
            let unsent = PQflush(handle.pointer)
            // Sending reads as well, and what it has read is of use also when the connection is at its end.
            let isLost = unsent < 0 || ((isReadable || handle.holdsBack) && !handle.consume())
            isUnsent = unsent == 1
            while !isOver, PQisBusy(handle.pointer) == 0 {
                if let result = PQgetResult(handle.pointer) { try take(result) } else { try endStep() }
            }
            if isLost, !isOver { throw .lost(handle.message) }
        } catch {
            giveUp(error)
        }
    }

    /// Nothing more is to come.
    mutating func giveUp(_ error: PostgresError) {
        // After a refusal nothing can have been committed.
        if let failure { results.append(.failure(.server(failure))) }
        while !isOver { results.append(.failure(error)) }
    }

    /// Nothing more comes for the step.
    private mutating func endStep() throws(PostgresError) {
        guard case .sync = steps[step] else {
            step += 1
            return
        }
        if isSyncRefused || failure == nil { throw .lost(handle.message) }
        isSyncRefused = true
    }

    /// Takes over what the server answered to the step.
    private mutating func take(_ result: OpaquePointer) throws(PostgresError) {
        let step = steps[step]
        let status = PQresultStatus(result)
        if case .command(place: .some) = step, status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK {
            return answers.append(PostgresAnswer(result))
        }
        defer { PQclear(result) }
        switch status {
        case PGRES_PIPELINE_SYNC:
            results.append(failure.map { .failure(.server($0)) } ?? .success(answers))
            (answers, failure, isSyncRefused) = ([], nil, false)
            self.step += 1
        case PGRES_PIPELINE_ABORTED: break
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
            // Of what is around a batch nobody wants the answer.
            if case .prepare(let statement, let name) = step { prepared[statement] = name }
        default:
            let refusal = try self.failure(result)
            failure = failure ?? refusal
        }
    }

    private func failure(_ result: OpaquePointer) throws(PostgresError) -> PostgresError.ServerError {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        // Without a state it is libpq that speaks: the connection is gone.
        // With one of class 08 it is a pooler, which has lost the server and does not know what came of the commit.
        guard let state = field("C"), !state.hasPrefix("08") else { throw .lost(handle.message) }
        var place: Int?
        switch steps[step] {
        case .prepare: break
        case .command(let statement): place = statement
        case .sync:
            // Ended by an administrator while it committed: perhaps after it had.
            if state.hasPrefix("57P") { throw .lost(handle.message) }
        }
        return .init(sqlState: state, message: field("M") ?? "", constraint: field("n"), statement: place)
    }
}
