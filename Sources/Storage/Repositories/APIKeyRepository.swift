import Accounts
import Domain

/// API keys.
public struct APIKeyRepository: APIKeyStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    private static let columns = """
        id, tenant_id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at, last_used_at
        """

    private static func key(_ row: SQLRow) -> APIKey {
        APIKey(
            id: row.id(0), tenant: row.id(1), user: row.id(2), name: row.text(3), prefix: row.text(4),
            scopes: row.text(5).split(separator: " ").map(String.init), createdAt: row.time(6),
            expiresAt: row.optionalTime(7), revokedAt: row.optionalTime(8), lastUsedAt: row.optionalTime(9))
    }

    public func add(tenant: TenantID, _ key: APIKey, hash: String, audit: AuditEntry) async throws {
        let full = Problem(
            .invalidRequest, "The tenant has \(APIKey.maximumPerTenant) keys already. Revoke one that is not needed.")
        let insert = SQLStatement(
            """
            INSERT INTO api_keys (tenant_id, id, user_id, name, prefix, hash, scopes, created_at, expires_at)
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
            WHERE (
                SELECT count(*) FROM api_keys
                WHERE tenant_id = ?1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?8)
            ) < ?10
            """,
            [
                .id(tenant), .id(key.id), .id(key.user), .text(key.name), .text(key.prefix), .text(hash),
                .text(key.scopes.joined(separator: " ")), .time(key.createdAt), .int(key.expiresAt?.microseconds),
                .int(APIKey.maximumPerTenant),
            ],
            expect: .rows(1, otherwise: full))
        _ = try await engine.write(Batch(.tenant(tenant), [insert, audit.insert]))
    }

    public func keys(tenant: TenantID, page: PageRequest) async throws -> Page<APIKey> {
        let select = SQLStatement.page(of: "api_keys", columns: Self.columns, tenant, page)
        let answers = try await engine.read(Batch(.tenant(tenant), [select]))
        return Page(fetched: answers[0].rows.map(Self.key), limit: page.limit) { $0.id.uuid }
    }

    public func revoke(tenant: TenantID, _ id: APIKeyID, at time: Timestamp, audit: AuditEntry) async throws {
        let revoke = SQLStatement(
            "UPDATE api_keys SET revoked_at = ?3 WHERE tenant_id = ?1 AND id = ?2 AND revoked_at IS NULL",
            [.id(tenant), .id(id), .time(time)], expect: .rows(1, otherwise: Problem.notFound("API key")))
        _ = try await engine.write(Batch(.tenant(tenant), [revoke, audit.insert]))
    }

    public func key(hash: String) async throws -> (key: APIKey, role: Role)? {
        let columns = Self.columns.split(separator: ", ").map { "k.\($0)" }.joined(separator: ", ")
        let select = SQLStatement(
            """
            SELECT \(columns), m.role
            FROM api_keys k JOIN memberships m ON m.tenant_id = k.tenant_id AND m.user_id = k.user_id
            WHERE k.hash = ?1 AND k.revoked_at IS NULL
            """,
            [.text(hash)])
        return try await engine.read(Batch(.system, [select]))[0].rows.first.map { (Self.key($0), $0.value(10)) }
    }

    public func touch(tenant: TenantID, _ id: APIKeyID, at time: Timestamp) async throws {
        let touch = SQLStatement(
            "UPDATE api_keys SET last_used_at = ?3 WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id), .time(time)])
        _ = try await engine.write(Batch(.tenant(tenant), [touch], isRepeatable: true))
    }
}
