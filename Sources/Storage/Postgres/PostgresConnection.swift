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
            // 50 ms, 100, … to 400: not all at once when the server comes back.
            let delay = Duration.milliseconds(50 << min(failedTries - 1, 3))
            nextTry = .now + delay * (0.5 + ambient.random() / 2)
            throw error
        }
    }

    /// Blocks until it is time to try to connect again.
    func waitForNextTry() {
        let rest = nextTry - .now
        if failedTries > 0, rest > .zero { poll(nil, 0, Int32(rest.milliseconds.rounded(.up))) }
    }

    /// Opens a connection outside of pipeline mode.
    static func open(_ configuration: PostgresConfiguration) throws(PostgresError) -> OpaquePointer {
        var parameters = [
            ("connect_timeout", "\(PostgresConfiguration.connectTimeout.components.seconds)"), ("dbname", configuration.url),
            ("fallback_application_name", "sba"), ("client_encoding", "UTF8"),
            ("tcp_user_timeout", "\(Int(configuration.networkGrace.milliseconds))"),
            // A connection that only listens notices a dead peer too.
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
        ]
        if configuration.pooler == .none {
            let milliseconds = Int(configuration.statementTimeout.milliseconds)
            let plans = configuration.plansOnce ? " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off" : ""
            parameters.append(("options", "-c statement_timeout=\(milliseconds)\(plans)"))
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

    /// Runs the calls, each in a transaction of its own, and ends them. Those for which nothing has to be prepared or tidied
    /// up share a round trip.
    func run(_ calls: [PostgresCall]) {
        var rest = calls.map { (call: $0, plan: PostgresPlan($0.batch, readOnly: $0.readOnly, configuration: configuration)) }[
            ...]
        while !rest.isEmpty {
            do throws(PostgresError) {
                let connection = try connected()
                let together = max(1, rest.prefix { isReady($0.plan) }.count)
                if together == 1 {
                    try runAlone(rest[rest.startIndex].call, rest[rest.startIndex].plan, on: connection)
                } else {
                    try runTogether(rest.prefix(together), on: connection)
                }
                rest = rest.dropFirst(together)
            } catch {
                // Nothing of it was sent.
                rest.removeFirst().call.end(.failure(error))
            }
        }
    }

    /// Never behind a pooler: it may give the server to somebody else while the second of two transactions is half on its way
    /// (pgbouncer/pgbouncer#759).
    private func isReady(_ plan: PostgresPlan) -> Bool {
        !plan.isNamed && configuration.pooler == .none && plan.commands.allSatisfy { prepared[$0.statement] != nil }
    }

    private func runTogether(
        _ calls: ArraySlice<(call: PostgresCall, plan: PostgresPlan)>, on connection: OpaquePointer
    ) throws(PostgresError) {
        var exchange = PostgresExchange(connection: connection, configuration: configuration)
        var sent = 0
        // libpq sends at every Sync; the kernel gathers what it sends until it is told that all is there.
        gather(true, connection)
        do throws(PostgresError) {
            for (_, plan) in calls {
                for command in plan.commands { try exchange.send(command, name: prepared[command.statement]) }
                try exchange.sync()
                sent += 1
            }
        } catch {
            // The first are told apart from those that never went out.
            guard sent > 0 else {
                disconnect()
                throw error
            }
        }
        gather(false, connection)
        let results = exchange.finish()
        for (entry, result) in zip(calls, results) { entry.call.end(result.map(entry.plan.results)) }
        for entry in calls.dropFirst(sent) { entry.call.end(.failure(.notConnected(Self.message(connection)))) }
        if sent < calls.count || results.contains(where: \.isBroken) { disconnect() }
    }

    /// Does nothing to a connection that is none of TCP.
    private func gather(_ isOn: Bool, _ connection: OpaquePointer) {
        var value: Int32 = isOn ? 1 : 0
        setsockopt(
            PQsocket(connection), Int32(IPPROTO_TCP), TCP_CORK, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    private func runAlone(_ call: PostgresCall, _ plan: PostgresPlan, on connection: OpaquePointer) throws(PostgresError) {
        guard call.isSending(canceller, canceller.begin()) else { throw .cancelled }
        let result: Result<[ResultSet], PostgresError>
        do throws(PostgresError) {
            result = try exchange(plan.commands, on: connection)
        } catch {
            _ = canceller.end()
            throw error
        }
        if result.isBroken {
            disconnect()
        } else if PQtransactionStatus(connection) != PQTRANS_IDLE, !rollBack(connection) {
            // A transaction that was begun by name is ended by name, also when it failed.
            disconnect()
        }
        if !canceller.end() { disconnect() }
        call.end(result.map(plan.results))
    }

    private func rollBack(_ connection: OpaquePointer) -> Bool {
        guard case .success? = try? exchange([.rollback], on: connection) else { return false }
        return true
    }

    /// Sends the commands of one transaction, and answers what came of it.
    ///
    /// - Throws: `notConnected` when it could not be sent whole; the connection is given up then.
    private func exchange(
        _ commands: [PostgresCommand], on connection: OpaquePointer
    ) throws(PostgresError) -> Result<[ResultSet], PostgresError> {
        var exchange = PostgresExchange(connection: connection, configuration: configuration)
        do throws(PostgresError) {
            if mustForget(commands) {
                prepared = [:]
                try exchange.send(.forgetPrepared, name: nil)
                // Alone, for it looks at the database, which a transaction's isolation has to be set before.
                try exchange.sync()
            }
            for command in commands { try send(command, in: &exchange) }
            try exchange.sync()
        } catch {
            disconnect()
            throw error
        }
        let results = exchange.finish()
        prepared.merge(exchange.prepared) { $1 }
        return results[results.count - 1]
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

extension Result where Failure == PostgresError {
    /// The connection is of no use any more.
    fileprivate var isBroken: Bool {
        switch self {
        case .success, .failure(.cancelled): false
        case .failure(.lost), .failure(.notConnected): true
        case .failure(.server(let error)): error.isStale
        }
    }
}
