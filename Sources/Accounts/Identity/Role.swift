import Domain

/// What a member may do in a tenant, from most to least.
public enum Role: String, CaseIterable, Sendable {
    case owner
    case admin
    case member
    case viewer

    /// The scopes of whoever signs in with this role. openapi.yaml has the same as a table.
    public var scopes: [String] {
        switch self {
        case .owner: ["*"]
        case .admin:
            [
                "runs:*", "knowledge:*", "usage:read", "audit:read", "members:*", "keys:*", "tenant:read", "tenant:write",
            ]
        case .member: ["runs:*", "knowledge:*", "usage:read", "members:read", "tenant:read"]
        case .viewer: ["runs:read", "knowledge:read", "tenant:read"]
        }
    }

    /// What an operator may do besides, whatever the role.
    public static let operatorScopes = ["platform:*"]

    /// What an API key may be given: not what would let it outlive its revocation or change who belongs to the tenant.
    public static let keyScopes = [
        "runs:read", "runs:write", "knowledge:read", "knowledge:write", "usage:read", "audit:read", "members:read",
        "tenant:read",
    ]

    /// Whether a member of this role may give, change or take away `other`: nobody reaches above themselves.
    public func mayManage(_ other: Role) -> Bool { self == .owner || (self == .admin && other != .owner) }
}
