import Domain

extension AccountService {
    // MARK: Tenants

    /// Makes a further tenant, which the principal's user owns: whoever may register may do so, and operators.
    ///
    /// - Throws: `Problem` with `registration_closed`.
    public func createTenant(named name: String, _ principal: Principal, requester: Requester) async throws -> Tenant {
        guard policy == .open || principal.may("platform:write") else { throw Self.closed }
        let tenant = Tenant(id: TenantID(ambient.makeID()), name: name, createdAt: ambient.now())
        try await store.create(
            tenant, owner: principal.user,
            audit: entry(.tenantCreated, in: tenant.id, by: requester, target: "tenant/\(tenant.id)"))
        return tenant
    }

    /// Changes the principal's tenant.
    public func changeTenant(
        _ principal: Principal, name: String?, corsOrigins: [String]?, requester: Requester
    ) async throws -> Tenant {
        var changed: [JSONValue] = []
        if name != nil { changed.append("name") }
        if corsOrigins != nil { changed.append("corsOrigins") }
        try await store.change(
            tenant: principal.tenant, name: name, corsOrigins: corsOrigins,
            audit: entry(
                .tenantChanged, in: principal.tenant, by: requester, target: "tenant/\(principal.tenant)",
                details: ["changed": .array(changed)]))
        return try await tenant(principal.tenant)
    }

    /// - Throws: `Problem` with `not_found`.
    public func tenant(_ id: TenantID) async throws -> Tenant {
        guard let tenant = try await store.tenant(id) else { throw Problem.notFound("tenant") }
        return tenant
    }

    /// Whether pages of this origin may call the API for the tenant; for any tenant when none is given.
    public func allowsOrigin(_ origin: String, for tenant: TenantID?) async throws -> Bool {
        try await store.allowsOrigin(origin, for: tenant)
    }

    // MARK: Members

    public func members(_ principal: Principal, page: PageRequest) async throws -> Page<Member> {
        try await store.members(tenant: principal.tenant, page: page)
    }

    /// - Throws: `Problem` with `not_found`.
    public func member(_ principal: Principal, _ user: UserID) async throws -> Member {
        guard let member = try await store.member(tenant: principal.tenant, user: user) else {
            throw Problem.notFound("user")
        }
        return member
    }

    /// The role of the principal's user, which decides whom they may manage.
    private func role(of principal: Principal) async throws -> Role {
        let membership = try await store.membership(tenant: principal.tenant, user: principal.user)
        guard let membership else { throw TokenService.invalid }
        return membership.role
    }

    private func checkManages(_ principal: Principal, _ roles: [Role]) async throws {
        let own = try await role(of: principal)
        guard roles.allSatisfy({ own.mayManage($0) }) else {
            throw Problem(.forbidden, "Only an owner may give, change or take away the role of an owner.")
        }
    }

    /// - Throws: `Problem` with `not_found`, `forbidden` above oneself, or `last_owner`.
    public func changeRole(
        _ principal: Principal, of user: UserID, to role: Role, requester: Requester
    ) async throws -> Member {
        let member = try await member(principal, user)
        try await checkManages(principal, [member.role, role])
        try await store.changeRole(
            tenant: principal.tenant, user: user, to: role,
            audit: entry(
                .memberRoleChanged, in: principal.tenant, by: requester, target: "user/\(user)",
                details: ["from": .string(member.role.rawValue), "to": .string(role.rawValue)]))
        return try await self.member(principal, user)
    }

    /// Takes a membership away, at once: tokens and API keys of the user are no longer good in this tenant.
    ///
    /// - Throws: `Problem` with `not_found`, `forbidden` above oneself, or `last_owner`.
    public func remove(_ principal: Principal, _ user: UserID, requester: Requester) async throws {
        let member = try await member(principal, user)
        try await checkManages(principal, [member.role])
        try await store.remove(
            tenant: principal.tenant, user: user,
            audit: entry(.memberRemoved, in: principal.tenant, by: requester, target: "user/\(user)"))
    }

    // MARK: Invitations

    /// Offers a place in the tenant, by mail and by the token that is answered once.
    ///
    /// - Throws: `Problem` with `already_member` or `forbidden`.
    public func invite(
        _ principal: Principal, email: String, role: Role, requester: Requester
    ) async throws -> (invitation: Invitation, token: String) {
        try await checkManages(principal, [role])
        let now = ambient.now()
        let token = OpaqueToken(.invitation)
        let invitation = Invitation(
            id: InvitationID(ambient.makeID()), tenant: principal.tenant, email: Self.normalized(email), role: role,
            createdAt: now, expiresAt: now.adding(Invitation.lifetime))
        try await store.invite(
            tenant: principal.tenant, invitation, tokenHash: token.hash,
            audit: entry(
                .memberInvited, in: principal.tenant, by: requester, target: "invitation/\(invitation.id)",
                details: ["role": .string(role.rawValue)]))
        let tenant = try await tenant(principal.tenant)
        // The mailer tells its log what went wrong; whoever invites has the token in any case.
        try? await mailer.send(
            Mail(
                to: invitation.email, tenant: tenant.id, subject: "You are invited to \(tenant.name)",
                text: """
                    You are invited to join \(tenant.name) at \(publicURL) as \(role.rawValue).
                    This token lets you do it, once and within seven days:

                    \(token.text)
                    """))
        return (invitation, token.text)
    }

