import Accounts
import Domain
import Foundation

/// Users, tenants, memberships and signing keys.
public struct AccountRepository: AccountStore {
    private let engine: any SQLEngine
    /// Present where no other process can change a membership.
    private let cache: MembershipCache?

    /// - Parameter holdsDatabaseAlone: no other process writes this database, so memberships may be remembered.
    public init(engine: any SQLEngine, holdsDatabaseAlone: Bool = false) {
        self.engine = engine
        cache = holdsDatabaseAlone ? MembershipCache() : nil
    }

    public func create(
        _ user: User, passwordHash: String, tenant: Tenant, role: Role, onlyFirst: Bool
    ) async throws {
        let condition = onlyFirst ? "WHERE NOT EXISTS (SELECT 1 FROM users)" : "WHERE true"
        let closed = Problem(.registrationClosed, "Somebody has registered already, and registration is closed.")
        let time = SQLValue.time(user.createdAt)
        do {
            _ = try await engine.write(
                Batch(
                    .system,
                    (onlyFirst ? firstComers : []) + [
                        SQLStatement(
                            "INSERT INTO users (id, email, password_hash, created_at) SELECT ?1, ?2, ?3, ?4 \(condition)",
                            [.id(user.id), .text(user.email), .text(passwordHash), time],
                            expect: .rows(1, otherwise: closed)),
                        SQLStatement(
                            "INSERT INTO tenants (id, name, created_at) VALUES (?1, ?2, ?3)",
                            [.id(tenant.id), .text(tenant.name), time]),
                        SQLStatement(
                            """
                            INSERT INTO memberships (tenant_id, user_id, role, version, created_at)
                            VALUES (?1, ?2, ?3, 1, ?4)
                            """,
                            [.id(tenant.id), .id(user.id), .text(role.rawValue), time]),
                    ]))
            cache?.forget()
        } catch StorageError.uniqueViolation(let what) where what.contains("email") {
            throw Problem(.emailTaken, "An account with this address exists. Sign in instead.")
        }
    }

    private func rows(
        _ sql: String, _ arguments: [SQLValue], function: StaticString = #function
    ) async throws -> [SQLRow] {
        try await engine.read(Batch(.system, [SQLStatement(sql, arguments)], function: function))[0].rows
    }

    public func isEmpty() async throws -> Bool {
        try await rows("SELECT id FROM users LIMIT 1", []).isEmpty
    }

    public func user(email: String) async throws -> (user: User, passwordHash: String)? {
        let found = try await rows(
            "SELECT id, email, created_at, password_hash FROM users WHERE email = ?1", [.text(email)])
        return found.first.map { (Self.user($0), $0.text(3)) }
    }

    public func user(_ id: UserID) async throws -> User? {
        try await rows("SELECT id, email, created_at FROM users WHERE id = ?1", [.id(id)]).first.map(Self.user)
    }

    private static func user(_ row: SQLRow) -> User {
        User(id: row.id(0), email: row.text(1), createdAt: row.time(2))
    }

    public func tenant(_ id: TenantID) async throws -> Tenant? {
        try await rows("SELECT id, name, created_at FROM tenants WHERE id = ?1", [.id(id)]).first.map { row in
            Tenant(id: row.id(0), name: row.text(1), createdAt: row.time(2))
        }
    }

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
        guard let cache else { return try await readMembership(tenant, user) }
        return try await cache.membership(tenant: tenant, user: user) { try await readMembership(tenant, user) }
    }

    private func readMembership(_ tenant: TenantID, _ user: UserID) async throws -> Membership? {
        try await rows(
            "SELECT tenant_id, user_id, role, version FROM memberships WHERE tenant_id = ?1 AND user_id = ?2",
            [.id(tenant), .id(user)], function: "membership"
        ).first.map(Self.membership)
    }

    public func signingKeys() async throws -> [SealedSigningKey] {
        try await rows("SELECT id, sealed, created_at FROM signing_keys ORDER BY id DESC", []).map { row in
            SealedSigningKey(id: row.text(0), sealed: row.text(1), createdAt: row.time(2))
        }
    }

    public func addFirst(_ key: SealedSigningKey) async throws {
        let insert = SQLStatement(
            """
            INSERT INTO signing_keys (id, sealed, created_at)
            SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM signing_keys)
            """,
            [.text(key.id), .text(key.sealed), .time(key.createdAt)])
        _ = try await engine.write(Batch(.system, firstComers + [insert], isRepeatable: true))
    }

    /// Makes those who do something for the first time at the same time wait for each other.
    private var firstComers: [SQLStatement] { [engine.dialect.lockFirst].compactMap { $0 } }
}
