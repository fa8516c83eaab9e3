import CLibPQ
import Domain
import Foundation
import Glibc

/// One connection to PostgreSQL, used by one thread at a time. Opened at its first use, and again after it was lost.
///
/// A batch goes out in pipeline mode: everything up to one Sync is one round trip and one transaction.
final class PostgresConnection {
    let canceller = PostgresCanceller()
    private let configuration: PostgresConfiguration
    private let ambient: Ambient
    private var connection: OpaquePointer?
    /// The names of what the server has prepared, by statement.
    private var prepared: [PostgresStatement: String] = [:]
    private var nextName = 0
    /// When the last try to connect failed, and how many have in a row.
    private var failedTries = 0
    private var failure = ""
    private var nextTry = ContinuousClock.now

    init(configuration: PostgresConfiguration, ambient: Ambient) {
        self.configuration = configuration
        self.ambient = ambient
    }

    deinit { disconnect() }

    // MARK: Connecting

    private func connected() throws(PostgresError) -> OpaquePointer {
        if let connection, PQstatus(connection) == CONNECTION_OK, isQuiet(connection) { return connection }
        disconnect()
        guard .now >= nextTry else { throw PostgresError.notConnected(failure) }
        do throws(PostgresError) {
            let opened = try Self.open(configuration)
            guard PQenterPipelineMode(opened) == 1, PQsetnonblocking(opened, 1) == 0 else {
                PQfinish(opened)
                throw PostgresError.notConnected("the connection does not take pipelines")
            }
            canceller.connected(opened)
            connection = opened
            failedTries = 0
            return opened
        } catch {
            failedTries += 1
            if case .notConnected(let reason) = error { failure = reason }
            // 50 ms, 100, … to 1.6 s: not all at once when the server comes back.
            let delay = Duration.milliseconds(50 << min(failedTries - 1, 5))
            nextTry = .now + delay * (0.5 + ambient.random() / 2)
            throw error
        }
    }

    /// Opens a connection outside of pipeline mode.
    static func open(_ configuration: PostgresConfiguration) throws(PostgresError) -> OpaquePointer {
        var parameters = [
            ("connect_timeout", "\(PostgresConfiguration.connectTimeout.components.seconds)"), ("dbname", configuration.url),
            ("fallback_application_name", "sba"), ("client_encoding", "UTF8"),
            ("tcp_user_timeout", "\(Int(PostgresConfiguration.networkGrace.milliseconds))"),
            // A connection that only listens notices a dead peer too.
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
        ]
        if configuration.pooler == .none {
            let milliseconds = Int(configuration.statementTimeout.milliseconds)
            parameters.append(("options", "-c statement_timeout=\(milliseconds)"))
        }
        let keys = parameters.map { strdup($0.0) }
        let values = parameters.map { strdup($0.1) }
        defer { for text in keys + values { free(text) } }
        let opened = (keys + [nil]).map { UnsafePointer($0) }.withUnsafeBufferPointer { keys in
            (values + [nil]).map { UnsafePointer($0) }.withUnsafeBufferPointer { values in
                PQconnectdbParams(keys.baseAddress, values.baseAddress, 1)
            }
        }
        guard let opened, PQstatus(opened) == CONNECTION_OK else {
            let reason = opened.map(message) ?? "out of memory"
            PQfinish(opened)
            throw PostgresError.notConnected(reason)
        }
        // Notices are for people at a terminal.
        PQsetNoticeProcessor(opened, { _, _ in }, nil)
        return opened
    }

    /// Whether nothing has come unasked for: a server that went away has sent its farewell.
    private func isQuiet(_ connection: OpaquePointer) -> Bool {
        var descriptor = pollfd(fd: PQsocket(connection), events: Int16(POLLIN), revents: 0)
        guard poll(&descriptor, 1, 0) > 0 else { return true }
        return PQconsumeInput(connection) == 1 && PQstatus(connection) == CONNECTION_OK
            && poll(&descriptor, 1, 0) == 0
    }

    private func disconnect() {
        canceller.forget()
        if let connection { PQfinish(connection) }
        connection = nil
        prepared = [:]
    }

    static func message(_ connection: OpaquePointer) -> String {
        String(cString: PQerrorMessage(connection)).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    // MARK: Batches

    /// Runs the batch in one transaction.
    ///
    /// - Parameter onCall: told the call's number for `canceller` before anything is sent; answers whether it is still wanted.
    func run(_ batch: Batch, readOnly: Bool, onCall: (Int) -> Bool) throws(PostgresError) -> [ResultSet] {
        let connection = try connected()
        defer { canceller.end() }
        guard onCall(canceller.begin()) else { throw .cancelled }
        let plan = PostgresPlan(batch, readOnly: readOnly, configuration: configuration)
        do throws(PostgresError) {
            return plan.results(try exchange(plan.commands, on: connection))
        } catch {
            // A transaction that was begun by name is ended by name, also when it failed.
            if case .server = error, PQtransactionStatus(connection) != PQTRANS_IDLE,
                (try? exchange([.rollback], on: connection)) == nil
            {
                disconnect()
            }
            throw error
        }
    }

    /// Sends the commands and a Sync, and reads every answer. A connection that breaks is given up.
    private func exchange(_ commands: [PostgresCommand], on connection: OpaquePointer) throws(PostgresError) -> [ResultSet] {
        var exchange = PostgresExchange(connection: connection, patience: configuration.statementTimeout)
        let forgets = mustForget(commands)
        do throws(PostgresError) {
            if forgets {
                prepared = [:]
                try exchange.send(.forgetPrepared, name: nil)
            }
            for command in commands { try send(command, in: &exchange) }
            let answers = try exchange.finish()
            prepared.merge(exchange.prepared) { $1 }
            return forgets ? Array(answers.dropFirst()) : answers
        } catch {
            if case .server = error { prepared.merge(exchange.prepared) { $1 } } else { disconnect() }
            throw error
        }
    }

    /// Whether what the commands need prepared goes beyond the bound.
    private func mustForget(_ commands: [PostgresCommand]) -> Bool {
        guard !prepared.isEmpty, prepared.count + commands.count > PostgresConfiguration.maximumPrepared else { return false }
        let new = Set(commands.map(\.statement)).subtracting(prepared.keys)
        return prepared.count + new.count > PostgresConfiguration.maximumPrepared
    }

    private func send(_ command: PostgresCommand, in exchange: inout PostgresExchange) throws(PostgresError) {
        guard configuration.pooler == .none else { return try exchange.send(command, name: nil) }
        if let name = prepared[command.statement] ?? exchange.names[command.statement] {
            return try exchange.send(command, name: name)
        }
        nextName += 1
        let name = "s\(nextName)"
        try exchange.prepare(command.statement, name: name)
        try exchange.send(command, name: name)
    }
}
