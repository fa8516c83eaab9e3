import Accounts
import Domain

extension AccountRepository {
    // MARK: Signing in

    public func begin(_ token: RefreshToken, audit: AuditEntry) async throws {
        // What is remembered of others stays true.
        _ = try await engine.write(
            Batch(
                .system,
                [
                    SQLStatement(
                        "INSERT INTO sign_ins (id, user_id, tenant_id, created_at) VALUES (?1, ?2, ?3, ?4)",
                        [.id(token.signIn), .id(token.user), .id(token.tenant), .time(audit.time)]),
                    Self.insert(token), audit.insert,
                ]))
    }

    private static func insert(_ token: RefreshToken) -> SQLStatement {
        SQLStatement(
            "INSERT INTO refresh_tokens (hash, sign_in_id, expires_at) VALUES (?1, ?2, ?3)",
            [.text(token.hash), .id(token.signIn), .time(token.expiresAt)])
    }

    public func refreshToken(hash: String) async throws -> RefreshToken? {
        try await rows(
            """
            SELECT r.hash, r.sign_in_id, s.user_id, s.tenant_id, r.used_at, r.expires_at
            FROM refresh_tokens r JOIN sign_ins s ON s.id = r.sign_in_id
            WHERE r.hash = ?1 AND s.ended_at IS NULL
            """,
            [.text(hash)]
        ).first.map { row in
            RefreshToken(
                hash: row.text(0), signIn: row.id(1), user: row.id(2), tenant: row.id(3),
                isUsed: row.optionalInt(4) != nil, expiresAt: row.time(5))
        }
    }

    public func rotate(_ token: RefreshToken, to next: RefreshToken) async throws {
        let now = next.expiresAt.adding(.zero - RefreshToken.lifetime)
        let use = SQLStatement(
            "UPDATE refresh_tokens SET used_at = ?2 WHERE hash = ?1 AND used_at IS NULL",
            [.text(token.hash), .time(now)], expect: .rows(1, otherwise: RefreshTokenReused()))
        let ended = Problem(.tokenInvalid, "The sign-in has ended. Sign in again.")
        let move = SQLStatement(
            "UPDATE sign_ins SET tenant_id = ?2 WHERE id = ?1 AND ended_at IS NULL",
            [.id(token.signIn), .id(next.tenant)], expect: .rows(1, otherwise: ended))
        _ = try await engine.write(Batch(.system, [use, move, Self.insert(next)]))
    }

    public func end(_ signIn: SignInID, user: UserID, audit: AuditEntry) async throws {
        let end = SQLStatement(
            "UPDATE sign_ins SET ended_at = ?3 WHERE id = ?1 AND user_id = ?2 AND ended_at IS NULL",
            [.id(signIn), .id(user), .time(audit.time)])
        try await change(.system, [end, audit.insert])
    }

    public func endAll(of user: UserID, but kept: SignInID?, audit: AuditEntry) async throws {
        try await change(.system, [Self.endAll(of: user, but: kept, at: audit.time), audit.insert])
    }

    private static func endAll(of user: UserID, but kept: SignInID?, at time: Timestamp) -> SQLStatement {
        SQLStatement(
            "UPDATE sign_ins SET ended_at = ?2 WHERE user_id = ?1 AND ended_at IS NULL AND (?3 IS NULL OR id <> ?3)",
            [.id(user), .time(time), .id(kept)])
    }

    // MARK: Passwords

    public func setPassword(
        _ hash: String, of user: UserID, keeping signIn: SignInID?, audit: AuditEntry
    ) async throws {
        try await change(
            .system,
            [
                Self.set(hash, of: user), Self.endAll(of: user, but: signIn, at: audit.time), Self.endReset(of: user),
                audit.insert,
            ])
    }

    private static func set(_ hash: String, of user: UserID) -> SQLStatement {
        SQLStatement("UPDATE users SET password_hash = ?2 WHERE id = ?1", [.id(user), .text(hash)])
    }

    private static func endReset(of user: UserID) -> SQLStatement {
        SQLStatement("DELETE FROM password_resets WHERE user_id = ?1", [.id(user)])
    }

    public func addPasswordReset(
        tokenHash: String, user: UserID, expiresAt: Timestamp, audit: AuditEntry
    ) async throws {
        let insert = SQLStatement(
            """
            INSERT INTO password_resets (user_id, hash, expires_at) VALUES (?1, ?2, ?3)
            ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at
            """,
            [.id(user), .text(tokenHash), .time(expiresAt)])
        _ = try await engine.write(Batch(.system, [insert, audit.insert]))
    }

    public func passwordReset(tokenHash: String, at time: Timestamp) async throws -> UserID? {
        try await rows(
            "SELECT user_id FROM password_resets WHERE hash = ?1 AND expires_at > ?2", [.text(tokenHash), .time(time)]
        ).first.map { $0.id(0) }
    }

    public func resetPassword(tokenHash: String, user: UserID, to hash: String, audit: AuditEntry) async throws {
        let use = SQLStatement(
            "DELETE FROM password_resets WHERE user_id = ?1 AND hash = ?2", [.id(user), .text(tokenHash)],
            expect: .rows(1, otherwise: Problem(.resetInvalid, "The token was used just now.")))
        try await change(
            .system, [use, Self.set(hash, of: user), Self.endAll(of: user, but: nil, at: audit.time), audit.insert])
    }

    public func note(_ audit: AuditEntry) async throws {
        _ = try await engine.write(Batch(.system, [audit.insert], isRepeatable: true))
    }
}
