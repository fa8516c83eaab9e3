import Domain
import Foundation

/// Who may create accounts.
public enum RegistrationPolicy: String, CaseIterable, Sendable {
    /// The first account only; registration closes by itself once it exists.
    case first
    case open
    case closed
}

/// How often may be tried what takes a password or a secret.
public struct SignInLimits: Sendable {
    /// Tries from one address, whatever the account.
    public var address = RateLimit(count: 60, per: .seconds(60))
    /// Failed tries of one account, from wherever.
    public var account = RateLimit(count: 10, per: .seconds(15 * 60))

    public init() {}
}

/// Registers, signs in and authenticates people, and lets programs in by their keys.
public struct AccountService: Sendable {
    let store: any AccountStore
    let keys: any APIKeyStore
    let hasher: PasswordHasher
    let tokens: TokenService
    let signingKeys: SigningKeys
    let issuers: TrustedIssuers
    let policy: RegistrationPolicy
    let mailer: any Mailer
    let limiter: any RateLimiter
    let limits: SignInLimits
    let publicURL: String
    let ambient: Ambient

    /// - Parameters:
    ///   - issuers: whose tokens are good here besides our own.
    ///   - limiter: counts tries of passwords and secrets.
    ///   - publicURL: where people reach the server, for links in mail.
    public init(
        store: any AccountStore, keys: any APIKeyStore, hasher: PasswordHasher, tokens: TokenService,
        signingKeys: SigningKeys, issuers: TrustedIssuers = TrustedIssuers([]), policy: RegistrationPolicy, mailer: any Mailer,
        limiter: any RateLimiter, limits: SignInLimits = SignInLimits(), publicURL: String = "",
        ambient: Ambient = .system
    ) {
        self.store = store
        self.keys = keys
        self.hasher = hasher
        self.tokens = tokens
        self.signingKeys = signingKeys
        self.issuers = issuers
        self.policy = policy
        self.mailer = mailer
        self.limiter = limiter
        self.limits = limits
        self.publicURL = publicURL
        self.ambient = ambient
    }

    /// The public keys of access tokens (RFC 7517).
    public var jwks: JSONValue { tokens.jwks }

    public var now: Timestamp { ambient.now() }

    /// Takes over signing keys that other processes have added.
    public func reloadSigningKeys() async throws { try await tokens.use(try await signingKeys.load()) }

    /// Adds a signing key, which takes over once everybody can know it; answers all that are good.
    public func rotateSigningKey(requester: Requester) async throws -> [SigningKey] {
        try await signingKeys.rotate(audit: entry(.signingKeyRotated, in: nil, by: requester))
        let keys = try await signingKeys.load()
        try await tokens.use(keys)
        return keys
    }

    // MARK: Registering

    /// Makes an account with a tenant of its own, whose owner it is.
    ///
    /// - Throws: `Problem` with `registration_closed`, `email_taken`, `rate_limited` or `overloaded`.
    public func register(
        email: String, password: String, tenantName: String, requester: Requester
    ) async throws -> SignIn {
        guard policy != .closed else { throw Self.closed }
        if policy == .first, try await !store.isEmpty() { throw Self.closed }
        try await limit(account: email, requester)
        return try await create(
            email: email, password: password, tenantName: tenantName, onlyFirst: policy == .first, requester)
    }

    /// Makes the very first account, whatever the policy, and lets it run the platform; answers `nil` when one exists.
    public func createFirst(email: String, password: String, tenantName: String) async throws -> SignIn? {
        guard try await store.isEmpty() else { return nil }
        do {
            return try await create(
                email: email, password: password, tenantName: tenantName, onlyFirst: true, .server)
        } catch let problem as Problem where problem.code == .registrationClosed {
            // Another process that started at the same time has made it.
            return nil
        }
    }

    static let closed = Problem(
        .registrationClosed, "This server takes no registrations. Ask whoever runs it for an account.")

