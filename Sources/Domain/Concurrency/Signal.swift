import Synchronization

/// Tells waiting tasks that something may have changed. A notice given between looking and waiting is not lost:
/// read `generation` first, look, then wait for a later one.
public final class Signal: Sendable {
    private enum Wait {
        case beginning
        case waiting(CheckedContinuation<Void, Never>)
        /// Its time was over, or its task cancelled, before it came to wait.
        case released
    }

    private struct State {
        var generation = 0
        var nextID = 0
        var waits: [Int: Wait] = [:]
    }

    private let state = Mutex(State())
    private let next: Signal?

    /// - Parameter next: notified whenever this one is.
    public init(passingOnTo next: Signal? = nil) { self.next = next }

    /// How often `notify` was called.
    public var generation: Int { state.withLock { $0.generation } }

    /// Wakes every waiting task.
    public func notify() {
        let waits = state.withLock { state in
            state.generation += 1
            let waits = state.waits.values
            for id in state.waits.keys { state.waits[id] = .released }
            return waits
        }
        for case .waiting(let continuation) in waits { continuation.resume() }
        next?.notify()
    }

    /// Returns when `notify` has been called since `generation` was read, the time is over, or the task is cancelled.
    public func wait(after generation: Int, atMost timeout: Duration) async {
        let id = state.withLock { state in
            state.nextID += 1
            state.waits[state.nextID] = .beginning
            return state.nextID
        }
        let alarm = Alarms.shared.set(for: .now + timeout) { [self] in release(id) }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isLate = state.withLock { state in
                    guard case .beginning = state.waits[id], state.generation <= generation else { return true }
                    state.waits[id] = .waiting(continuation)
                    return false
                }
                if isLate { continuation.resume() }
            }
        } onCancel: {
            release(id)
        }
        Alarms.shared.remove(alarm)
        state.withLock { _ = $0.waits.removeValue(forKey: id) }
    }

    /// Ends one wait, if it has not ended.
    private func release(_ id: Int) {
        let wait = state.withLock { state -> Wait? in
            guard let wait = state.waits[id] else { return nil }
            state.waits[id] = .released
            return wait
        }
        if case .waiting(let continuation) = wait { continuation.resume() }
    }
}
