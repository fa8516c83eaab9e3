import Domain

/// Holds users, tenants, memberships and what people sign in with. Every call is atomic, its audit rows included.
///
/// What a call changes holds for the very next request, on every node.
public protocol AccountStore: Sendable {
    // MARK: Accounts

    /// Stores a user with a tenant of their own.
    ///
    /// - Throws: `Problem` with `email_taken`; with `registration_closed` when `onlyFirst` and some user exists.
    func create(
        _ user: User, passwordHash: String, tenant: Tenant, role: Role, onlyFirst: Bool, audit: [AuditEntry]
    ) async throws

    /// Whether nobody has registered yet.
    func isEmpty() async throws -> Bool

    func user(email: String) async throws -> (user: User, passwordHash: String)?

    func user(_ id: UserID) async throws -> User?

    /// Sets whether a user runs the platform.
    ///
    /// - Throws: `Problem` with `not_found`.
    func setOperator(_ user: UserID, _ isOperator: Bool, audit: AuditEntry) async throws

    /// Users in the order of their ids, newest first; only one with this address when it is given.
    func users(email: String?, page: PageRequest, reading: AuditEntry) async throws -> Page<User>

    // MARK: Tenants

    /// Stores a tenant with its first owner.
    func create(_ tenant: Tenant, owner: UserID, audit: AuditEntry) async throws

    func tenant(_ id: TenantID) async throws -> Tenant?

    /// All tenants, newest first.
    func tenants(page: PageRequest, reading: AuditEntry) async throws -> Page<Tenant>

    /// Changes what is given.
    ///
    /// - Throws: `Problem` with `not_found`.
    func change(tenant: TenantID, name: String?, corsOrigins: [String]?, audit: AuditEntry) async throws

    /// Whether the tenant allows the origin; any tenant when none is given, for a preflight names none.
    func allowsOrigin(_ origin: String, for tenant: TenantID?) async throws -> Bool

    // MARK: Members

    /// The memberships of a user, oldest first.
    func memberships(of user: UserID) async throws -> [Membership]

    func membership(tenant: TenantID, user: UserID) async throws -> Membership?

    /// The membership and whether the user is an operator, while the sign-in has not been ended; `nil` for the sign-in asks
    /// for the membership alone.
    func standing(tenant: TenantID, user: UserID, signIn: SignInID?) async throws -> Standing?

    /// Members of a tenant, newest account first.
    func members(tenant: TenantID, page: PageRequest) async throws -> Page<Member>

    func member(tenant: TenantID, user: UserID) async throws -> Member?

    /// - Throws: `Problem` with `not_found`, or `last_owner` when nobody would be left who owns the tenant.
    func changeRole(tenant: TenantID, user: UserID, to role: Role, audit: AuditEntry) async throws

    /// Takes the membership away, and the API keys that the user made in the tenant.
    ///
    /// - Throws: `Problem` with `not_found` or `last_owner`.
    func remove(tenant: TenantID, user: UserID, audit: AuditEntry) async throws

    // MARK: Invitations

    /// Stores an invitation; an earlier one of the same address ends.
    ///
    /// - Throws: `Problem` with `already_member`.
    func invite(tenant: TenantID, _ invitation: Invitation, tokenHash: String, audit: AuditEntry) async throws

    /// Open invitations of a tenant, newest first.
    func invitations(tenant: TenantID, page: PageRequest) async throws -> Page<Invitation>

    /// - Throws: `Problem` with `not_found`.
    func revokeInvitation(tenant: TenantID, _ id: InvitationID, audit: AuditEntry) async throws

    /// The open invitation with this token.
    func invitation(tokenHash: String, at time: Timestamp) async throws -> Invitation?

    /// Makes the invited a member, and a user first when `newUser` is given. The invitation is used up.
    ///
    /// - Throws: `Problem` with `invitation_invalid` when it was used or revoked meanwhile.
    func accept(
        _ invitation: Invitation, as user: User, newPasswordHash: String?, audit: [AuditEntry]
    ) async throws

