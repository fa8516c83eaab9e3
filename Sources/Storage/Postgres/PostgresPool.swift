import Domain
import Synchronization

/// Connections of one role, each with a thread of its own. Calls are served in the order in which they came.
final class PostgresPool: Sendable {
    private let threads: ThreadPool<PostgresConnection>
    /// Tells the server to break calls off: a connection of its own each time, which may block.
    private let cancels = ThreadPool<Void>(name: "postgres-cancel", threads: 1, maximumWaiting: .max) {}
    private let wait: Duration

    init(name: String, configuration: PostgresConfiguration, ambient: Ambient) {
        wait = configuration.wait
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
        guard readOnly else { return try await start(call, batch, readOnly: false) }
        return try await withTaskCancellationHandler {
            try await start(call, batch, readOnly: true)
        } onCancel: {
            call.cancel(on: cancels)
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

    private enum State {
        case new
        case waiting(Continuation, alarm: Int)
        case running(Continuation, PostgresCanceller?, call: Int)
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
            state = .running(continuation, nil, call: 0)
            return true
        }
        guard isWanted else { return }
        let result = Result { try Self.answer(batch, readOnly, connection, onCall: started) }
        let continuation = state.withLock { state -> Continuation? in
            defer { state = .ended }
            if case .running(let continuation, _, _) = state { return continuation }
            return nil
        }
        continuation?.resume(with: result)
    }

    private static func answer(
        _ batch: Batch, _ readOnly: Bool, _ connection: Result<PostgresConnection, any Error>,
        onCall: (PostgresCanceller, Int) -> Void
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

    private func started(_ canceller: PostgresCanceller, _ call: Int) {
        state.withLock { state in
            if case .running(let continuation, _, _) = state { state = .running(continuation, canceller, call: call) }
        }
    }

    func cancel(on cancels: ThreadPool<Void>) {
        let running = state.withLock { state -> (PostgresCanceller, Int)? in
            switch state {
            case .new:
                state = .ended
                return nil
            case .running(_, let canceller?, let call): return (canceller, call)
            default: return nil
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
