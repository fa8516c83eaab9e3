import Domain
import Synchronization

/// One batch on its way through the pool: it waits, runs, and ends once, whoever is first to end it.
final class PostgresCall: Sendable {
    private typealias Continuation = CheckedContinuation<[ResultSet], any Error>

    private enum State {
        case new
        case waiting(Continuation)
        /// Taken by a connection. A cancellation reaches it once it has been sent, unless it shares its round trip.
        case taken(Continuation, isCancelled: Bool)
        case sent(Continuation, PostgresCanceller, call: Int)
        case ended

        var continuation: Continuation? {
            switch self {
            case .new, .ended: nil
            case .waiting(let continuation), .taken(let continuation, _), .sent(let continuation, _, _): continuation
            }
        }
    }

    let batch: Batch
    let readOnly: Bool
    /// When waiting for a connection has taken too long.
    let deadline: ContinuousClock.Instant
    private let state = Mutex(State.new)

    init(_ batch: Batch, readOnly: Bool, until deadline: ContinuousClock.Instant) {
        self.batch = batch
        self.readOnly = readOnly
        self.deadline = deadline
    }

    /// Answers whether the call is to be made: one that was cancelled before it came is ended here.
    func wait(_ continuation: CheckedContinuation<[ResultSet], any Error>) -> Bool {
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
            state = .taken(continuation, isCancelled: false)
            return true
        }
    }

    /// The call is about to be sent alone, where a cancellation can reach it; answers whether it is still wanted.
    func isSending(_ canceller: PostgresCanceller, _ call: Int) -> Bool {
        state.withLock { state in
            guard case .taken(let continuation, isCancelled: false) = state else { return false }
            state = .sent(continuation, canceller, call: call)
            return true
        }
    }

    func end(_ result: Result<[ResultSet], PostgresError>) { finish(result.mapError { $0 }) }

    func refuse(_ error: any Error) { finish(.failure(error)) }

    private func finish(_ result: Result<[ResultSet], any Error>) {
        let continuation = state.withLock { state in
            defer { state = .ended }
            return state.continuation
        }
        continuation?.resume(with: result)
    }

    func cancel(on cancels: ThreadPool<Void>) {
        let (running, continuation) = state.withLock { state -> ((PostgresCanceller, Int)?, Continuation?) in
            switch state {
            case .new:
                state = .ended
                return (nil, nil)
            case .waiting(let continuation):
                state = .ended
                return (nil, continuation)
            case .taken(let continuation, _):
                state = .taken(continuation, isCancelled: true)
                return (nil, nil)
            case .sent(_, let canceller, let call): return ((canceller, call), nil)
            case .ended: return (nil, nil)
            }
        }
        if let (canceller, call) = running { Self.breakOff(call, canceller, on: cancels) }
        continuation?.resume(throwing: CancellationError())
    }

    /// Between two cancels of one call.
    private static let repetition: Duration = .milliseconds(500)

    /// Repeated until the call ends: a server ignores a cancel that comes before what it is to break off.
    private static func breakOff(_ call: Int, _ canceller: PostgresCanceller, on cancels: ThreadPool<Void>) {
        cancels.submit { _ in
            guard canceller.cancel(call) else { return }
            _ = Alarms.shared.set(for: .now + repetition) { breakOff(call, canceller, on: cancels) }
        }
    }
}
