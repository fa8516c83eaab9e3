import Domain
import Synchronization

/// Connections of one role, each with a thread of its own. Calls are served in the order in which they came.
final class PostgresPool: Sendable {
    private let threads: ThreadPool<PostgresConnection>
    /// Tells the server to break calls off: a connection of its own each time, which may block.
    private let cancels = ThreadPool<Void>(name: "pg-cancel", threads: 1, maximumWaiting: .max) {}
    private let wait: Duration
    private let outage: Duration
    /// Since when this role cannot connect; `nil` while it can.
    private let downSince = Mutex<ContinuousClock.Instant?>(nil)

    init(name: String, configuration: PostgresConfiguration, ambient: Ambient) {
        wait = configuration.wait
        outage = configuration.outage
        threads = ThreadPool(
            name: name, threads: configuration.connections, maximumWaiting: PostgresConfiguration.maximumWaiting
        ) { PostgresConnection(configuration: configuration, ambient: ambient) }
    }

    /// Runs the batch on the next connection that is free. A read is broken off when its task is cancelled; a write never
    /// is, for then nobody would know what came of it.
    ///
    /// - Throws: `PostgresError`; `StorageError.overloaded` when no connection came free in time.
    func run(_ batch: Batch, readOnly: Bool) async throws -> [ResultSet] {
        let call = PostgresCall()
        let answers =
            readOnly
            ? try await withTaskCancellationHandler {
                try await start(call, batch, readOnly: true)
            } onCancel: {
                call.cancel(on: cancels)
            } : try await start(call, batch, readOnly: false)
        downSince.withLock { $0 = nil }
        return answers
    }

    /// Whether the server, which could not be reached just now, has not been away for too long.
    func isWorthWaiting() -> Bool {
        downSince.withLock { since in
            let start = since ?? .now
            since = start
            return .now - start < outage
        }
    }

    private func start(_ call: PostgresCall, _ batch: Batch, readOnly: Bool) async throws -> [ResultSet] {
        try await withCheckedThrowingContinuation { continuation in
            guard call.wait(continuation, atMost: wait) else { return }
            threads.submit { connection in call.run(batch, readOnly: readOnly, on: connection) }
        }
    }

    /// Lets calls that came finish, closes the connections, and waits for their threads.
    func close() {
        threads.close()
        cancels.close()
    }
}

/// One call on its way through the pool: it waits, runs, and ends once, whoever is first to end it.
private final class PostgresCall: Sendable {
    private typealias Continuation = CheckedContinuation<[ResultSet], any Error>

    /// How a cancellation reaches a call that runs.
    private enum Reach {
        /// It is being connected: the cancellation is noted.
        case connecting(isCancelled: Bool)
        case sent(PostgresCanceller, call: Int)
    }

    private enum State {
        case new
        case waiting(Continuation, alarm: Int)
        case running(Continuation, Reach)
        case ended
    }

    private let state = Mutex(State.new)

    /// Answers whether the call is to be made: a call that was cancelled before it came is ended here.
    func wait(_ continuation: CheckedContinuation<[ResultSet], any Error>, atMost bound: Duration) -> Bool {
        let isWanted = state.withLock { state in
            guard case .new = state else { return false }
            let alarm = Alarms.shared.set(for: .now + bound) { self.abandon(StorageError.overloaded) }
            state = .waiting(continuation, alarm: alarm)
            return true
        }
        if !isWanted { continuation.resume(throwing: CancellationError()) }
        return isWanted
    }

    func run(_ batch: Batch, readOnly: Bool, on connection: Result<PostgresConnection, any Error>) {
        let isWanted = state.withLock { state in
            guard case .waiting(let continuation, let alarm) = state else { return false }
            Alarms.shared.remove(alarm)
            state = .running(continuation, .connecting(isCancelled: false))
            return true
        }
        guard isWanted else { return }
        let result = Result { try Self.answer(batch, readOnly, connection, onCall: started) }
        let continuation = state.withLock { state -> Continuation? in
            defer { state = .ended }
            if case .running(let continuation, _) = state { return continuation }
            return nil
        }
        continuation?.resume(with: result)
    }

    private static func answer(
        _ batch: Batch, _ readOnly: Bool, _ connection: Result<PostgresConnection, any Error>,
        onCall: (PostgresCanceller, Int) -> Bool
    ) throws -> [ResultSet] {
        do {
            let connection = try connection.get()
            return try connection.run(batch, readOnly: readOnly) { onCall(connection.canceller, $0) }
        } catch is ThreadPool<PostgresConnection>.Full {
            throw StorageError.overloaded
        } catch is ThreadPool<PostgresConnection>.Closed {
            throw StorageError.unavailable("the database is closed")
        }
    }

    /// Answers whether the call is still wanted.
    private func started(_ canceller: PostgresCanceller, _ call: Int) -> Bool {
        state.withLock { state in
            guard case .running(let continuation, .connecting(false)) = state else { return false }
            state = .running(continuation, .sent(canceller, call: call))
            return true
        }
    }

    func cancel(on cancels: ThreadPool<Void>) {
        let running = state.withLock { state -> (PostgresCanceller, Int)? in
            switch state {
            case .new:
                state = .ended
                return nil
            case .running(let continuation, .connecting):
                state = .running(continuation, .connecting(isCancelled: true))
                return nil
            case .running(_, .sent(let canceller, let call)): return (canceller, call)
            case .waiting, .ended: return nil
            }
        }
        if let (canceller, call) = running {
            cancels.submit { _ in canceller.cancel(call) }
        } else {
            abandon(CancellationError())
        }
    }

    /// Ends a call that still waits.
    private func abandon(_ error: any Error) {
        let continuation = state.withLock { state -> Continuation? in
            guard case .waiting(let continuation, let alarm) = state else { return nil }
            Alarms.shared.remove(alarm)
            state = .ended
            return continuation
        }
        continuation?.resume(throwing: error)
    }
}
