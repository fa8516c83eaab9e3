import Accounts
import Domain
import Synchronization

/// Memberships as they are in a database that this process holds alone: every change goes through here, so what is
/// remembered is never old. Asked for with every request.
final class MembershipCache: Sendable {
    private struct Key: Hashable {
        let tenant: TenantID
        let user: UserID
    }

    /// Beyond this all is forgotten, and read again as it is asked for.
    private static let maximumEntries = 10_000

    private struct State {
        /// Grows with every change: what was read before one is not kept after it.
        var generation = 0
        var memberships: [Key: Membership] = [:]
    }

    private let state = Mutex(State())

    /// The membership, read by `read` unless it is known.
    func membership(
        tenant: TenantID, user: UserID, read: () async throws -> Membership?
    ) async throws -> Membership? {
        let key = Key(tenant: tenant, user: user)
        let (known, generation) = state.withLock { ($0.memberships[key], $0.generation) }
        if let known { return known }
        guard let membership = try await read() else { return nil }
        state.withLock { state in
            guard state.generation == generation else { return }
            if state.memberships.count >= Self.maximumEntries { state.memberships = [:] }
            state.memberships[key] = membership
        }
        return membership
    }

    /// Called after every change of any membership.
    func forget() {
        state.withLock { state in
            state.generation += 1
            state.memberships = [:]
        }
    }
}