    private func create(
        email: String, password: String, tenantName: String, onlyFirst: Bool, _ requester: Requester
    ) async throws -> SignIn {
        let hash = try await hasher.hash(password)
        let now = ambient.now()
        // Whoever is first runs the platform: nobody else could make them.
        let user = User(
            id: UserID(ambient.makeID()), email: Self.normalized(email), isOperator: onlyFirst, createdAt: now)
        let tenant = Tenant(id: TenantID(ambient.makeID()), name: tenantName, createdAt: now)
        var requester = requester
        requester.user = user.id
        try await store.create(
            user, passwordHash: hash, tenant: tenant, role: .owner, onlyFirst: onlyFirst,
            audit: [
                entry(.userRegistered, in: tenant.id, by: requester, target: "user/\(user.id)"),
                entry(.tenantCreated, in: tenant.id, by: requester, target: "tenant/\(tenant.id)"),
            ])
        let membership = Membership(tenant: tenant.id, user: user.id, role: .owner, version: 1)
        return try await begin(user, membership, requester)
    }

    // MARK: Signing in

    /// Signs in to the tenant that is wanted, else to the one that the user has belonged to for longest.
    ///
    /// - Throws: `Problem` with `invalid_credentials`, the same for an unknown address and a wrong password, `not_found` for
    ///   a tenant that the user does not belong to, `rate_limited` or `overloaded`.
    public func login(
        email: String, password: String, tenant: TenantID? = nil, requester: Requester
    ) async throws -> SignIn {
        try await limit(account: email, requester)
        let found = try await store.user(email: Self.normalized(email))
        let isRight = try await hasher.verify(password, against: found?.passwordHash)
        let memberships = if let found { try await store.memberships(of: found.user.id) } else { [Membership]() }
        guard let found, isRight, let oldest = memberships.first else {
            if let found, let tenant = memberships.first?.tenant {
                try await store.note(
                    entry(.signInFailed, in: tenant, by: requester, target: "user/\(found.user.id)"))
            }
            throw Self.invalidCredentials
        }
        try await pardon(account: email)
        let membership = try select(tenant, among: memberships) ?? oldest
        var requester = requester
        requester.user = found.user.id
        return try await begin(found.user, membership, requester)
    }

    static let invalidCredentials = Problem(.invalidCredentials, "The address or the password is wrong.")

    private func select(_ tenant: TenantID?, among memberships: [Membership]) throws(Problem) -> Membership? {
        guard let tenant else { return nil }
        guard let membership = memberships.first(where: { $0.tenant == tenant }) else { throw Self.noSuchTenant }
        return membership
    }

    static let noSuchTenant = Problem(.notFound, "There is no such tenant among those that you belong to.")

    /// Begins a sign-in, whose refresh tokens follow one another.
    func begin(_ user: User, _ membership: Membership, _ requester: Requester) async throws -> SignIn {
        let token = OpaqueToken(.refresh)
        let stored = refreshToken(token, signIn: SignInID(ambient.makeID()), membership)
        try await store.begin(
            stored, audit: entry(.signedIn, in: membership.tenant, by: requester, target: "sign_in/\(stored.signIn)"))
        return try await signIn(user, membership, stored.signIn, token)
    }

    private func refreshToken(_ token: OpaqueToken, signIn: SignInID, _ membership: Membership) -> RefreshToken {
        RefreshToken(
            hash: token.hash, signIn: signIn, user: membership.user, tenant: membership.tenant,
            expiresAt: ambient.now().adding(RefreshToken.lifetime))
    }

    private func signIn(
        _ user: User, _ membership: Membership, _ signIn: SignInID, _ token: OpaqueToken
    ) async throws -> SignIn {
        guard let tenant = try await store.tenant(membership.tenant) else { throw TokenService.invalid }
        return SignIn(
            user: user, tenant: tenant, role: membership.role,
            accessToken: try await tokens.issue(membership, signIn: signIn), refreshToken: token.text)
    }

    /// Uses a refresh token up for the next one and a new access token, perhaps for another tenant of the user.
    ///
    /// A token that is used a second time ends its sign-in: whoever has stolen it, or whoever it was stolen from, is out.
    ///
    /// - Throws: `Problem` with `token_invalid`, `token_expired`, `rate_limited`, or `not_found` for the tenant.
    public func refresh(token text: String, tenant: TenantID? = nil, requester: Requester) async throws -> SignIn {
        try await limit(account: nil, requester)
        guard let token = OpaqueToken(text, .refresh), let stored = try await store.refreshToken(hash: token.hash),
            let user = try await store.user(stored.user)
        else { throw Self.invalidRefresh }
        var requester = requester
        requester.user = stored.user
        // By id: whoever fails to sign in as somebody must not keep them from staying signed in.
        let account = "\(user.id)"
        try await limit(account: account)
        guard !stored.isUsed else { throw try await endStolen(stored, requester) }
        guard stored.expiresAt > ambient.now() else {
            throw Problem(.tokenExpired, "The refresh token has expired. Sign in again.")
        }
        let memberships = try await store.memberships(of: user.id)
        let current = memberships.first { $0.tenant == stored.tenant } ?? memberships.first
        guard let membership = try select(tenant, among: memberships) ?? current else { throw Self.invalidRefresh }
        let next = OpaqueToken(.refresh)
        do {
            try await store.rotate(stored, to: refreshToken(next, signIn: stored.signIn, membership))
        } catch is RefreshTokenReused {
            throw try await endStolen(stored, requester)
        }
        try await pardon(account: account)
        return try await signIn(user, membership, stored.signIn, next)
    }

