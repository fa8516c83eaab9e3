import Domain

extension AccountService {
    /// Whoever a bearer token stands for, with the rights of now: an access token of ours or of a trusted issuer, or an API
    /// key.
    ///
    /// - Parameter wanted: another tenant of the user, to act in instead of the token's own.
    /// - Throws: `Problem` with `token_invalid` or `token_expired`; `not_found` for a tenant that the user does not belong to.
    public func authenticate(
        token: String, tenant wanted: TenantID? = nil, requester: Requester
    ) async throws -> Principal {
        if let key = OpaqueToken(token, .apiKey) { return try await principal(of: key, wanted) }
        if let issuer = issuers.issuer(of: token) { return try await principal(of: token, by: issuer, wanted, requester) }
        let verified = try await tokens.verify(token)
        let tenant = wanted ?? verified.tenant
        guard let standing = try await store.standing(tenant: tenant, user: verified.user, signIn: verified.signIn) else {
            // Whose sign-in holds learns that it is the tenant that is wrong.
            guard tenant != verified.tenant,
                try await store.standing(tenant: verified.tenant, user: verified.user, signIn: verified.signIn) != nil
            else { throw TokenService.invalid }
            throw Self.noSuchTenant
        }
        guard tenant != verified.tenant || standing.membership.version == verified.membershipVersion else {
            throw TokenService.invalid
        }
        return Principal(
            tenant: tenant, user: verified.user, scopes: standing.scopes, credential: .signIn(verified.signIn))
    }

    /// How often the use of a key is noted at most.
    private static let touchInterval: Duration = .seconds(60)

    private func principal(of token: OpaqueToken, _ wanted: TenantID?) async throws -> Principal {
        let now = ambient.now()
        guard let (key, role) = try await keys.key(hash: token.hash) else {
            throw Problem(.tokenInvalid, "The API key is not good (any more).")
        }
        if let expiry = key.expiresAt, expiry <= now { throw Problem(.tokenExpired, "The API key has expired.") }
        guard wanted == nil || wanted == key.tenant else { throw Self.noSuchTenant }
        if key.lastUsedAt.map({ now.duration(since: $0) >= Self.touchInterval }) ?? true {
            try await keys.touch(tenant: key.tenant, key.id, at: now)
        }
        // Never more than its maker may do now.
        let maker = Principal(tenant: key.tenant, user: key.user, scopes: role.scopes)
        return Principal(
            tenant: key.tenant, user: key.user, scopes: key.scopes.filter { maker.may($0) }, credential: .apiKey(key.id))
    }

    private func principal(
        of token: String, by issuer: TrustedIssuer, _ wanted: TenantID?, _ requester: Requester
    ) async throws -> Principal {
        let identity = try await issuers.verify(token, by: issuer, now: ambient.now())
        guard let role = identity.role else {
            throw Problem(.forbidden, "The token's issuer gives you no role here.")
        }
        guard let tenant = identity.tenant, wanted == nil || wanted == tenant else { throw Self.noSuchTenant }
        let now = ambient.now()
        let id = UserID(ambient.makeID())
        // Whoever has no address here gets one that is nobody's (RFC 2606).
        let user = User(id: id, email: identity.email ?? "\(id)@external.invalid", createdAt: now)
        let standing = try await store.admit(
            issuer: issuer.issuer, subject: identity.subject, new: user, tenant: tenant, role: role,
            audit: entry(
                .memberAdmitted, in: tenant, by: requester,
                details: ["issuer": .string(issuer.issuer), "role": .string(role.rawValue)]))
        return Principal(
            tenant: tenant, user: standing.membership.user, scopes: standing.membership.role.scopes, credential: .issuer)
    }

    /// The principal's user, tenant and role, and every tenant that its credential is good for, the oldest membership first.
    public func identity(
        of principal: Principal
    ) async throws -> (user: User, tenant: Tenant, role: Role, tenants: [(tenant: Tenant, role: Role)]) {
        guard let user = try await store.user(principal.user) else { throw TokenService.invalid }
        var memberships = try await store.memberships(of: user.id)
        // A credential that is good for one tenant tells of no other.
        if case .signIn = principal.credential {} else { memberships.removeAll { $0.tenant != principal.tenant } }
        var tenants: [(tenant: Tenant, role: Role)] = []
        for membership in memberships {
            if let tenant = try await store.tenant(membership.tenant) { tenants.append((tenant, membership.role)) }
        }
        guard let current = tenants.first(where: { $0.tenant.id == principal.tenant }) else { throw TokenService.invalid }
        return (user, current.tenant, current.role, tenants)
    }

    /// Whether the principal is still a member and its scopes, and its role's now, hold `scope`.
    public func isAllowed(_ principal: Principal, scope: String?) async throws -> Bool {
        guard let membership = try await store.membership(tenant: principal.tenant, user: principal.user) else {
            return false
        }
        guard let scope else { return true }
        let now = Principal(tenant: principal.tenant, user: principal.user, scopes: membership.role.scopes)
        return principal.may(scope) && now.may(scope)
    }
}
