import Accounts
import Domain

extension AccountRepository {
    // MARK: Members

    private static func membership(_ row: SQLRow) -> Membership {
        Membership(tenant: row.id(0), user: row.id(1), role: row.value(2), version: row.int(3))
    }

    public func memberships(of user: UserID) async throws -> [Membership] {
        try await rows(
            """
            SELECT tenant_id, user_id, role, version FROM memberships WHERE user_id = ?1
            ORDER BY created_at, tenant_id
            """,
            [.id(user)]
        ).map(Self.membership)
    }

    public func membership(tenant: TenantID, user: UserID) async throws -> Membership? {
        try await standing(tenant: tenant, user: user, signIn: nil)?.membership
    }

    public func standing(tenant: TenantID, user: UserID, signIn: SignInID?) async throws -> Standing? {
        guard let cache else { return try await readStanding(tenant, user, signIn) }
        return try await cache.standing(.init(tenant: tenant, user: user, signIn: signIn)) {
            try await readStanding(tenant, user, signIn)
        }
    }

    private func readStanding(_ tenant: TenantID, _ user: UserID, _ signIn: SignInID?) async throws -> Standing? {
        var arguments: [SQLValue] = [.id(tenant), .id(user)]
        var condition = ""
        if let signIn {
            arguments.append(.id(signIn))
            condition = """
                 AND EXISTS (
                    SELECT 1 FROM sign_ins s WHERE s.id = ?3 AND s.user_id = ?2 AND s.ended_at IS NULL
                )
                """
        }
        return try await rows(
            """
            SELECT m.tenant_id, m.user_id, m.role, m.version, u.is_operator
            FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.tenant_id = ?1 AND m.user_id = ?2\(condition)
            """,
            arguments, function: "standing"
        ).first.map { Standing(membership: Self.membership($0), isOperator: $0.bool(4)) }
    }

    private static let memberColumns = "u.id, u.email, u.is_operator, u.created_at, m.role, m.created_at"

    private static func member(_ row: SQLRow) -> Member {
        Member(user: user(row), role: row.value(4), joinedAt: row.time(5))
    }

    public func members(tenant: TenantID, page: PageRequest) async throws -> Page<Member> {
        var arguments: [SQLValue] = [.id(tenant), .int(page.limit + 1)]
        if let cursor = page.cursor { arguments.append(.uuid(cursor.after)) }
        let select = SQLStatement(
            """
            SELECT \(Self.memberColumns) FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.tenant_id = ?1\(page.cursor == nil ? "" : " AND m.user_id < ?3") ORDER BY m.user_id DESC LIMIT ?2
            """,
            arguments)
        let answers = try await engine.read(Batch(.tenant(tenant), [select]))
        return Page(fetched: answers[0].rows.map(Self.member), limit: page.limit) { $0.user.id.uuid }
    }

