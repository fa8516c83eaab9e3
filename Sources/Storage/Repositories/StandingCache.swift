import Accounts
import Domain
import Synchronization

/// What authenticated requests rest on, as it is in a database that this process holds alone: every change goes through
/// here, so what is remembered is never old. Asked for with every request.
final class StandingCache: Sendable {
    struct Key: Hashable {
        let tenant: TenantID
        let user: UserID
        let signIn: SignInID?
    }

    /// Beyond this all is forgotten, and read again as it is asked for.
    private static let maximumEntries = 10_000

    private struct State {
        /// Grows with every change: what was read before one is not kept after it.
        var generation = 0
        var standings: [Key: Standing] = [:]
    }

    private let state = Mutex(State())

    /// The standing, read by `read` unless it is known.
    func standing(_ key: Key, read: () async throws -> Standing?) async throws -> Standing? {
        let (known, generation) = state.withLock { ($0.standings[key], $0.generation) }
        if let known { return known }
        guard let standing = try await read() else { return nil }
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.standings.count >= Self.maximumEntries { state.standings = [:] }
            state.standings[key] = standing
        }
        return standing
    }

    /// Called after every change of any membership, operator or sign-in.
    func forget() {
        state.withLock { state in
            state.generation += 1
            state.standings = [:]
        }
    }
}
