import Domain
import Synchronization

/// One batch on its way through the pool: it waits, runs, and ends once, whoever is first to end it.
final class PostgresCall: Sendable {
    private typealias Continuation = CheckedContinuation<[PostgresAnswer], any Error>

    private enum State {
        case new
        case waiting(Continuation)
        /// Taken by a connection.
        case taken(Continuation)
        case ended
    }

    let plan: PostgresPlan
    /// When waiting for a connection has taken too long.
    let deadline: ContinuousClock.Instant
    private let state = Mutex(State.new)

    init(_ plan: PostgresPlan, until deadline: ContinuousClock.Instant) {
        self.plan = plan
        self.deadline = deadline
    }

    /// Answers whether the call is to be made: one that was cancelled before it came is ended here.
    func wait(_ continuation: CheckedContinuation<[PostgresAnswer], any Error>) -> Bool {
        let isWanted = state.withLock { state in
            guard case .new = state else { return false }
            state = .waiting(continuation)
            return true
        }
        if !isWanted { continuation.resume(throwing: CancellationError()) }
        return isWanted
    }

    /// A connection takes the call; answers whether it is still wanted.
    func begin() -> Bool {
        state.withLock { state in
            guard case .waiting(let continuation) = state else { return false }
            state = .taken(continuation)
            return true
        }
    }

    func end(_ result: Result<[PostgresAnswer], any Error>) {
        let continuation = state.withLock { state -> Continuation? in
            defer { state = .ended }
            return switch state {
            case .new, .ended: nil
            case .waiting(let continuation), .taken(let continuation): continuation
            }
        }
        continuation?.resume(with: result)
    }

    /// Ends the call unless a connection has taken it; answers whether one has.
    func cancel() -> Bool {
        let (isTaken, continuation) = state.withLock { state -> (Bool, Continuation?) in
            switch state {
            case .new:
                state = .ended
                return (false, nil)
            case .waiting(let continuation):
                state = .ended
                return (false, continuation)
            case .taken: return (true, nil)
            case .ended: return (false, nil)
            }
        }
        continuation?.resume(throwing: CancellationError())
        return isTaken
    }
}
