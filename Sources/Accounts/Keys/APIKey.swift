import Domain

/// A credential of a program, made by a member, that may do a part of what the member may.
public struct APIKey: Hashable, Sendable {
    public static let nameCharacters = 1...100
    /// Keys of one tenant that are good at one time.
    public static let maximumPerTenant = 100

    public let id: APIKeyID
    public let tenant: TenantID
    /// Who made it; it is good while they are a member.
    public let user: UserID
    public let name: String
    /// The start of the key, to tell keys apart.
    public let prefix: String
    public let scopes: [String]
    public let createdAt: Timestamp
    public let expiresAt: Timestamp?
    public let revokedAt: Timestamp?
    /// To the minute.
    public let lastUsedAt: Timestamp?

    public init(
        id: APIKeyID, tenant: TenantID, user: UserID, name: String, prefix: String, scopes: [String], createdAt: Timestamp,
        expiresAt: Timestamp?, revokedAt: Timestamp? = nil, lastUsedAt: Timestamp? = nil
    ) {
        self.id = id
        self.tenant = tenant
        self.user = user
        self.name = name
        self.prefix = prefix
        self.scopes = scopes
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.revokedAt = revokedAt
        self.lastUsedAt = lastUsedAt
    }
}

/// Holds API keys, of which it knows a hash only. Every call is atomic, its audit row included.
public protocol APIKeyStore: Sendable {
    /// - Throws: `Problem` with `invalid_request` when the tenant has `maximumPerTenant` keys already.
    func add(tenant: TenantID, _ key: APIKey, hash: String, audit: AuditEntry) async throws

    /// Keys of a tenant, newest first, revoked ones included.
    func keys(tenant: TenantID, page: PageRequest) async throws -> Page<APIKey>

    /// - Throws: `Problem` with `not_found`, also when it was revoked before.
    func revoke(tenant: TenantID, _ id: APIKeyID, at time: Timestamp, audit: AuditEntry) async throws

    /// The key with this hash and the role that its maker has now, unless it was revoked or its maker has left.
    func key(hash: String) async throws -> (key: APIKey, role: Role)?

    /// Notes that the key was used.
    func touch(tenant: TenantID, _ id: APIKeyID, at time: Timestamp) async throws
}
