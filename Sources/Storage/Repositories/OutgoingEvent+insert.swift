import Automation
import Domain

extension OutgoingEvent {
    /// Whether the tenant `?1` wants to be told anything.
    static let isWanted = "EXISTS (SELECT 1 FROM webhooks WHERE tenant_id = ?1 AND disabled_at IS NULL)"

    /// Stores the event where somebody wants to be told, in the batch of what it tells of.
    ///
    /// - Parameter condition: what must hold besides, as SQL over the values of `fence` from `?6` on.
    func insert(tenant: TenantID, where condition: String = "true", _ fence: [SQLValue] = []) -> SQLStatement {
        SQLStatement(
            """
            INSERT INTO outbox (tenant_id, id, type, data, state, occurred_at, created_at)
            SELECT ?1, ?2, ?3, ?4, 'pending', ?5, current_micros()
            WHERE \(Self.isWanted) AND \(condition)
            ON CONFLICT (tenant_id, id) DO NOTHING
            """,
            [.id(tenant), .id(id), .text(type), .json(data.text), .time(time)] + fence)
    }
}
