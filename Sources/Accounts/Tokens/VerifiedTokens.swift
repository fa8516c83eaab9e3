import Domain
import Synchronization

/// Tokens whose signature was found good, with when they expire: a client sends the same one many times. Membership and
/// expiry are checked each time all the same.
final class VerifiedTokens: Sendable {
    typealias Entry = (TokenService.Verified, expiry: Timestamp)

    /// Each of two generations holds this many; the older one goes when the newer is full.
    private static let maximumEntries = 5000

    private struct State: Sendable {
        var newer: [String: Entry] = [:]
        var older: [String: Entry] = [:]
    }

    private let state = Mutex(State())

    /// The entry of a token; what `verify` throws is not kept.
    func value(for token: String, verify: () async throws -> Entry) async throws -> Entry {
        if let known = state.withLock({ $0.newer[token] ?? $0.older[token] }) { return known }
        let entry = try await verify()
        state.withLock { state in
            if state.newer.count >= Self.maximumEntries { (state.older, state.newer) = (state.newer, [:]) }
            state.newer[token] = entry
        }
        return entry
    }
}
