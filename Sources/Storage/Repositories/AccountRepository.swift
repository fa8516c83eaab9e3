import Accounts
import Domain
import Foundation

/// Users and tenants. `+members` has who belongs where, `+signIns` what people sign in with.
public struct AccountRepository: AccountStore {
    let engine: any SQLEngine
    /// Present where no other process can change what requests rest on.
    let cache: StandingCache?

    /// - Parameter cache: shared by those who change what it holds; `nil` where other processes may.
    public init(engine: any SQLEngine, cache: StandingCacheHandle? = nil) {
        self.engine = engine
        self.cache = cache?.cache
    }

    func rows(
        _ sql: String, _ arguments: [SQLValue], function: StaticString = #function, file: StaticString = #fileID
    ) async throws -> [SQLRow] {
        try await engine.read(Batch(.system, [SQLStatement(sql, arguments)], file: file, function: function))[0].rows
    }

    /// Changes what requests may rest on.
    @discardableResult
    func change(
        _ scope: Batch.Scope, _ statements: [SQLStatement], function: StaticString = #function,
        file: StaticString = #fileID
    ) async throws -> [ResultSet] {
        // Also after a failure: nobody knows what an unknown outcome has changed.
        defer { cache?.forget() }
        return try await engine.write(Batch(scope, statements, file: file, function: function))
    }

    // MARK: Users

    public func create(
        _ user: User, passwordHash: String, tenant: Tenant, role: Role, onlyFirst: Bool, audit: [AuditEntry]
    ) async throws {
        let condition = onlyFirst ? "WHERE NOT EXISTS (SELECT 1 FROM users)" : "WHERE true"
        let closed = Problem(.registrationClosed, "Somebody has registered already, and registration is closed.")
        do {
            try await change(
                .system,
                (onlyFirst ? [engine.dialect.lockFirst].compactMap { $0 } : []) + [
                    SQLStatement(
                        """
                        INSERT INTO users (id, email, password_hash, is_operator, created_at)
                        SELECT ?1, ?2, ?3, ?4, ?5 \(condition)
                        """,
                        [
                            .id(user.id), .text(user.email), .text(passwordHash), .bool(user.isOperator),
                            .time(user.createdAt),
                        ],
                        expect: .rows(1, otherwise: closed)),
                    Self.insert(tenant),
                    Self.insertMembership(tenant.id, user.id, role, version: 1, at: user.createdAt),
                ] + audit.map(\.insert))
        } catch StorageError.uniqueViolation(let what) where what.contains("email") {
            throw Problem(.emailTaken, "An account with this address exists. Sign in instead.")
        }
    }

    static func insert(_ tenant: Tenant) -> SQLStatement {
        SQLStatement(
            "INSERT INTO tenants (id, name, created_at) VALUES (?1, ?2, ?3)",
            [.id(tenant.id), .text(tenant.name), .time(tenant.createdAt)])
    }

