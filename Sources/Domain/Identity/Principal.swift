/// Who acts, in which tenant, and what they may do. A run stores the principal that started it.
public struct Principal: Hashable, Sendable {
    /// How the principal was recognised.
    public enum Credential: Hashable, Sendable {
        /// A person who signed in here.
        case signIn(SignInID)
        /// A person whom another issuer vouches for.
        case issuer
        case apiKey(APIKeyID)
        /// The principal of a run, which acts later and by itself.
        case stored
    }

    public let tenant: TenantID
    public let user: UserID
    /// What the principal may do, as `resource:action` (`runs:write`); `*` is everything in the tenant.
    public let scopes: [String]
    public let credential: Credential

    public init(tenant: TenantID, user: UserID, scopes: [String], credential: Credential = .stored) {
        self.tenant = tenant
        self.user = user
        self.scopes = scopes
        self.credential = credential
    }

    /// What concerns the platform and not one tenant, which `*` therefore does not hold.
    private static let platform = "platform:"

    /// Whether the scopes hold `scope`, `resource:*` or `*`.
    public func may(_ scope: String) -> Bool {
        scopes.contains { granted in
            granted == scope || (granted == "*" && !scope.hasPrefix(Self.platform))
                || (granted.hasSuffix(":*") && scope.hasPrefix(granted.dropLast()))
        }
    }
}