    public func member(tenant: TenantID, user: UserID) async throws -> Member? {
        let select = SQLStatement(
            """
            SELECT \(Self.memberColumns) FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.tenant_id = ?1 AND m.user_id = ?2
            """,
            [.id(tenant), .id(user)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.first.map(Self.member)
    }

    /// Those who take owners away from a tenant do it one after another: each sees what the one before has left.
    static func lock(_ tenant: TenantID) -> SQLStatement {
        SQLStatement("UPDATE tenants SET name = name WHERE id = ?1", [.id(tenant)])
    }

    /// `?1` tenant, `?2` user: the user is no owner, or not the only one.
    private static let isDispensable = """
        (role <> 'owner' OR EXISTS (
            SELECT 1 FROM memberships o WHERE o.tenant_id = ?1 AND o.role = 'owner' AND o.user_id <> ?2
        ))
        """

    static let lastOwner = Problem(
        .lastOwner, "Nobody would be left who owns the tenant. Make somebody else an owner first, or erase the tenant.")

    public func changeRole(tenant: TenantID, user: UserID, to role: Role, audit: AuditEntry) async throws {
        let update = SQLStatement(
            """
            UPDATE memberships SET role = ?3, version = version + 1
            WHERE tenant_id = ?1 AND user_id = ?2 AND (?3 = 'owner' OR \(Self.isDispensable))
            """,
            [.id(tenant), .id(user), .text(role.rawValue)], expect: .rows(1, otherwise: Self.lastOwner))
        try await change(.system, [Self.lock(tenant), update, audit.insert])
    }

    public func remove(tenant: TenantID, user: UserID, audit: AuditEntry) async throws {
        // API keys go with it.
        let delete = SQLStatement(
            "DELETE FROM memberships WHERE tenant_id = ?1 AND user_id = ?2 AND \(Self.isDispensable)",
            [.id(tenant), .id(user)], expect: .rows(1, otherwise: Self.lastOwner))
        try await change(
            .system, [Self.lock(tenant), Self.leavesNoOperatorOutside(tenant, user), delete, audit.insert])
    }

    // MARK: Invitations

    private static let invitationColumns = "id, tenant_id, email, role, created_at, expires_at"

    private static func invitation(_ row: SQLRow) -> Invitation {
        Invitation(
            id: row.id(0), tenant: row.id(1), email: row.text(2), role: row.value(3), createdAt: row.time(4),
            expiresAt: row.time(5))
    }

    static let alreadyMember = Problem(.alreadyMember, "Whoever has this address belongs to the tenant already.")

    public func invite(tenant: TenantID, _ invitation: Invitation, tokenHash: String, audit: AuditEntry) async throws {
        let insert = SQLStatement(
            """
            INSERT INTO invitations (tenant_id, id, email, role, hash, created_at, expires_at)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (
                SELECT 1 FROM users u JOIN memberships m ON m.user_id = u.id WHERE u.email = ?3 AND m.tenant_id = ?1
            )
            """,
            [
                .id(tenant), .id(invitation.id), .text(invitation.email), .text(invitation.role.rawValue),
                .text(tokenHash), .time(invitation.createdAt), .time(invitation.expiresAt),
            ],
            expect: .rows(1, otherwise: Self.alreadyMember))
        let earlier = SQLStatement(
            "DELETE FROM invitations WHERE tenant_id = ?1 AND email = ?2", [.id(tenant), .text(invitation.email)])
        try await change(.tenant(tenant), [earlier, insert, audit.insert])
    }

    public func invitations(tenant: TenantID, page: PageRequest) async throws -> Page<Invitation> {
        let select = SQLStatement.page(
            of: "invitations", columns: Self.invitationColumns, tenant, page)
        let answers = try await engine.read(Batch(.tenant(tenant), [select]))
        return Page(fetched: answers[0].rows.map(Self.invitation), limit: page.limit) { $0.id.uuid }
    }

    public func revokeInvitation(tenant: TenantID, _ id: InvitationID, audit: AuditEntry) async throws {
        let delete = SQLStatement(
            "DELETE FROM invitations WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)],
            expect: .rows(1, otherwise: Problem.notFound("invitation")))
        try await change(.tenant(tenant), [delete, audit.insert])
    }

    public func invitation(tokenHash: String, at time: Timestamp) async throws -> Invitation? {
        try await rows(
            "SELECT \(Self.invitationColumns) FROM invitations WHERE hash = ?1 AND expires_at > ?2",
            [.text(tokenHash), .time(time)]
        ).first.map(Self.invitation)
    }

    public func accept(
        _ invitation: Invitation, as user: User, newPasswordHash: String?, audit: [AuditEntry]
    ) async throws {
        let use = SQLStatement(
            "DELETE FROM invitations WHERE tenant_id = ?1 AND id = ?2", [.id(invitation.tenant), .id(invitation.id)],
            expect: .rows(1, otherwise: Problem(.invitationInvalid, "The invitation was used or revoked just now.")))
        var statements = [use]
        if let newPasswordHash { statements.append(Self.insert(user, newPasswordHash)) }
        let now = audit.first?.time ?? user.createdAt
        statements.append(
            Self.insertMembership(invitation.tenant, user.id, invitation.role, version: now.microseconds, at: now))
        do {
            try await change(.system, statements + audit.map(\.insert))
        } catch StorageError.uniqueViolation(let what) where what.contains("memberships") {
            throw Self.alreadyMember
        } catch StorageError.uniqueViolation(let what) where what.contains("email") {
            throw Problem(.emailTaken, "An account with this address was made just now. Accept with its password.")
        }
    }

    static func insert(_ user: User, _ passwordHash: String) -> SQLStatement {
        SQLStatement(
            "INSERT INTO users (id, email, password_hash, created_at) VALUES (?1, ?2, ?3, ?4)",
            [.id(user.id), .text(user.email), .text(passwordHash), .time(user.createdAt)])
    }

    // MARK: Other issuers

    public func admit(
        issuer: String, subject: String, new: User, tenant: TenantID, role: Role, audit: AuditEntry
    ) async throws -> Standing {
        let known = try await rows(
            "SELECT user_id FROM external_identities WHERE issuer = ?1 AND subject = ?2",
            [.text(issuer), .text(subject)])
        if let user: UserID = known.first?.id(0),
            let standing = try await standing(tenant: tenant, user: user, signIn: nil), standing.membership.role == role
        {
            return standing
        }
        let user = known.first?.id(0) ?? new.id
        var statements: [SQLStatement] = []
        if known.isEmpty {
            statements = [
                Self.insert(new, ""),
                SQLStatement(
                    "INSERT INTO external_identities (issuer, subject, user_id) VALUES (?1, ?2, ?3)",
                    [.text(issuer), .text(subject), .id(user)]),
            ]
        }
        let join = SQLStatement(
            """
            INSERT INTO memberships (tenant_id, user_id, role, version, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (tenant_id, user_id) DO UPDATE SET role = excluded.role, version = excluded.version
            """,
            [.id(tenant), .id(user), .text(role.rawValue), .int(audit.time.microseconds), .time(audit.time)])
        do {
            try await change(.system, statements + [join, audit.insert])
        } catch StorageError.foreignKeyViolation {
            throw Problem(.notFound, "There is no such tenant here.")
        } catch StorageError.uniqueViolation(let what) where what.contains("email") {
            // Somebody else's account, which is not for another issuer to give away.
            let stranger = User(
                id: new.id, email: "\(new.id)@external.invalid", createdAt: new.createdAt)
            return try await admit(
                issuer: issuer, subject: subject, new: stranger, tenant: tenant, role: role, audit: audit)
        } catch StorageError.uniqueViolation(let what) where what.contains("external_identities") && known.isEmpty {
            // Made at the same time by another request, and known by now.
            return try await admit(issuer: issuer, subject: subject, new: new, tenant: tenant, role: role, audit: audit)
        }
        guard let standing = try await standing(tenant: tenant, user: user, signIn: nil) else {
            throw StorageError.unavailable("The membership was stored and is not there.")
        }
        return standing
    }
}
