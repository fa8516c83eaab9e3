import CLibPQ
import Dispatch
import Synchronization

/// Breaks off what one connection is doing, from any thread.
final class PostgresCanceller: Sendable {
    /// How long a connection waits for a cancel that is under way.
    private static let maximumWait: DispatchTimeInterval = .seconds(5)

    private struct State: Sendable {
        /// The address of libpq's handle.
        var handle: UInt?
        /// Numbers the calls, so that a cancel that comes too late does not hit the next one.
        var call = 0
        var isBusy = false
        var isCancelling = false
        /// The connection waits for the cancel to end.
        var isAwaited = false
    }

    private let state = Mutex(State())
    private let ended = DispatchSemaphore(value: 0)

    deinit { forget() }

    /// Takes a new connection's handle.
    func connected(_ connection: OpaquePointer) {
        forget()
        let handle = PQgetCancel(connection).map { UInt(bitPattern: $0) }
        state.withLock { $0.handle = handle }
    }

    func forget() {
        let unused = state.withLock { state -> UInt? in
            defer { state.handle = nil }
            // One that is in use is freed by whoever uses it.
            return state.isCancelling ? nil : state.handle
        }
        PQfreeCancel(unused.flatMap(OpaquePointer.init(bitPattern:)))
    }

    /// Numbers the call that begins.
    func begin() -> Int {
        state.withLock { state in
            state.call += 1
            state.isBusy = true
            return state.call
        }
    }

    /// The call has ended. Waits for a cancel that is under way, which must not hit what comes next; answers false when that
    /// takes too long, and the connection has to be given up.
    func end() -> Bool {
        let mustWait = state.withLock { state in
            state.isBusy = false
            state.isAwaited = state.isCancelling
            return state.isCancelling
        }
        guard mustWait, ended.wait(timeout: .now() + Self.maximumWait) == .timedOut else { return true }
        let isOver = state.withLock { state in
            state.isAwaited = false
            return !state.isCancelling
        }
        // It ended in this very moment.
        if isOver { ended.wait() }
        return isOver
    }

    /// Asks the server to break the call off; blocks until it has been told. Answers false when the call has ended.
    func cancel(_ call: Int) -> Bool {
        let taken = state.withLock { state -> UInt? in
            guard state.isBusy, state.call == call, !state.isCancelling else { return nil }
            state.isCancelling = state.handle != nil
            return state.handle
        }
        guard let taken, let handle = OpaquePointer(bitPattern: taken) else { return false }
        var message = [CChar](repeating: 0, count: 256)
        PQcancel(handle, &message, Int32(message.count))
        let (isForgotten, isAwaited, isBusy) = state.withLock { state in
            state.isCancelling = false
            return (state.handle != taken, state.isAwaited, state.isBusy && state.call == call)
        }
        if isForgotten { PQfreeCancel(handle) }
        if isAwaited { ended.signal() }
        return isBusy
    }
}