    // MARK: Signing in

    /// Stores a sign-in with its first refresh token.
    func begin(_ token: RefreshToken, audit: AuditEntry) async throws

    /// The token, used or not, unless its sign-in has ended.
    func refreshToken(hash: String) async throws -> RefreshToken?

    /// Uses a token up and stores the next; the sign-in is for the next one's tenant from now on.
    ///
    /// - Throws: `RefreshTokenReused` when the token was used before.
    func rotate(_ token: RefreshToken, to next: RefreshToken) async throws

    /// Ends one sign-in: its tokens are no longer good.
    func end(_ signIn: SignInID, user: UserID, audit: AuditEntry) async throws

    /// Ends every sign-in of a user, but perhaps one.
    func endAll(of user: UserID, but kept: SignInID?, audit: AuditEntry) async throws

    // MARK: Passwords

    /// Sets the password and ends every sign-in but one.
    func setPassword(_ hash: String, of user: UserID, keeping signIn: SignInID?, audit: AuditEntry) async throws

    /// Lets whoever has the token set a new password; an earlier token of the user ends.
    func addPasswordReset(tokenHash: String, user: UserID, expiresAt: Timestamp, audit: AuditEntry) async throws

    /// The user whose password the token may set.
    func passwordReset(tokenHash: String, at time: Timestamp) async throws -> UserID?

    /// Sets the password by the token, which is used up, and ends every sign-in.
    ///
    /// - Throws: `Problem` with `reset_invalid` when it was used meanwhile.
    func resetPassword(tokenHash: String, user: UserID, to hash: String, audit: AuditEntry) async throws

    /// Writes audit rows that go with no change, as of a failed sign-in.
    func note(_ audit: AuditEntry) async throws

    // MARK: Other issuers

    /// The user whom an issuer knows under a subject, in a tenant, with the role as the issuer says it now. What is not there
    /// is made: the user, the membership; a role that has changed is changed.
    ///
    /// - Parameter new: the user to make, when the issuer's subject is not known.
    /// - Throws: `Problem` with `not_found` when there is no such tenant.
    func admit(
        issuer: String, subject: String, new: User, tenant: TenantID, role: Role, audit: AuditEntry
    ) async throws -> Standing
}

/// Holds the keys that access tokens are signed with.
public protocol SigningKeyStore: Sendable {
    /// The sealed signing keys that are not retired, newest first.
    func signingKeys(at time: Timestamp) async throws -> [SealedSigningKey]

    /// Stores a signing key unless there is one: of processes that start together, one brings it.
    func addFirst(_ key: SealedSigningKey) async throws

    /// Stores a further key; every other one retires at `retiring`.
    func rotate(to key: SealedSigningKey, retiring: Timestamp, audit: AuditEntry) async throws

    /// Replaces what is sealed in each key, all or none, retired ones included.
    func reseal(_ change: (SealedSigningKey) throws -> String) async throws -> Int
}

/// A private key as it rests in the database.
public struct SealedSigningKey: Hashable, Sendable {
    /// The JWK's `kid`.
    public let id: String
    /// The private key in PEM, sealed by `SecretSealer`.
    public let sealed: String
    public let createdAt: Timestamp
    /// From when on it signs; it is published before, so that whoever verifies knows it by then.
    public let activeAt: Timestamp
    /// From when on nothing it has signed is good; `nil` while no other key has taken over.
    public let retiredAt: Timestamp?

    public init(
        id: String, sealed: String, createdAt: Timestamp, activeAt: Timestamp? = nil, retiredAt: Timestamp? = nil
    ) {
        self.id = id
        self.sealed = sealed
        self.createdAt = createdAt
        self.activeAt = activeAt ?? createdAt
        self.retiredAt = retiredAt
    }
}
