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
                "runs:*", "knowledge:*", "schedules:*", "webhooks:*", "events:*", "usage:read", "audit:read", "members:*",
                "keys:*",
                "tenant:read", "tenant:write",
            ]
        case .member:
            [
                "runs:*", "knowledge:*", "schedules:*", "events:read", "events:write", "usage:read", "members:read",
                "tenant:read",
            ]
        case .viewer: ["runs:read", "knowledge:read", "schedules:read", "tenant:read"]
        }
    }

    /// What an operator may do besides, whatever the role.
    public static let operatorScopes = ["platform:*"]

    /// What an API key may be given: not what would let it outlive its revocation, as a schedule or a webhook would, or
    /// change who belongs to the tenant.
    public static let keyScopes = [
        "runs:read", "runs:write", "knowledge:read", "knowledge:write", "schedules:read", "webhooks:read", "events:read",
        "events:write", "usage:read", "audit:read", "members:read", "tenant:read",
    ]

    /// Whether a member of this role may give, change or take away `other`: nobody reaches above themselves.
    public func mayManage(_ other: Role) -> Bool { self == .owner || (self == .admin && other != .owner) }
}
