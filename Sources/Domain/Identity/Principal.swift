/// Who acts, in which tenant, and what they may do. A run stores the principal that started it.
public struct Principal: Hashable, Sendable {
    public let tenant: TenantID
    public let user: UserID
    /// What the principal may do, as `resource:action` (`runs:write`); `*` is everything in the tenant.
    public let scopes: [String]

    public init(tenant: TenantID, user: UserID, scopes: [String]) {
        self.tenant = tenant
        self.user = user
        self.scopes = scopes
    }

    /// Whether the scopes hold `scope`, `resource:*` or `*`.
    public func may(_ scope: String) -> Bool {
        scopes.contains { granted in
            granted == "*" || granted == scope
                || (granted.hasSuffix(":*") && scope.hasPrefix(granted.dropLast()))
        }
    }
}
