import Accounts
import Domain
import Foundation

/// Takes tenants and people out of the database, and hands over what is there of them.
public struct ErasureRepository: ErasureStore {
    private let engine: any SQLEngine
    private let cache: StandingCache?

    public init(engine: any SQLEngine, cache: StandingCacheHandle? = nil) {
        self.engine = engine
        self.cache = cache?.cache
    }

    // MARK: Erasing

    public func erase(tenant: TenantID, audit: AuditEntry) async throws {
        defer { cache?.forget() }
        // Members who belong nowhere else, and have begun nothing elsewhere, go with the tenant. All else hangs on it.
        let members = """
            SELECT id FROM users
            WHERE id IN (SELECT user_id FROM memberships WHERE tenant_id = ?1) AND is_operator = false
                AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = users.id AND m.tenant_id <> ?1)
                AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = users.id)
                AND NOT EXISTS (SELECT 1 FROM agent_runs r WHERE r.user_id = users.id)
            """
        let statements = [
            "DELETE FROM sessions WHERE tenant_id = ?1",
            "DELETE FROM invitations WHERE email IN (SELECT email FROM users WHERE id IN (\(members)))",
            "UPDATE usage_metrics SET user_id = NULL WHERE user_id IN (\(members))",
            "UPDATE audit_logs SET user_id = NULL, address = NULL WHERE user_id IN (\(members))",
            "DELETE FROM users WHERE id IN (\(members))",
        ]
        let erase = SQLStatement(
            "DELETE FROM tenants WHERE id = ?1", [.id(tenant)],
            expect: .rows(1, otherwise: Problem.notFound("tenant")))
        _ = try await engine.write(
            Batch(
                .system,
                [AccountRepository.leavesNoOperatorOutside(tenant)] + statements.map { SQLStatement($0, [.id(tenant)]) }
                    + [erase, audit.insert],
                function: "eraseTenant"))
    }

    public func erase(user: UserID, audit: AuditEntry) async throws {
        defer { cache?.forget() }
        let unknown = Problem(.notFound, "There is no such user.")
        let owned = SQLStatement(
            """
            SELECT 1 FROM memberships m WHERE m.user_id = ?1 AND m.role = 'owner' AND NOT EXISTS (
                SELECT 1 FROM memberships o WHERE o.tenant_id = m.tenant_id AND o.role = 'owner' AND o.user_id <> ?1
            )
            """,
            [.id(user)], expect: .rows(0, otherwise: AccountRepository.lastOwner))
        let statements: [SQLStatement] = [
            SQLStatement(
                "UPDATE tenants SET name = name WHERE id IN (SELECT tenant_id FROM memberships WHERE user_id = ?1)",
                [.id(user)]),
            owned, AccountRepository.isNotLastOperator(user),
            // Their jobs find no run, and end.
            SQLStatement("DELETE FROM sessions WHERE user_id = ?1", [.id(user)]),
            SQLStatement("DELETE FROM agent_runs WHERE user_id = ?1", [.id(user)]),
            SQLStatement(
                "DELETE FROM invitations WHERE email = (SELECT email FROM users WHERE id = ?1)", [.id(user)]),
            SQLStatement("UPDATE usage_metrics SET user_id = NULL WHERE user_id = ?1", [.id(user)]),
            SQLStatement(
                "UPDATE audit_logs SET target = NULL WHERE target = ?1", [.text("user/\(user)")]),
            SQLStatement("UPDATE audit_logs SET user_id = NULL, address = NULL WHERE user_id = ?1", [.id(user)]),
            SQLStatement(
                "DELETE FROM users WHERE id = ?1", [.id(user)], expect: .rows(1, otherwise: unknown)),
            audit.insert,
        ]
        _ = try await engine.write(Batch(.system, statements))
    }

    public func scrub() async throws { try await engine.scrub() }

    // MARK: Exporting

    public func beginExport(tenant: TenantID, audit: AuditEntry) async throws {
        _ = try await engine.write(Batch(.tenant(tenant), [audit.insert]))
    }

    public func exportPage(
        tenant: TenantID, from place: ExportPlace
    ) async throws -> (rows: [ExportedRow], next: ExportPlace?) {
        guard ExportedTable.ofTenant.indices.contains(place.table) else { return ([], nil) }
        let table = ExportedTable.ofTenant[place.table]
        return try await page(
            of: table, table.page(tenant, after: place.after), .tenant(tenant), at: place,
            isLast: place.table == ExportedTable.ofTenant.count - 1)
    }

    /// Reads a page, and finds out where the export goes on: in the same table while pages are full, else in the next.
    private func page(
        of table: ExportedTable, _ select: SQLStatement, _ scope: Batch.Scope, at place: ExportPlace, isLast: Bool
    ) async throws -> (rows: [ExportedRow], next: ExportPlace?) {
        let rows = try await engine.read(Batch(scope, [select], function: "exportPage"))[0].rows
        var next: ExportPlace? = isLast ? nil : ExportPlace(table: place.table + 1)
        if rows.count == table.pageRows, let last = rows.last {
            next = ExportPlace(table: place.table, after: table.key(of: last))
        }
        return (rows.map(table.exported), next)
    }

    public func beginExport(user: UserID, audit: AuditEntry) async throws {
        _ = try await engine.write(Batch(.system, [audit.insert]))
    }

    public func exportPage(user: UserID, from place: ExportPlace) async throws -> (rows: [ExportedRow], next: ExportPlace?) {
        let memberships = SQLStatement("SELECT tenant_id FROM memberships WHERE user_id = ?1 ORDER BY tenant_id", [.id(user)])
        let tenants = try await engine.read(Batch(.system, [memberships]))[0].rows.map { TenantID($0.uuid(0)) }
        // The account, then what it has in each of its tenants.
        let parts: [(table: ExportedTable, tenant: TenantID?)] =
            ExportedTable.ofUser.map { ($0, nil) } + tenants.flatMap { tenant in ExportedTable.ofMember.map { ($0, tenant) } }
        guard parts.indices.contains(place.table) else { return ([], nil) }
        let (table, tenant) = parts[place.table]
        return try await page(
            of: table, table.page(of: user, in: tenant, after: place.after), tenant.map { .tenant($0) } ?? .system, at: place,
            isLast: place.table == parts.count - 1)
    }
}
