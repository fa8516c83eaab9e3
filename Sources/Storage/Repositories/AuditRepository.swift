import Accounts
import Domain
import Foundation

/// The audit log, to be read. `AuditEntry.insert` writes it.
public struct AuditRepository: AuditStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    private static let columns = """
        id, tenant_id, user_id, api_key_id, address, request_id, action, target, details, created_at
        """

    private static func entry(_ row: SQLRow) -> AuditEntry {
        AuditEntry(
            id: row.id(0), tenant: row.optionalUUID(1).map { TenantID($0) },
            requester: Requester(
                user: row.optionalUUID(2).map { UserID($0) }, apiKey: row.optionalUUID(3).map { APIKeyID($0) },
                address: row.optionalText(4), requestID: row.text(5)),
            action: AuditAction(rawValue: row.text(6)) ?? .unknown, target: row.optionalText(7), details: row.json(8),
            time: row.time(9))
    }

    public func entries(
        tenant: TenantID, _ filter: AuditFilter, page: PageRequest, reading: AuditEntry
    ) async throws -> Page<AuditEntry> {
        try await select(.tenant(tenant), "tenant_id = ?1", [.id(tenant)], filter, page, reading, function: "entries")
    }

    public func platformEntries(
        _ filter: AuditFilter, page: PageRequest, reading: AuditEntry
    ) async throws -> Page<AuditEntry> {
        try await select(.system, "tenant_id IS NULL", [], filter, page, reading, function: "platformEntries")
    }

    /// Ids hold the time they were made at, and rows are ordered by them: a time is a bound of the ids.
    private func select(
        _ scope: Batch.Scope, _ owner: String, _ arguments: [SQLValue], _ filter: AuditFilter, _ page: PageRequest,
        _ reading: AuditEntry, function: StaticString
    ) async throws -> Page<AuditEntry> {
        var arguments = arguments
        var conditions = [owner]
        func add(_ condition: String, _ value: SQLValue) {
            arguments.append(value)
            conditions.append("\(condition) ?\(arguments.count)")
        }
        if let action = filter.action { add("action =", .text(action.rawValue)) }
        if let user = filter.user { add("user_id =", .id(user)) }
        if let from = filter.from { add("id >=", .uuid(.lowestVersion7(at: from))) }
        if let to = filter.to { add("id <", .uuid(.lowestVersion7(at: to))) }
        if let cursor = page.cursor { add("id <", .uuid(cursor.after)) }
        arguments.append(.int(page.limit + 1))
        let select = SQLStatement(
            """
            SELECT \(Self.columns) FROM audit_logs WHERE \(conditions.joined(separator: " AND "))
            ORDER BY id DESC LIMIT ?\(arguments.count)
            """,
            arguments)
        let answers = try await engine.write(Batch(scope, [select, reading.insert], function: function))
        return Page(fetched: answers[0].rows.map(Self.entry), limit: page.limit) { $0.id.uuid }
    }
}
