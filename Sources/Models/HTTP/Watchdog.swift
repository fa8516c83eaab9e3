import Domain
import Synchronization

/// Ends an exchange whose current phase takes too long: runs beside it, and throws when a deadline passes.
final class Watchdog: Sendable {
    private struct State {
        var phase: HTTPFailure.Phase
        var deadline: ContinuousClock.Instant
    }

    private let state: Mutex<State>
    private let end: ContinuousClock.Instant

    init(_ timeouts: HTTPTimeouts) {
        let now = ContinuousClock.now
        end = now + timeouts.total
        state = Mutex(State(phase: .firstByte, deadline: min(end, now + timeouts.firstByte)))
    }

    /// The exchange made progress and enters `phase`, for at most `duration`.
    func enter(_ phase: HTTPFailure.Phase, for duration: Duration) {
        state.withLock { $0 = State(phase: phase, deadline: min(end, .now + duration)) }
    }

    /// Waits for a deadline to pass.
    ///
    /// - Throws: `HTTPFailure.timedOut`, or `CancellationError` when the exchange ended first.
    func watch() async throws {
        while true {
            let current = state.withLock { $0 }
            if current.deadline <= .now { throw HTTPFailure.timedOut(current.deadline >= end ? .total : current.phase) }
            try await Task.sleep(until: current.deadline)
        }
    }
}
