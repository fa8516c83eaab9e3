import CLibPQ
import Synchronization

/// Breaks off what one connection is doing, from any thread.
final class PostgresCanceller: Sendable {
    private struct State: Sendable {
        /// The address of libpq's handle, which is used under the lock only.
        var handle: UInt?
        /// Numbers the calls, so that a cancel that comes too late does not hit the next one.
        var call = 0
        var isBusy = false
    }

    private let state = Mutex(State())

    deinit { forget() }

    /// Takes a new connection's handle.
    func connected(_ connection: OpaquePointer) {
        forget()
        let handle = PQgetCancel(connection).map { UInt(bitPattern: $0) }
        state.withLock { $0.handle = handle }
    }

    func forget() {
        let old = state.withLock { state in
            defer { state.handle = nil }
            return state.handle
        }
        PQfreeCancel(old.flatMap(OpaquePointer.init(bitPattern:)))
    }

    /// Numbers the call that begins.
    func begin() -> Int {
        state.withLock { state in
            state.call += 1
            state.isBusy = true
            return state.call
        }
    }

    /// The call has ended. Waits for a cancel that is under way: it must not hit what comes next.
    func end() { state.withLock { $0.isBusy = false } }

    /// Asks the server to break the call off; blocks until it has been told. Does nothing when the call has ended.
    func cancel(_ call: Int) {
        state.withLock { state in
            guard state.isBusy, state.call == call, let handle = state.handle.flatMap(OpaquePointer.init(bitPattern:))
            else { return }
            var message = [CChar](repeating: 0, count: 256)
            PQcancel(handle, &message, Int32(message.count))
        }
    }
}
