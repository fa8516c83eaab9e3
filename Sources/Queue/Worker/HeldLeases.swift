import Domain
import Synchronization

/// The leases this process holds, when each ends on the monotonic clock, and how to revoke it. A job that came back to
/// this process while its old handler still runs is held twice, under two tokens.
final class HeldLeases: Sendable {
    private struct Held {
        var until: ContinuousClock.Instant
        let revoke: AsyncStream<Never>.Continuation
    }

    private struct State {
        var held: [JobLease: Held] = [:]
        var counts: [JobKind: Int] = [:]
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.held.count } }
    var counts: [JobKind: Int] { state.withLock { $0.counts } }
    var leases: [JobLease] { state.withLock { Array($0.held.keys) } }

    /// Keeps a lease; the answer ends when it is revoked.
    func insert(_ lease: JobLease, until: ContinuousClock.Instant) -> AsyncStream<Never> {
        let (revoked, continuation) = AsyncStream<Never>.makeStream()
        state.withLock { state in
            state.held[lease] = Held(until: until, revoke: continuation)
            state.counts[lease.kind, default: 0] += 1
        }
        return revoked
    }

    func remove(_ leases: [JobLease]) {
        state.withLock { state in
            for lease in leases where state.held.removeValue(forKey: lease) != nil { state.counts[lease.kind, default: 0] -= 1 }
        }
    }

    func extend(_ lease: JobLease, until: ContinuousClock.Instant) { state.withLock { $0.held[lease]?.until = until } }

    func remaining(of lease: JobLease) -> Duration {
        state.withLock { $0.held[lease].map { $0.until - .now } ?? .zero }
    }

    func revoke(_ lease: JobLease) { state.withLock { $0.held[lease]?.revoke.finish() } }

    func revokeAll() { state.withLock { state in state.held.values.forEach { $0.revoke.finish() } } }

    func revokeExpired() {
        state.withLock { state in
            for entry in state.held.values where entry.until < .now { entry.revoke.finish() }
        }
    }
}

/// A flag that is set once, from anywhere.
final class Flag: Sendable {
    private let state = Mutex(false)

    var isSet: Bool { state.withLock { $0 } }

    func set() { state.withLock { $0 = true } }
}