    /// - Parameter version: must not be one that an earlier membership of the same user had.
    static func insertMembership(
        _ tenant: TenantID, _ user: UserID, _ role: Role, version: Int64, at time: Timestamp
    ) -> SQLStatement {
        SQLStatement(
            "INSERT INTO memberships (tenant_id, user_id, role, version, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            [.id(tenant), .id(user), .text(role.rawValue), .int(version), .time(time)])
    }

    public func isEmpty() async throws -> Bool {
        try await rows("SELECT id FROM users LIMIT 1", []).isEmpty
    }

    static let userColumns = "id, email, is_operator, created_at"

    static func user(_ row: SQLRow) -> User {
        User(id: row.id(0), email: row.text(1), isOperator: row.bool(2), createdAt: row.time(3))
    }

    public func user(email: String) async throws -> (user: User, passwordHash: String)? {
        let found = try await rows(
            "SELECT \(Self.userColumns), password_hash FROM users WHERE email = ?1", [.text(email)])
        return found.first.map { (Self.user($0), $0.text(4)) }
    }

    public func user(_ id: UserID) async throws -> User? {
        try await rows("SELECT \(Self.userColumns) FROM users WHERE id = ?1", [.id(id)]).first.map(Self.user)
    }

    public func setOperator(_ user: UserID, _ isOperator: Bool, audit: AuditEntry) async throws {
        let update = SQLStatement(
            "UPDATE users SET is_operator = ?2 WHERE id = ?1", [.id(user), .bool(isOperator)],
            expect: .rows(1, otherwise: Problem(.notFound, "There is no such user.")))
        let checks = isOperator ? [] : [Self.isNotLastOperator(user)]
        try await change(.system, checks + [update, audit.insert])
    }

    /// Somebody else runs the platform too, or the user does not.
    static func isNotLastOperator(_ user: UserID) -> SQLStatement {
        SQLStatement(
            """
            SELECT 1 FROM users u WHERE u.id = ?1 AND u.is_operator = true
                AND NOT EXISTS (SELECT 1 FROM users o WHERE o.is_operator = true AND o.id <> ?1)
            """,
            [.id(user)],
            expect: .rows(
                0,
                otherwise: Problem(
                    .lastOwner, "Nobody would be left who runs the platform. Make somebody else an operator first.")))
    }

    /// `?1` tenant: no operator would be left without any tenant; of one user when `?2` is given.
    static func leavesNoOperatorOutside(_ tenant: TenantID, _ user: UserID? = nil) -> SQLStatement {
        SQLStatement(
            """
            SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
            WHERE m.tenant_id = ?1\(user == nil ? "" : " AND m.user_id = ?2") AND u.is_operator = true
                AND NOT EXISTS (SELECT 1 FROM memberships o WHERE o.user_id = m.user_id AND o.tenant_id <> ?1)
            """,
            [.id(tenant)] + (user.map { [.id($0)] } ?? []),
            expect: .rows(
                0,
                otherwise: Problem(
                    .lastOwner,
                    "An operator belongs to this tenant alone, and could no longer sign in. Give them another first.")))
    }

    public func users(email: String?, page: PageRequest, reading: AuditEntry) async throws -> Page<User> {
        var arguments: [SQLValue] = [.int(page.limit + 1)]
        let conditions = Self.conditions(page, &arguments, email.map { ("email", $0) })
        let select = SQLStatement(
            "SELECT \(Self.userColumns) FROM users \(conditions) ORDER BY id DESC LIMIT ?1", arguments)
        let answers = try await engine.write(Batch(.system, [select, reading.insert]))
        return Page(fetched: answers[0].rows.map(Self.user), limit: page.limit) { $0.id.uuid }
    }

    private static func conditions(
        _ page: PageRequest, _ arguments: inout [SQLValue], _ filter: (column: String, value: String)? = nil
    ) -> String {
        var conditions: [String] = []
        if let filter {
            arguments.append(.text(filter.value))
            conditions.append("\(filter.column) = ?\(arguments.count)")
        }
        if let cursor = page.cursor {
            arguments.append(.uuid(cursor.after))
            conditions.append("id < ?\(arguments.count)")
        }
        return conditions.isEmpty ? "" : "WHERE " + conditions.joined(separator: " AND ")
    }

    // MARK: Tenants

    public func create(_ tenant: Tenant, owner: UserID, audit: AuditEntry) async throws {
        try await change(
            .system,
            [
                Self.insert(tenant), Self.insertMembership(tenant.id, owner, .owner, version: 1, at: tenant.createdAt),
                audit.insert,
            ])
    }

    public func tenant(_ id: TenantID) async throws -> Tenant? {
        let answers = try await engine.read(
            Batch(
                .system,
                [
                    SQLStatement("SELECT id, name, created_at FROM tenants WHERE id = ?1", [.id(id)]),
                    SQLStatement(
                        "SELECT origin FROM tenant_origins WHERE tenant_id = ?1 ORDER BY origin", [.id(id)]),
                ]))
        return answers[0].rows.first.map { row in
            Tenant(
                id: row.id(0), name: row.text(1), corsOrigins: answers[1].rows.map { $0.text(0) }, createdAt: row.time(2))
        }
    }

    public func tenants(page: PageRequest, reading: AuditEntry) async throws -> Page<Tenant> {
        var arguments: [SQLValue] = [.int(page.limit + 1)]
        let conditions = Self.conditions(page, &arguments)
        let select = SQLStatement(
            "SELECT id, name, created_at FROM tenants \(conditions) ORDER BY id DESC LIMIT ?1", arguments)
        let answers = try await engine.write(Batch(.system, [select, reading.insert]))
        return Page(
            fetched: answers[0].rows.map { Tenant(id: $0.id(0), name: $0.text(1), createdAt: $0.time(2)) },
            limit: page.limit
        ) { $0.id.uuid }
    }

    public func change(tenant: TenantID, name: String?, corsOrigins: [String]?, audit: AuditEntry) async throws {
        // An update of nothing finds out whether the tenant is there.
        let update = SQLStatement(
            "UPDATE tenants SET name = coalesce(?2, name) WHERE id = ?1",
            [.id(tenant), .text(name)], expect: .rows(1, otherwise: Problem.notFound("tenant")))
        var statements = [update]
        if let corsOrigins {
            statements.append(SQLStatement("DELETE FROM tenant_origins WHERE tenant_id = ?1", [.id(tenant)]))
            statements += Set(corsOrigins).sorted().map { origin in
                SQLStatement(
                    "INSERT INTO tenant_origins (tenant_id, origin) VALUES (?1, ?2)", [.id(tenant), .text(origin)])
            }
        }
        try await change(.tenant(tenant), statements + [audit.insert])
    }

    public func allowsOrigin(_ origin: String, for tenant: TenantID?) async throws -> Bool {
        let condition = tenant == nil ? "" : " AND tenant_id = ?2"
        return try await !rows(
            "SELECT 1 FROM tenant_origins WHERE origin = ?1\(condition) LIMIT 1",
            [.text(origin)] + (tenant.map { [.id($0)] } ?? [])
        ).isEmpty
    }
}

/// One process's memory of what authenticated requests rest on; makers of repositories hand it to those who need it.
public struct StandingCacheHandle: Sendable {
    let cache = StandingCache()

    public init() {}
}