    private static let invalidRefresh = Problem(.tokenInvalid, "The refresh token is not good (any more). Sign in again.")

    private func endStolen(_ token: RefreshToken, _ requester: Requester) async throws -> Problem {
        try await store.end(
            token.signIn, user: token.user,
            audit: entry(.refreshTokenReused, in: token.tenant, by: requester, target: "sign_in/\(token.signIn)"))
        return Self.invalidRefresh
    }

    /// Ends the principal's sign-in.
    public func logout(_ principal: Principal, requester: Requester) async throws {
        guard case .signIn(let id) = principal.credential else { throw Self.onlyPeople }
        try await store.end(
            id, user: principal.user,
            audit: entry(.signedOut, in: principal.tenant, by: requester, target: "sign_in/\(id)"))
    }

    /// Ends every sign-in of the principal's user.
    public func logoutEverywhere(_ principal: Principal, requester: Requester) async throws {
        guard case .signIn = principal.credential else { throw Self.onlyPeople }
        try await store.endAll(
            of: principal.user, but: nil,
            audit: entry(.signedOutEverywhere, in: principal.tenant, by: requester, target: "user/\(principal.user)"))
    }

    public static let onlyPeople = Problem(
        .forbidden, "This is for people who signed in here: an API key, or a token of another issuer, cannot do it.")

    // MARK: What the others need

    func entry(
        _ action: AuditAction, in tenant: TenantID?, by requester: Requester, target: String? = nil,
        details: JSONValue = [:]
    ) -> AuditEntry {
        AuditEntry(
            id: AuditID(ambient.makeID()), tenant: tenant, requester: requester, action: action, target: target,
            details: details, time: ambient.now())
    }

    /// Counts one more try of a password or a secret, from the address and, if one is given, of the account.
    ///
    /// - Throws: `Problem` with `rate_limited`, the same whether the account exists or not.
    func limit(account: String?, _ requester: Requester? = nil) async throws {
        var counted: [(String, RateLimit)] = []
        if let address = requester?.address { counted.append(("sign-in/address/\(Self.network(of: address))", limits.address)) }
        if let account { counted.append((Self.key(account), limits.account)) }
        for (key, limit) in counted {
            if let wait = try await limiter.take(key, limit) {
                throw Problem(.rateLimited, "Too many tries. Wait, then try again.", retryAfter: wait)
            }
        }
    }

    /// Whoever has an IPv6 address has 2^64 of them (RFC 6177): they count as one.
    private static func network(of address: String) -> String {
        var bytes = in6_addr()
        guard inet_pton(AF_INET6, address, &bytes) == 1 else { return address }
        return withUnsafeBytes(of: &bytes) { $0.prefix(8).hexadecimal }
    }

    private static func key(_ account: String) -> String { "sign-in/account/\(normalized(account))" }

    /// The try was right: it does not count against the account.
    func pardon(account: String) async throws { try await limiter.giveBack(Self.key(account), limits.account) }

    static func normalized(_ email: String) -> String { email.lowercased() }

    /// A name, one `@`, and a host with a dot; at most 254 characters (RFC 5321), no white space.
    public static func isEmail(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard text.utf8.count <= 254, parts.count == 2, !parts[0].isEmpty,
            !text.contains(where: { $0.isWhitespace || $0.unicodeScalars.contains { $0.value < 33 } })
        else { return false }
        let labels = parts[1].split(separator: ".", omittingEmptySubsequences: false)
        return labels.count >= 2 && labels.allSatisfy { !$0.isEmpty }
    }
}
