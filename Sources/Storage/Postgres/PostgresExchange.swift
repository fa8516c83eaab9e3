import CLibPQ
import Domain
import Glibc

/// One round trip in pipeline mode: the commands of one transaction after another, a Sync behind each, and all their
/// answers. libpq is used without blocking, so that long batches and long answers do not wait for each other.
struct PostgresExchange {
    private enum Step {
        case prepare(PostgresStatement, name: String)
        case command(place: Int?)
        case sync
    }

    private let connection: OpaquePointer
    /// How long the server may say nothing, in milliseconds.
    private let patience: Int32
    private var steps: [Step] = []
    private var syncs = 0
    /// The names of what is being prepared.
    private(set) var names: [PostgresStatement: String] = [:]
    /// Those that the server has prepared; they stay so whatever comes of the batch.
    private(set) var prepared: [PostgresStatement: String] = [:]

    init(connection: OpaquePointer, configuration: PostgresConfiguration) {
        self.connection = connection
        patience = Int32((configuration.statementTimeout + configuration.networkGrace).milliseconds)
        steps.reserveCapacity(8)
    }

    mutating func prepare(_ statement: PostgresStatement, name: String) throws(PostgresError) {
        let types = statement.types.map(\.rawValue)
        guard PQsendPrepare(connection, name, statement.sql, Int32(types.count), types) == 1 else { throw unsent() }
        names[statement] = name
        steps.append(.prepare(statement, name: name))
    }

    /// - Parameter name: what it was prepared as; `nil` sends its text along.
    mutating func send(_ command: PostgresCommand, name: String?) throws(PostgresError) {
        let types = command.statement.types.map(\.rawValue)
        let isSent = PostgresParameters(command.arguments).withPointers { count, values, lengths, formats in
            if let name { return PQsendQueryPrepared(connection, name, count, values, lengths, formats, 1) }
            return PQsendQueryParams(connection, command.statement.sql, count, types, values, lengths, formats, 1)
        }
        guard isSent == 1 else { throw unsent() }
        steps.append(.command(place: command.place))
    }

    private func unsent() -> PostgresError { .notConnected(PostgresConnection.message(connection)) }

    /// Ends a transaction: from here on it may be committed.
    mutating func sync() throws(PostgresError) {
        guard PQpipelineSync(connection) == 1 else { throw unsent() }
        steps.append(.sync)
        syncs += 1
    }

    /// What each transaction came to, in order: what its commands answered; `server`; or `lost`, from the first on whose
    /// Sync was not answered.
    mutating func finish() -> [Result<[ResultSet], PostgresError>] {
        var results: [Result<[ResultSet], PostgresError>] = []
        var answers: [ResultSet] = []
        var failure: PostgresError.ServerError?
        var step = 0
        do throws(PostgresError) {
            while results.count < syncs {
                try receive()
                while results.count < syncs, PQisBusy(connection) == 0 {
                    guard let result = PQgetResult(connection) else {
                        step += 1
                        continue
                    }
                    defer { PQclear(result) }
                    switch PQresultStatus(result) {
                    case PGRES_PIPELINE_SYNC:
                        results.append(failure.map { .failure(.server($0)) } ?? .success(answers))
                        (answers, failure) = ([], nil)
                        step += 1
                    case PGRES_PIPELINE_ABORTED: break
                    case PGRES_COMMAND_OK, PGRES_TUPLES_OK: take(result, step, &answers)
                    default:
                        let refusal = try self.failure(result, step)
                        failure = failure ?? refusal
                    }
                }
            }
        } catch {
            // After a refusal nothing can have been committed.
            if let failure { results.append(.failure(.server(failure))) }
            while results.count < syncs { results.append(.failure(error)) }
        }
        return results
    }

    private mutating func take(_ result: OpaquePointer, _ step: Int, _ answers: inout [ResultSet]) {
        switch steps[step] {
        case .prepare(let statement, let name): prepared[statement] = name
        case .sync: break
        case .command(place: nil):
            // Of what is around a batch nobody wants the answer.
            answers.append(ResultSet(rows: [], changes: 0))
        case .command:
            let rows = PostgresRows.read(result)
            let changes = PQresultStatus(result) == PGRES_TUPLES_OK ? rows.count : Int(String(cString: PQcmdTuples(result)))
            answers.append(ResultSet(rows: rows, changes: changes ?? 0))
        }
    }

    private func failure(_ result: OpaquePointer, _ step: Int) throws(PostgresError) -> PostgresError.ServerError {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        // Without a state it is libpq that speaks: the connection is gone.
        // With one of class 08 it is a pooler, which has lost the server and does not know what came of the commit.
        guard let state = field("C"), !state.hasPrefix("08") else {
            throw .lost(PostgresConnection.message(connection))
        }
        var place: Int?
        switch steps[step] {
        case .prepare: break
        case .command(let statement): place = statement
        case .sync:
            // Ended by an administrator while it committed: perhaps after it had.
            if state.hasPrefix("57P") { throw .lost(PostgresConnection.message(connection)) }
        }
        return .init(sqlState: state, message: field("M") ?? "", constraint: field("n"), statement: place)
    }

    /// Sends what is still to be sent and waits until something has come.
    private func receive() throws(PostgresError) {
        let unsent = PQflush(connection)
        guard unsent >= 0 else { throw .lost(PostgresConnection.message(connection)) }
        guard PQisBusy(connection) == 1 || unsent == 1 else { return }
        var descriptor = pollfd(
            fd: PQsocket(connection), events: Int16(POLLIN) | (unsent == 1 ? Int16(POLLOUT) : 0), revents: 0)
        let count = poll(&descriptor, 1, patience)
        if count < 0, errno == EINTR { return }
        guard count > 0 else { throw .lost("the server says nothing") }
        guard PQconsumeInput(connection) == 1 else { throw .lost(PostgresConnection.message(connection)) }
    }
}
