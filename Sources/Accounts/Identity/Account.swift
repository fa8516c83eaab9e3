import Domain

/// A person who can sign in.
public struct User: Hashable, Sendable {
    public let id: UserID
    /// Lowercase.
    public let email: String
    /// Whether the person runs the platform, whatever they are in a tenant.
    public let isOperator: Bool
    public let createdAt: Timestamp

    public init(id: UserID, email: String, isOperator: Bool = false, createdAt: Timestamp) {
        self.id = id
        self.email = email
        self.isOperator = isOperator
        self.createdAt = createdAt
    }
}

/// A customer: everything it owns is seen by its members only.
public struct Tenant: Hashable, Sendable {
    public static let nameCharacters = 1...100
    public static let maximumOrigins = 20

    public let id: TenantID
    public let name: String
    /// Origins whose pages may call the API for this tenant, as browsers send them.
    public let corsOrigins: [String]
    public let createdAt: Timestamp

    public init(id: TenantID, name: String, corsOrigins: [String] = [], createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.corsOrigins = corsOrigins
        self.createdAt = createdAt
    }
}

/// A user's place in a tenant.
public struct Membership: Hashable, Sendable {
    public let tenant: TenantID
    public let user: UserID
    public let role: Role
    /// Grows with every change; a token of an older version is no longer good.
    public let version: Int64

    public init(tenant: TenantID, user: UserID, role: Role, version: Int64) {
        self.tenant = tenant
        self.user = user
        self.role = role
        self.version = version
    }
}

/// A member as the other members see them.
public struct Member: Hashable, Sendable {
    public let user: User
    public let role: Role
    public let joinedAt: Timestamp

    public init(user: User, role: Role, joinedAt: Timestamp) {
        self.user = user
        self.role = role
        self.joinedAt = joinedAt
    }
}

/// What an authenticated request rests on: the membership as it is now, and whether its user is an operator.
public struct Standing: Hashable, Sendable {
    public let membership: Membership
    public let isOperator: Bool

    public init(membership: Membership, isOperator: Bool) {
        self.membership = membership
        self.isOperator = isOperator
    }

    /// All that the member may do now.
    public var scopes: [String] { membership.role.scopes + (isOperator ? Role.operatorScopes : []) }
}

/// An offer of a place in a tenant to whoever reads mail at an address.
public struct Invitation: Hashable, Sendable {
    public static let lifetime: Duration = .seconds(7 * 24 * 3600)

    public let id: InvitationID
    public let tenant: TenantID
    /// Lowercase.
    public let email: String
    public let role: Role
    public let createdAt: Timestamp
    public let expiresAt: Timestamp

    public init(
        id: InvitationID, tenant: TenantID, email: String, role: Role, createdAt: Timestamp,
        expiresAt: Timestamp
    ) {
        self.id = id
        self.tenant = tenant
        self.email = email
        self.role = role
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }
}