    public func invitations(_ principal: Principal, page: PageRequest) async throws -> Page<Invitation> {
        try await store.invitations(tenant: principal.tenant, page: page)
    }

    /// - Throws: `Problem` with `not_found`.
    public func revokeInvitation(_ principal: Principal, _ id: InvitationID, requester: Requester) async throws {
        try await store.revokeInvitation(
            tenant: principal.tenant, id,
            audit: entry(.invitationRevoked, in: principal.tenant, by: requester, target: "invitation/\(id)"))
    }

    /// Takes the offered place. Whoever has an account at the address gives its password; whoever has none chooses one.
    ///
    /// - Throws: `Problem` with `invitation_invalid`, `invalid_credentials`, `already_member`, `rate_limited`, `overloaded`.
    public func acceptInvitation(token text: String, password: String, requester: Requester) async throws -> SignIn {
        try await limit(account: nil, requester)
        guard let token = OpaqueToken(text, .invitation),
            let invitation = try await store.invitation(tokenHash: token.hash, at: ambient.now())
        else { throw Problem(.invitationInvalid, "The invitation is unknown, used up, revoked or too old.") }
        try await limit(account: invitation.email)
        let known = try await store.user(email: invitation.email)
        let newHash: String?
        if let known {
            guard try await hasher.verify(password, against: known.passwordHash) else { throw Self.invalidCredentials }
            try await pardon(account: invitation.email)
            newHash = nil
        } else {
            guard PasswordHasher.passwordLength.contains(password.unicodeScalars.count) else {
                let length = PasswordHasher.passwordLength
                throw Problem(
                    .invalidRequest, "password must have \(length.lowerBound) to \(length.upperBound) characters.")
            }
            newHash = try await hasher.hash(password)
        }
        let user = known?.user ?? User(id: UserID(ambient.makeID()), email: invitation.email, createdAt: ambient.now())
        var requester = requester
        requester.user = user.id
        let joined = entry(.memberJoined, in: invitation.tenant, by: requester, target: "user/\(user.id)")
        let registered = entry(.userRegistered, in: invitation.tenant, by: requester, target: "user/\(user.id)")
        try await store.accept(
            invitation, as: user, newPasswordHash: newHash, audit: newHash == nil ? [joined] : [registered, joined])
        guard let membership = try await store.membership(tenant: invitation.tenant, user: user.id) else {
            throw TokenService.invalid
        }
        return try await begin(user, membership, requester)
    }

    // MARK: API keys

    /// Makes a key that may do a part of what the principal may. The key itself is answered once.
    ///
    /// - Throws: `Problem` with `forbidden` for what the principal may not do itself.
    public func createKey(
        _ principal: Principal, name: String, scopes: [String], expiresAt: Timestamp?, requester: Requester
    ) async throws -> (key: APIKey, text: String) {
        if let beyond = scopes.first(where: { !principal.may($0) }) {
            throw Problem(.forbidden, "A key cannot have the permission \(beyond), which you do not have.")
        }
        let token = OpaqueToken(.apiKey)
        let key = APIKey(
            id: APIKeyID(ambient.makeID()), tenant: principal.tenant, user: principal.user, name: name,
            prefix: token.prefix, scopes: scopes, createdAt: ambient.now(), expiresAt: expiresAt)
        try await keys.add(
            tenant: principal.tenant, key, hash: token.hash,
            audit: entry(
                .keyCreated, in: principal.tenant, by: requester, target: "api_key/\(key.id)",
                details: ["scopes": .array(scopes.map { .string($0) })]))
        return (key, token.text)
    }

    public func keys(_ principal: Principal, page: PageRequest) async throws -> Page<APIKey> {
        try await keys.keys(tenant: principal.tenant, page: page)
    }

    /// - Throws: `Problem` with `not_found`.
    public func revokeKey(_ principal: Principal, _ id: APIKeyID, requester: Requester) async throws {
        try await keys.revoke(
            tenant: principal.tenant, id, at: ambient.now(),
            audit: entry(.keyRevoked, in: principal.tenant, by: requester, target: "api_key/\(id)"))
    }

    // MARK: The platform

    public func tenants(page: PageRequest, requester: Requester) async throws -> Page<Tenant> {
        try await store.tenants(page: page, reading: entry(.platformRead, in: nil, by: requester, target: "tenants"))
    }

    public func users(email: String?, page: PageRequest, requester: Requester) async throws -> Page<User> {
        try await store.users(
            email: email.map(Self.normalized), page: page,
            reading: entry(.platformRead, in: nil, by: requester, target: "users"))
    }

    /// - Throws: `Problem` with `not_found`.
    public func setOperator(_ user: UserID, _ isOperator: Bool, requester: Requester) async throws -> User {
        try await store.setOperator(
            user, isOperator,
            audit: entry(
                .operatorChanged, in: nil, by: requester, target: "user/\(user)", details: ["operator": .bool(isOperator)]))
        guard let changed = try await store.user(user) else { throw Problem.notFound("user") }
        return changed
    }
}
