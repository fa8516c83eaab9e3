import Accounts
import Automation
import Domain
import Queue

/// Webhooks. `WebhookRepository+deliveries.swift` holds what they are told.
public struct WebhookRepository: WebhookStore {
    let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    private static let columns = """
        id, url, description, events, sealed, previous_sealed, previous_until, disabled_at, disabled_reason, created_at, updated_at,
        version
        """

    private static func webhook(_ row: SQLRow) -> Webhook {
        Webhook(
            id: row.id(0), url: row.text(1), description: row.optionalText(2),
            events: (row.json(3).array ?? []).compactMap(\.string), sealed: row.text(4), previousSealed: row.optionalText(5),
            previousUntil: row.optionalTime(6), disabledAt: row.optionalTime(7), disabledReason: row.optionalText(8),
            version: row.int(11), createdAt: row.time(9), updatedAt: row.time(10))
    }

    /// Tenant, id, and what of a webhook may change: `?3` to `?11`.
    private static func values(_ tenant: TenantID, _ webhook: Webhook) -> [SQLValue] {
        [
            .id(tenant), .id(webhook.id), .text(webhook.url), .text(webhook.description),
            .json(JSONValue.array(webhook.events.map { .string($0) }).text), .text(webhook.sealed),
            .text(webhook.previousSealed), .int(webhook.previousUntil?.microseconds), .int(webhook.disabledAt?.microseconds),
            .text(webhook.disabledReason), .time(webhook.updatedAt),
        ]
    }

    public func add(tenant: TenantID, _ webhook: Webhook, audit: AuditEntry) async throws {
        let full = Problem(
            .invalidRequest, "The tenant has \(Webhook.maximumPerTenant) webhooks already. Delete one that is not needed.")
        let insert = SQLStatement(
            """
            INSERT INTO webhooks (
                tenant_id, id, url, description, events, sealed, previous_sealed, previous_until, disabled_at, disabled_reason,
                updated_at, created_at
            )
            SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
            WHERE (SELECT count(*) FROM webhooks WHERE tenant_id = ?1) < ?13
            """,
            Self.values(tenant, webhook) + [.time(webhook.createdAt), .int(Webhook.maximumPerTenant)],
            expect: .rows(1, otherwise: full))
        _ = try await engine.write(Batch(.tenant(tenant), [insert, audit.insert]))
    }

    public func webhook(tenant: TenantID, _ id: WebhookID) async throws -> Webhook? {
        let select = SQLStatement(
            "SELECT \(Self.columns) FROM webhooks WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.first.map(Self.webhook)
    }

    public func webhooks(tenant: TenantID, page: PageRequest) async throws -> Page<Webhook> {
        let select = SQLStatement.page(of: "webhooks", columns: Self.columns, tenant, page)
        let rows = try await engine.read(Batch(.tenant(tenant), [select]))[0].rows
        return Page(fetched: rows.map(Self.webhook), limit: page.limit) { $0.id.uuid }
    }

    public func enabled(tenant: TenantID) async throws -> [Webhook] {
        let select = SQLStatement(
            "SELECT \(Self.columns) FROM webhooks WHERE tenant_id = ?1 AND disabled_at IS NULL ORDER BY id", [.id(tenant)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.map(Self.webhook)
    }

    public func change(tenant: TenantID, _ webhook: Webhook, audit: AuditEntry) async throws {
        let change = SQLStatement(
            """
            UPDATE webhooks SET
                url = ?3, description = ?4, events = ?5, sealed = ?6, previous_sealed = ?7, previous_until = ?8,
                disabled_at = ?9, disabled_reason = ?10, updated_at = ?11, version = version + 1
            WHERE tenant_id = ?1 AND id = ?2 AND version = ?12
            """,
            Self.values(tenant, webhook) + [.int(webhook.version)], expect: .rows(1, otherwise: WebhookMoved()))
        _ = try await engine.write(Batch(.tenant(tenant), [change, audit.insert]))
    }

    public func delete(tenant: TenantID, _ id: WebhookID, audit: AuditEntry) async throws {
        let delete = SQLStatement(
            "DELETE FROM webhooks WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)],
            expect: .rows(1, otherwise: Problem.notFound("webhook")))
        _ = try await engine.write(Batch(.tenant(tenant), [delete, audit.insert]))
    }

    public func reseal(_ change: (_ sealed: String, _ webhook: WebhookID) throws -> String) async throws -> Int {
        let select = SQLStatement("SELECT tenant_id, id, sealed, previous_sealed FROM webhooks ORDER BY tenant_id, id")
        let rows = try await engine.read(Batch(.system, [select]))[0].rows
        let changed = Problem(.overloaded, "A webhook's secret was changed at the same time. Try again.")
        let updates = try rows.map { row in
            let id: WebhookID = row.id(1)
            return SQLStatement(
                """
                UPDATE webhooks SET sealed = ?4, previous_sealed = ?5, version = version + 1
                WHERE tenant_id = ?1 AND id = ?2 AND sealed = ?3
                """,
                [
                    .uuid(row.uuid(0)), .id(id), .text(row.text(2)), .text(try change(row.text(2), id)),
                    .text(try row.optionalText(3).map { try change($0, id) }),
                ],
                expect: .rows(1, otherwise: changed))
        }
        if !updates.isEmpty { _ = try await engine.write(Batch(.system, updates)) }
        return rows.count
    }
}
