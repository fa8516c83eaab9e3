import CLibPQ
import DequeModule
import Domain
import Glibc

/// One connection to PostgreSQL, driven by its pool's thread, which it never blocks. Opened when it is needed, and again after
/// it was lost.
///
/// A batch goes out in pipeline mode: everything up to one Sync is one round trip and one transaction.
final class PostgresConnection {
    /// Between two cancels of one call, which a server ignores that has not begun it.
    private static let cancelRepetition: Duration = .milliseconds(500)
    /// How long a cancel may be under way after what it was to break off has ended.
    private static let maximumCancel: Duration = .seconds(5)

    private enum Cancel {
        case none
        /// Must not hit what comes next: nothing is sent meanwhile.
        case underWay(PostgresCancel)
        case again(at: ContinuousClock.Instant)
    }

    private let configuration: PostgresConfiguration
    private let ambient: Ambient
    private var handle: PostgresHandle?
    private(set) var isOpening = false
    /// What the server is at, and whose calls it is.
    private var exchange: PostgresExchange?
    private var calls: [PostgresCall] = []
    private var cancel = Cancel.none
    /// Not everything could be sent: of no use any more once that is answered which could.
    private var isSpoilt = false
    /// When the server, or a cancel that outlives its call, has taken too long.
    private var patienceEnd = ContinuousClock.now
    /// The names of what the server has prepared, by statement.
    private var prepared: [PostgresStatement: String] = [:]
    private var nextName = 0
    /// How many tries to connect have failed in a row, and when the next may be made.
    private var failedTries = 0
    private var nextTry = ContinuousClock.now

    init(configuration: PostgresConfiguration, ambient: Ambient) {
        self.configuration = configuration
        self.ambient = ambient
    }

    // MARK: What it is at

    var isOpen: Bool { handle != nil }
    var isAtWork: Bool { exchange != nil }

    /// Whether it can take calls now.
    var isFree: Bool {
        guard handle != nil, exchange == nil, case .none = cancel else { return false }
        return true
    }

    /// Whether it may be opened now.
    func mayOpen(at now: ContinuousClock.Instant) -> Bool { handle == nil && !isOpening && nextTry <= now }

    /// What to wait for at its socket.
    var interest: pollfd? {
        guard let handle else { return nil }
        let isUnsent = exchange?.isUnsent ?? false
        return pollfd(fd: handle.socket, events: Int16(POLLIN) | (isUnsent ? Int16(POLLOUT) : 0), revents: 0)
    }

    /// When to look at it, later than now, though nothing has come.
    ///
    /// - Parameter isWanted: calls wait for a connection.
    func nextLook(after now: ContinuousClock.Instant, isWanted: Bool) -> ContinuousClock.Instant? {
        guard handle != nil else { return isWanted && !isOpening && nextTry > now ? nextTry : nil }
        return switch cancel {
        case .none: exchange == nil ? nil : patienceEnd
        case .underWay: patienceEnd
        case .again(let time): min(time, patienceEnd)
        }
    }

    // MARK: Opening

    /// It is being opened, on another thread.
    func opening() { isOpening = true }

    func opened(_ result: Result<PostgresHandle, PostgresError>) {
        isOpening = false
        switch result {
        case .success(let opened):
            failedTries = 0
            handle = opened
        case .failure:
            failedTries += 1
            // 50 ms, 100, … to 400: not all at once when the server comes back.
            let delay = Duration.milliseconds(50 << min(failedTries - 1, 3))
            nextTry = .now + delay * (0.5 + ambient.random() / 2)
        }
    }

    private func disconnect() {
        handle = nil
        exchange = nil
        isSpoilt = false
        cancel = .none
        prepared = [:]
    }

    // MARK: Sending

    /// Takes the next calls and sends them, each in a transaction of its own. Those for which nothing has to be prepared or
    /// tidied up share a round trip.
    func take(from waiting: inout Deque<PostgresCall>, atMost count: Int) {
        guard let handle else { return }
        while calls.count < count, let call = waiting.first, calls.isEmpty || (isReady(calls[0].plan) && isReady(call.plan)) {
            waiting.removeFirst()
            if call.begin() { calls.append(call) }
        }
        guard !calls.isEmpty else { return }
        patienceEnd = .now + configuration.patience
        exchange = PostgresExchange(handle)
        let isShared = calls.count > 1
        if isShared { handle.gather(true) }
        var sent = 0
        do throws(PostgresError) {
            for call in calls {
                try send(call.plan.commands)
                sent += 1
            }
        } catch {
            isSpoilt = true
            for call in calls[sent...] { call.end(.failure(error)) }
            calls.removeSubrange(sent...)
        }
        if isShared { handle.gather(false) }
        if calls.isEmpty { disconnect() } else { advance(isReadable: false) }
    }

