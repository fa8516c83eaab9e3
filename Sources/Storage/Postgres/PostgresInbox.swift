import Domain
import Synchronization

/// What a pool's driver is told, from any thread.
final class PostgresInbox: Sendable {
    enum Signal: Sendable {
        /// A connection, by its place, was opened, or could not be.
        case opened(Int, Result<PostgresHandle, PostgresError>)
        /// Nobody waits any more for a call that a connection has taken.
        case cancelled(PostgresCall)
        /// The server has been told to break off what a connection is at.
        case told(Int, PostgresCancel)
    }

    struct Content: Sendable {
        /// In the order in which they came.
        var calls: [PostgresCall] = []
        var signals: [Signal] = []
        /// No more calls are to come.
        var isClosing = false
    }

    private struct State {
        var content = Content()
        /// Calls that wait, here and with the driver.
        var waiting = 0
        /// Whether the driver has to be woken.
        var isAsleep = false
        var isOver = false
    }

    /// Ends the driver's wait.
    let wakeUp = WakeUp()
    private let state = Mutex(State())

    /// Answers why the call is not taken.
    func submit(_ call: PostgresCall) -> StorageError? {
        let (refusal, mustWake) = state.withLock { state -> (StorageError?, Bool) in
            if state.content.isClosing { return (.unavailable("the database is closed"), false) }
            if state.waiting >= PostgresConfiguration.maximumWaiting { return (.overloaded, false) }
            state.content.calls.append(call)
            state.waiting += 1
            defer { state.isAsleep = false }
            return (nil, state.isAsleep)
        }
        if mustWake { wakeUp.signal() }
        return refusal
    }

    func signal(_ signal: Signal) { tell { $0.signals.append(signal) } }

    /// Takes no more calls.
    func close() { tell { $0.isClosing = true } }

    private func tell(_ change: (inout Content) -> Void) {
        let mustWake = state.withLock { state in
            change(&state.content)
            defer { state.isAsleep = false }
            return state.isAsleep
        }
        if mustWake { wakeUp.signal() }
    }

    /// Whether the driver has ended.
    var isOver: Bool { state.withLock { $0.isOver } }

    // MARK: For the driver

    /// What came since it last asked.
    ///
    /// - Parameter waiting: calls that wait with the driver.
    func take(waiting: Int) -> Content {
        state.withLock { state in
            defer {
                state.content.calls.removeAll()
                state.content.signals.removeAll()
            }
            state.waiting = waiting + state.content.calls.count
            state.isAsleep = false
            return state.content
        }
    }

    /// The driver ends.
    func end() { state.withLock { $0.isOver = true } }

    /// Whether nothing has come: whatever comes next wakes the driver.
    ///
    /// - Parameter isClosing: whether the driver knows that no more calls are to come.
    func fallAsleep(knowing isClosing: Bool) -> Bool {
        state.withLock { state in
            let content = state.content
            state.isAsleep = content.calls.isEmpty && content.signals.isEmpty && content.isClosing == isClosing
            return state.isAsleep
        }
    }
}
