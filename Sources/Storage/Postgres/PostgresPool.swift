import Domain
import Synchronization

/// Connections of one role, each with a thread of its own. Calls are served in the order in which they came; when more wait
/// than there are connections, several share a round trip.
final class PostgresPool: Sendable {
    /// Calls that share a round trip.
    private static let maximumTogether = 16

    private struct State {
        var waiting: [PostgresCall] = []
        /// Threads that serve, or are about to: each goes on while anybody waits.
        var serving = 0
        /// Those of them that are at a call.
        var busy = 0
        /// An alarm is set for the call that has waited longest.
        var isWatched = false
    }

    private let state = Mutex(State())
    private let threads: ThreadPool<PostgresConnection>
    /// Tells the server to break calls off: a connection of its own each time, which may block.
    private let cancels = ThreadPool<Void>(name: "pg-cancel", threads: 1, maximumWaiting: .max) {}
    private let connections: Int
    private let wait: Duration
    private let outage: Duration
    /// Since when this role cannot connect; `nil` while it can.
    private let downSince = Mutex<ContinuousClock.Instant?>(nil)

    init(name: String, configuration: PostgresConfiguration, ambient: Ambient) {
        connections = configuration.connections
        wait = configuration.wait
        outage = configuration.outage
        // Calls are bounded where they wait, in `state`; what waits here are only wake-ups.
        threads = ThreadPool(name: name, threads: configuration.connections, maximumWaiting: .max) {
            PostgresConnection(configuration: configuration, ambient: ambient)
        }
    }

    /// Runs the batch on the next connection that is free. A read is broken off when its task is cancelled; a write never
    /// is, for then nobody would know what came of it.
    ///
    /// - Throws: `PostgresError`; `StorageError.overloaded` when no connection came free in time.
    func run(_ batch: Batch, readOnly: Bool) async throws -> [ResultSet] {
        let call = PostgresCall(batch, readOnly: readOnly, until: .now + wait)
        let answers =
            readOnly
            ? try await withTaskCancellationHandler {
                try await start(call)
            } onCancel: {
                call.cancel(on: cancels)
            } : try await start(call)
        downSince.withLock { $0 = nil }
        return answers
    }

    /// How long one call may go on in all, however often it is tried.
    var patience: Duration { wait + outage }

    /// Whether the server, which could not be reached just now, has not been away for too long.
    func isWorthWaiting() -> Bool {
        downSince.withLock { since in
            let start = since ?? .now
            since = start
            return .now - start < outage
        }
    }

    private func start(_ call: PostgresCall) async throws -> [ResultSet] {
        try await withCheckedThrowingContinuation { continuation in
            guard call.wait(continuation) else { return }
            let (isTaken, mustWake, mustWatch) = state.withLock { state in
                guard state.waiting.count < PostgresConfiguration.maximumWaiting else { return (false, false, false) }
                state.waiting.append(call)
                let (mustWake, mustWatch) = (state.serving < connections, !state.isWatched)
                if mustWake { state.serving += 1 }
                state.isWatched = true
                return (true, mustWake, mustWatch)
            }
            guard isTaken else { return call.refuse(StorageError.overloaded) }
            if mustWatch { watch(call.deadline) }
            if mustWake { threads.submit { [self] connection in serve(connection) } }
        }
    }

    private func serve(_ connection: Result<PostgresConnection, any Error>) {
        var wasBusy = false
        while true {
            // One that cannot connect must not snatch calls from those that can.
            if case .success(let connection) = connection { connection.waitForNextTry() }
            guard let taken = take(wasBusy: wasBusy) else { return }
            wasBusy = true
            let calls = taken.filter { $0.begin() }
            switch connection {
            case .success(let connection): connection.run(calls)
            case .failure: for call in calls { call.refuse(StorageError.unavailable("the database is closed")) }
            }
        }
    }

    /// A fair share of those who wait, among the connections that are not at a call; `nil` when nobody waits, and the thread
    /// serves no more.
    private func take(wasBusy: Bool) -> [PostgresCall]? {
        state.withLock { state in
            if wasBusy { state.busy -= 1 }
            guard !state.waiting.isEmpty else {
                state.serving -= 1
                return nil
            }
            let free = connections - state.busy
            let share = min((state.waiting.count + free - 1) / free, Self.maximumTogether)
            state.busy += 1
            defer { state.waiting.removeFirst(share) }
            return Array(state.waiting.prefix(share))
        }
    }

    /// Refuses calls whose time is over, then looks again when the next one's is.
    private func watch(_ deadline: ContinuousClock.Instant) {
        _ = Alarms.shared.set(for: deadline) { [weak self] in
            guard let self else { return }
            let (late, next) = state.withLock { state in
                let late = Array(state.waiting.prefix { $0.deadline <= .now })
                state.waiting.removeFirst(late.count)
                state.isWatched = !state.waiting.isEmpty
                return (late, state.waiting.first?.deadline)
            }
            for call in late { call.refuse(StorageError.overloaded) }
            if let next { watch(next) }
        }
    }

    /// Lets calls that came finish, closes the connections, and waits for their threads.
    func close() {
        threads.close()
        cancels.close()
    }
}
