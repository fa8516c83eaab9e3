import Dispatch
import Domain
import Foundation
import Synchronization

/// Connections of one role, and the thread that drives them.
final class PostgresPool: Sendable {
    private let configuration: PostgresConfiguration
    private let inbox = PostgresInbox()
    private let threads: PostgresDriver.Threads
    private let ended = DispatchSemaphore(value: 0)
    /// Since when this role cannot connect; `nil` while it can.
    private let downSince = Mutex<ContinuousClock.Instant?>(nil)
    /// Whether `downSince` holds something: calls that go well have no lock in common.
    private let isDown = Atomic(false)

    /// - Parameter name: of the threads; they add up to nine characters, and the system keeps fifteen.
    init(name: String, configuration: PostgresConfiguration, ambient: Ambient) {
        self.configuration = configuration
        threads = PostgresDriver.Threads(name: name, configuration: configuration)
        Thread.detachNewThread { [self] in
            Thread.current.name = name
            drive(ambient)
            ended.signal()
        }
    }

    private func drive(_ ambient: Ambient) {
        var driver = PostgresDriver(inbox: inbox, threads: threads, configuration: configuration, ambient: ambient)
        driver.run()
    }

    /// Runs the batch on the next connection that is free. A read is broken off when its task is cancelled, unless it shares
    /// its round trip; a write never is, for then nobody would know what came of it.
    ///
    /// - Throws: `PostgresError`; `StorageError.overloaded` when no connection came free in time.
    func run(_ batch: Batch, readOnly: Bool) async throws -> [ResultSet] {
        let plan = PostgresPlan(batch, readOnly: readOnly, configuration: configuration)
        let call = PostgresCall(plan, until: .now + configuration.wait)
        let answers =
            readOnly
            ? try await withTaskCancellationHandler {
                try await start(call)
            } onCancel: {
                if call.cancel() { inbox.signal(.cancelled(call)) }
            } : try await start(call)
        if isDown.load(ordering: .relaxed) { markUp() }
        return plan.results(answers)
    }

    private func start(_ call: PostgresCall) async throws -> [PostgresAnswer] {
        try await withCheckedThrowingContinuation { continuation in
            guard call.wait(continuation), let refusal = inbox.submit(call) else { return }
            call.end(.failure(refusal))
        }
    }

    /// How long one call may go on in all, however often it is tried.
    var patience: Duration { configuration.wait + configuration.outage }

    /// Whether the server, which could not be reached just now, has not been away for too long.
    func isWorthWaiting() -> Bool {
        downSince.withLock { since in
            let start = since ?? .now
            since = start
            isDown.store(true, ordering: .relaxed)
            return .now - start < configuration.outage
        }
    }

    private func markUp() {
        downSince.withLock { since in
            since = nil
            isDown.store(false, ordering: .relaxed)
        }
    }

    /// Lets calls that came finish, closes the connections, and waits for the threads.
    func close() {
        inbox.close()
        ended.wait()
        // For whoever closes it again.
        ended.signal()
        threads.close()
        // What was opened meanwhile is closed too.
        _ = inbox.take(waiting: 0)
    }
}
