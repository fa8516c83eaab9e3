import Domain

/// A person who can sign in.
public struct User: Hashable, Sendable {
    public let id: UserID
    /// Lowercase.
    public let email: String
    public let createdAt: Timestamp

    public init(id: UserID, email: String, createdAt: Timestamp) {
        self.id = id
        self.email = email
        self.createdAt = createdAt
    }
}

/// A customer: everything it owns is seen by its members only.
public struct Tenant: Hashable, Sendable {
    public let id: TenantID
    public let name: String
    public let createdAt: Timestamp

    public init(id: TenantID, name: String, createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.createdAt = createdAt
    }
}

/// What a member may do in a tenant, from most to least.
public enum Role: String, CaseIterable, Sendable {
    case owner
    case admin
    case member
    case viewer

    /// The scopes of whoever signs in with this role.
    public var scopes: [String] {
        switch self {
        case .owner, .admin: ["*"]
        case .member: ["runs:*", "knowledge:*"]
        case .viewer: ["runs:read", "knowledge:read"]
        }
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

/// Holds users, tenants, memberships and signing keys. Every call is atomic.
public protocol AccountStore: Sendable {
    /// Stores a user with a tenant of their own.
    ///
    /// - Throws: `Problem` with `email_taken`; with `registration_closed` when `onlyFirst` and some user exists.
    func create(_ user: User, passwordHash: String, tenant: Tenant, role: Role, onlyFirst: Bool) async throws

    /// Whether nobody has registered yet.
    func isEmpty() async throws -> Bool

    func user(email: String) async throws -> (user: User, passwordHash: String)?

    func user(_ id: UserID) async throws -> User?

    func tenant(_ id: TenantID) async throws -> Tenant?

    /// The memberships of a user, oldest first.
    func memberships(of user: UserID) async throws -> [Membership]

    func membership(tenant: TenantID, user: UserID) async throws -> Membership?

    /// The sealed signing keys, newest first.
    func signingKeys() async throws -> [SealedSigningKey]

    /// Stores a signing key unless there is one: of processes that start together, one brings it.
    func addFirst(_ key: SealedSigningKey) async throws
}

/// A private key as it rests in the database.
public struct SealedSigningKey: Hashable, Sendable {
    /// The JWK's `kid`.
    public let id: String
    /// The private key in PEM, sealed by `SecretSealer`.
    public let sealed: String
    public let createdAt: Timestamp

    public init(id: String, sealed: String, createdAt: Timestamp) {
        self.id = id
        self.sealed = sealed
        self.createdAt = createdAt
    }
}
