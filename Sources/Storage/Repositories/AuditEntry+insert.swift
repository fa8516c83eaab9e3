import Accounts
import Domain

extension AuditEntry {
    /// Writes the row, in the batch of what it tells of.
    var insert: SQLStatement {
        SQLStatement(
            """
            INSERT INTO audit_logs (
                tenant_id, id, user_id, api_key_id, address, request_id, action, target, details, created_at
            ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
            """,
            [
                .id(tenant), .id(id), .id(requester.user), .id(requester.apiKey), .text(requester.address),
                .text(requester.requestID), .text(action.rawValue), .text(target), .json(details.text), .time(time),
            ])
    }
}
