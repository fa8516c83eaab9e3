import Domain
import Synchronization

/// The leases this process holds, when each ends on the monotonic clock, and how to revoke it. A job that came back to
/// this process while its old handler still runs is held twice, under two tokens.
final class HeldLeases: Sendable {
    private struct Held {
        var until: ContinuousClock.Instant
        let revoke: AsyncStream<Never>.Continuation
    }

    private let state = Mutex<[JobLease: Held]>([:])

    var count: Int { state.withLock { $0.count } }
    var leases: [JobLease] { state.withLock { Array($0.keys) } }

    /// Keeps a lease; the answer ends when it is revoked.
    func insert(_ lease: JobLease, until: ContinuousClock.Instant) -> AsyncStream<Never> {
        let (revoked, continuation) = AsyncStream<Never>.makeStream()
        state.withLock { $0[lease] = Held(until: until, revoke: continuation) }
        return revoked
    }

    func remove(_ lease: JobLease) { state.withLock { _ = $0.removeValue(forKey: lease) } }

    func extend(_ lease: JobLease, until: ContinuousClock.Instant) { state.withLock { $0[lease]?.until = until } }

    func remaining(of lease: JobLease) -> Duration {
        state.withLock { $0[lease].map { $0.until - .now } ?? .zero }
    }

    func revoke(_ lease: JobLease) { state.withLock { $0[lease]?.revoke.finish() } }

    func revokeAll() { state.withLock { held in held.values.forEach { $0.revoke.finish() } } }

    func revokeExpired() {
        state.withLock { held in
            for entry in held.values where entry.until < .now { entry.revoke.finish() }
        }
    }
}

/// A flag that is set once, from anywhere.
final class Flag: Sendable {
    private let state = Mutex(false)

    var isSet: Bool { state.withLock { $0 } }

    func set() { state.withLock { $0 = true } }
}
