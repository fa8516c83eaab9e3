import Domain

/// The keys that access tokens are signed with, opened; makes the first one.
public struct SigningKeys: Sendable {
    /// A new key is published this long before it signs: those who keep the JWK set, and our own other processes, know it by
    /// then.
    public static let publishing: Duration = .seconds(360)
    /// How long after another has taken over a key still verifies: the life of a token, and a margin for clocks.
    private static let overlap: Duration = TokenService.lifetime + .seconds(300)

    private let store: any SigningKeyStore
    private let sealer: SecretSealer
    private let ambient: Ambient

    public init(store: any SigningKeyStore, sealer: SecretSealer, ambient: Ambient) {
        self.store = store
        self.sealer = sealer
        self.ambient = ambient
    }

    /// - Throws: `Problem` when a stored key was sealed under a master key that is not ours.
    public func load() async throws -> [SigningKey] {
        if try await store.signingKeys(at: ambient.now()).isEmpty { try await store.addFirst(try make(activeIn: .zero)) }
        return try await store.signingKeys(at: ambient.now()).map { key in
            SigningKey(
                id: key.id, pem: try sealer.open(key.sealed, row: Self.row(key.id)), activeAt: key.activeAt,
                retiredAt: key.retiredAt)
        }
    }

    /// Adds a key that takes over after `publishing`; those before it retire once nothing they signed is good any more.
    public func rotate(audit: AuditEntry) async throws {
        let key = try make(activeIn: Self.publishing)
        try await store.rotate(to: key, retiring: key.activeAt.adding(Self.overlap), audit: audit)
    }

    /// Seals every key anew, under the sealer's first master key; answers how many.
    public func reseal() async throws -> Int {
        try await store.reseal { key in
            try sealer.seal(try sealer.open(key.sealed, row: Self.row(key.id)), row: Self.row(key.id))
        }
    }

    private func make(activeIn delay: Duration) throws -> SealedSigningKey {
        let id = "\(Identifier<Void>(ambient.makeID()))"
        let now = ambient.now()
        return SealedSigningKey(
            id: id, sealed: try sealer.seal(TokenService.makeKey(), row: Self.row(id)), createdAt: now,
            activeAt: now.adding(delay))
    }

    private static func row(_ id: String) -> String { "signing_keys/\(id)" }
}
