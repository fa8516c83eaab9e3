import Domain
import Synchronization

/// The event bus of one process: a signal is a function call.
public final class InProcessEventBus: EventBus {
    private struct State {
        var nextID = 0
        var receivers: [Int: @Sendable (RunSignal) -> Void] = [:]
    }

    private let state = Mutex(State())

    public init() {}

    public func publish(_ signal: RunSignal) {
        for receive in state.withLock({ Array($0.receivers.values) }) { receive(signal) }
    }

    public func subscribe(_ receive: @escaping @Sendable (RunSignal) -> Void) -> BusSubscription {
        let id = state.withLock { state in
            state.nextID += 1
            state.receivers[state.nextID] = receive
            return state.nextID
        }
        return BusSubscription { [weak self] in
            self?.state.withLock { $0.receivers[id] = nil }
        }
    }
}