    /// Never behind a pooler: it may give the server to somebody else while the second of two transactions is half on its way
    /// (pgbouncer/pgbouncer#759).
    private func isReady(_ plan: PostgresPlan) -> Bool {
        !plan.isNamed && configuration.pooler == .none && plan.commands.allSatisfy { prepared[$0.statement] != nil }
    }

    /// The commands of one transaction.
    private func send(_ commands: [PostgresCommand]) throws(PostgresError) {
        if mustForget(commands) {
            prepared = [:]
            try exchange?.send(.forgetPrepared, name: nil)
            // Alone, for it looks at the database, which a transaction's isolation has to be set before.
            try exchange?.sync()
        }
        for command in commands {
            let name = try name(of: command.statement)
            try exchange?.send(command, name: name)
        }
        try exchange?.sync()
    }

    /// Whether what the commands need prepared goes beyond the bound.
    private func mustForget(_ commands: [PostgresCommand]) -> Bool {
        guard !prepared.isEmpty, prepared.count + commands.count > PostgresConfiguration.maximumPrepared else { return false }
        let new = Set(commands.map(\.statement)).subtracting(prepared.keys)
        return prepared.count + new.count > PostgresConfiguration.maximumPrepared
    }

    /// As what the statement is prepared, now if it was not before; `nil` where nothing is to be prepared.
    private func name(of statement: PostgresStatement) throws(PostgresError) -> String? {
        guard configuration.pooler == .none else { return nil }
        if let name = prepared[statement] ?? exchange?.names[statement] { return name }
        nextName += 1
        let name = "s\(nextName)"
        try exchange?.prepare(statement, name: name)
        return name
    }

    // MARK: Receiving

    /// Goes on with what it is at.
    ///
    /// - Parameter isReadable: the server has said something, or has closed the connection.
    func advance(isReadable: Bool) {
        guard exchange != nil else {
            // Nothing comes unasked but a farewell.
            if isReadable { disconnect() }
            return
        }
        patienceEnd = .now + configuration.patience
        exchange?.advance(isReadable: isReadable)
        finishIfOver()
    }

    /// Notices what time has brought; answers a cancel that is to be sent again.
    func look(at now: ContinuousClock.Instant) -> PostgresCancel? {
        if patienceEnd <= now {
            if exchange != nil {
                exchange?.giveUp(.lost("the server says nothing"))
                finishIfOver()
            } else if case .underWay = cancel {
                disconnect()
            }
        }
        guard case .again(let time) = cancel, time <= now, let call = calls.first else { return nil }
        return breakOff(call)
    }

    private func finishIfOver() {
        guard let handle, let exchange, exchange.isOver else { return }
        let ended = zip(calls, exchange.results.suffix(calls.count))
        // What was begun by name is ended by name, also when it failed; what even that did not end is of no use.
        let cannotEnd = calls.isEmpty && isInTransaction(handle)
        self.exchange = nil
        calls = []
        prepared.merge(exchange.prepared) { $1 }
        if isSpoilt || cannotEnd || exchange.results.contains(where: \.isBroken) {
            disconnect()
        } else if case .underWay = cancel {
            patienceEnd = .now + Self.maximumCancel
        } else {
            cancel = .none
            rollBack(handle)
        }
        for (call, result) in ended { call.end(result.mapError { $0 }) }
    }

    private func isInTransaction(_ handle: PostgresHandle) -> Bool { PQtransactionStatus(handle.pointer) != PQTRANS_IDLE }

    /// Ends a transaction that is still open.
    private func rollBack(_ handle: PostgresHandle) {
        guard isInTransaction(handle) else { return }
        patienceEnd = .now + configuration.patience
        exchange = PostgresExchange(handle)
        do throws(PostgresError) {
            try send([.rollback])
        } catch {
            return disconnect()
        }
        advance(isReadable: false)
    }

    // MARK: Breaking off

    /// What to send so that the server breaks the call off; `nil` when it is not here by itself, or is being broken off.
    func breakOff(_ call: PostgresCall) -> PostgresCancel? {
        guard let handle, calls.count == 1, calls[0] === call else { return nil }
        if case .underWay = cancel { return nil }
        let sent = PostgresCancel(handle)
        cancel = .underWay(sent)
        return sent
    }

    /// The server has been told. Repeated until the call ends, for it may not have begun it.
    func told(_ sent: PostgresCancel) {
        guard let handle, case .underWay(let known) = cancel, known === sent else { return }
        guard calls.isEmpty else { return cancel = .again(at: .now + Self.cancelRepetition) }
        cancel = .none
        rollBack(handle)
    }
}

extension Result where Failure == PostgresError {
    /// The connection is of no use any more.
    fileprivate var isBroken: Bool {
        switch self {
        case .success: false
        case .failure(.lost), .failure(.notConnected): true
        case .failure(.server(let error)): error.isStale
        }
    }
}
