import Accounts
import Domain

/// The keys that access tokens are signed with.
public struct SigningKeyRepository: SigningKeyStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    private static let columns = "id, sealed, created_at, active_at, retired_at"

    private static func key(_ row: SQLRow) -> SealedSigningKey {
        SealedSigningKey(
            id: row.text(0), sealed: row.text(1), createdAt: row.time(2), activeAt: row.time(3),
            retiredAt: row.optionalTime(4))
    }

    public func signingKeys(at time: Timestamp) async throws -> [SealedSigningKey] {
        let select = SQLStatement(
            "SELECT \(Self.columns) FROM signing_keys WHERE retired_at IS NULL OR retired_at > ?1 ORDER BY id DESC",
            [.time(time)])
        return try await engine.read(Batch(.system, [select]))[0].rows.map(Self.key)
    }

    private static func insert(_ key: SealedSigningKey, _ condition: String) -> SQLStatement {
        SQLStatement(
            """
            INSERT INTO signing_keys (id, sealed, created_at, active_at, retired_at)
            SELECT ?1, ?2, ?3, ?4, ?5 WHERE \(condition)
            """,
            [
                .text(key.id), .text(key.sealed), .time(key.createdAt), .time(key.activeAt),
                .int(key.retiredAt?.microseconds),
            ])
    }

    public func addFirst(_ key: SealedSigningKey) async throws {
        let insert = Self.insert(key, "NOT EXISTS (SELECT 1 FROM signing_keys)")
        _ = try await engine.write(
            Batch(.system, [engine.dialect.lockFirst].compactMap { $0 } + [insert], isRepeatable: true))
    }

    public func rotate(to key: SealedSigningKey, retiring: Timestamp, audit: AuditEntry) async throws {
        let retire = SQLStatement(
            "UPDATE signing_keys SET retired_at = ?1 WHERE retired_at IS NULL", [.time(retiring)])
        _ = try await engine.write(Batch(.system, [retire, Self.insert(key, "true"), audit.insert]))
    }

    public func reseal(_ change: (SealedSigningKey) throws -> String) async throws -> Int {
        let select = SQLStatement("SELECT \(Self.columns) FROM signing_keys ORDER BY id DESC")
        let keys = try await engine.read(Batch(.system, [select]))[0].rows.map(Self.key)
        let changed = Problem(.overloaded, "A signing key was changed at the same time. Try again.")
        let updates = try keys.map { key in
            SQLStatement(
                "UPDATE signing_keys SET sealed = ?3 WHERE id = ?1 AND sealed = ?2",
                [.text(key.id), .text(key.sealed), .text(try change(key))], expect: .rows(1, otherwise: changed))
        }
        if !updates.isEmpty { _ = try await engine.write(Batch(.system, updates)) }
        return keys.count
    }
}
