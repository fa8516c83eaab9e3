import Accounts
import Domain
import Foundation

/// A table as an export holds it: its columns but for hashes of secrets, and by what its rows are told apart.
struct ExportedTable: Sendable {
    private enum Kind: Character {
        case uuid = "u"
        case text = "t"
        case int = "i"
        case json = "j"
        case bytes = "b"
    }

    let name: String
    private let columns: [(name: String, kind: Kind)]
    /// How many of the first columns are the key, besides the tenant.
    private let keyColumns: Int

    /// - Parameter columns: `kind:name`, the key first.
    private init(_ name: String, key: Int, _ columns: String) {
        self.name = name
        keyColumns = key
        self.columns = columns.split(separator: " ").map { column in
            (String(column.dropFirst(2)), column.first.flatMap(Kind.init(rawValue:)) ?? .text)
        }
    }

    /// Rows that are read at one time: of a document's content one, which may be large, and of what holds text a few.
    var pageRows: Int {
        switch name {
        case "document_contents": 1
        case "agent_runs", "messages", "run_events", "agent_steps", "tool_calls": 20
        default: 200
        }
    }

    private var list: String { columns.map(\.name).joined(separator: ", ") }
    private var keyList: String { columns.prefix(keyColumns).map(\.name).joined(separator: ", ") }

    /// A page of the tenant's rows, in the order of their key.
    func page(_ tenant: TenantID, after last: [String]?) -> SQLStatement {
        // A tenant's own row is its own key.
        page(where: name == "tenants" ? "id = ?1" : "tenant_id = ?1", [.id(tenant)], after: last)
    }

    /// A page of the rows about a person, of one tenant's when one is given, in the order of their key.
    func page(of user: UserID, in tenant: TenantID?, after last: [String]?) -> SQLStatement {
        guard let tenant else {
            return page(where: name == "users" ? "id = ?1" : "user_id = ?1", [.id(user)], after: last)
        }
        let owner =
            name == "messages"
            ? "run_id IN (SELECT id FROM agent_runs WHERE tenant_id = ?1 AND user_id = ?2)" : "user_id = ?2"
        return page(where: "tenant_id = ?1 AND \(owner)", [.id(tenant), .id(user)], after: last)
    }

    private func page(where condition: String, _ arguments: [SQLValue], after last: [String]?) -> SQLStatement {
        var (condition, arguments) = (condition, arguments)
        if let last {
            let places = last.indices.map { "?\(arguments.count + 1 + $0)" }.joined(separator: ", ")
            condition += " AND (\(keyList)) > (\(places))"
            arguments += zip(columns, last).map { Self.value($1, $0.kind) }
        }
        arguments.append(.int(pageRows))
        return SQLStatement(
            "SELECT \(list) FROM \(name) WHERE \(condition) ORDER BY \(keyList) LIMIT ?\(arguments.count)", arguments)
    }

    func key(of row: SQLRow) -> [String] {
        columns.prefix(keyColumns).enumerated().map { offset, column in
            switch column.kind {
            case .uuid: row.optionalUUID(offset)?.uuidString.lowercased() ?? ""
            case .int: "\(row.int(offset))"
            case .text, .json, .bytes: row.text(offset)
            }
        }
    }

    private static func value(_ text: String, _ kind: Kind) -> SQLValue {
        switch kind {
        case .uuid: .uuid(Identifier<Void>(text)?.uuid)
        case .int: .int(Int64(text))
        case .text, .json, .bytes: .text(text)
        }
    }

    func exported(_ row: SQLRow) -> ExportedRow {
        var values: [String: JSONValue] = [:]
        for (offset, column) in columns.enumerated() {
            values[column.name] =
                switch column.kind {
                case .uuid: JSONValue(row.optionalUUID(offset).map { "\(Identifier<Void>($0))" })
                case .int: row.optionalInt(offset).map { .int($0) } ?? .null
                case .text: JSONValue(row.optionalText(offset))
                case .json: row.optionalText(offset) == nil ? .null : row.json(offset)
                case .bytes: Self.json(row.bytes(offset))
                }
        }
        return ExportedRow(table: name, columns: values)
    }

    /// Text as it is, else base64.
    private static func json(_ bytes: [UInt8]) -> JSONValue {
        if let text = String(validating: bytes, as: UTF8.self) { return .string(text) }
        return ["base64": .string(Data(bytes).base64EncodedString())]
    }

    // MARK: The tables

    static let ofTenant: [ExportedTable] = [
        ExportedTable("tenants", key: 1, "u:id t:name i:created_at"),
        ExportedTable("tenant_origins", key: 1, "t:origin"),
        ExportedTable("memberships", key: 1, "u:user_id t:role i:created_at"),
        ExportedTable("invitations", key: 1, "u:id t:email t:role i:created_at i:expires_at"),
        ExportedTable(
            "api_keys", key: 1,
            "u:id u:user_id t:name t:prefix t:scopes i:created_at i:expires_at i:revoked_at i:last_used_at"),
        ExportedTable("sessions", key: 1, "u:id u:user_id i:created_at"),
        ExportedTable("agent_runs", key: 1, runColumns),
        ExportedTable("messages", key: 2, "u:session_id u:id u:run_id t:role t:text i:created_at"),
        ExportedTable("run_events", key: 2, "u:run_id i:seq t:type j:fields i:created_at"),
        ExportedTable(
            "agent_steps", key: 2,
            "u:run_id u:id i:position t:kind t:tool_call_id t:status i:attempt j:output i:started_at i:finished_at"),
        ExportedTable(
            "tool_calls", key: 2,
            "u:run_id t:id u:step_id i:ordinal t:name t:arguments t:state i:attempt t:result i:created_at i:finished_at"),
        ExportedTable(
            "documents", key: 1,
            "u:id t:title t:collection j:metadata t:media_type i:byte_count t:status t:failure i:created_at i:updated_at"),
        ExportedTable("document_contents", key: 1, "u:document_id b:content"),
        ExportedTable(
            "audit_logs", key: 1,
            "u:id u:user_id u:api_key_id t:address t:request_id t:action t:target j:details i:created_at"),
        ExportedTable("usage_metrics", key: 1, usageColumns),
        ExportedTable("schedules", key: 1, "u:id u:user_id \(scheduleColumns)"),
        ExportedTable(
            "schedule_firings", key: 1, "u:id u:schedule_id i:fire_at t:cause t:outcome t:error i:created_at"),
        ExportedTable(
            "webhooks", key: 1,
            "u:id t:url t:description j:events i:disabled_at t:disabled_reason i:created_at i:updated_at"),
        ExportedTable("outbox", key: 1, "u:id t:type j:data t:state i:occurred_at i:created_at"),
        ExportedTable(
            "webhook_deliveries", key: 1,
            """
            u:id u:webhook_id u:event_id t:state i:attempts i:last_status t:last_error t:last_response i:last_duration_ms \
            i:last_attempt_at i:delivered_at i:created_at
            """),
        ExportedTable("event_schemas", key: 1, "t:type j:schema i:created_at i:updated_at"),
        ExportedTable("meta_events", key: 1, "u:place u:id t:type j:data i:occurred_at i:created_at"),
    ]

    static let ofUser: [ExportedTable] = [
        ExportedTable("users", key: 1, "u:id t:email i:created_at"),
        ExportedTable("memberships", key: 1, "u:tenant_id t:role i:created_at"),
        ExportedTable("sign_ins", key: 1, "u:id u:tenant_id i:created_at i:ended_at"),
        ExportedTable("external_identities", key: 2, "t:issuer t:subject"),
    ]

    static let ofMember: [ExportedTable] = [
        ExportedTable("sessions", key: 1, "u:id i:created_at"),
        ExportedTable("agent_runs", key: 1, runColumns),
        ExportedTable("messages", key: 2, "u:session_id u:id u:run_id t:role t:text i:created_at"),
        ExportedTable("api_keys", key: 1, "u:id t:name t:prefix t:scopes i:created_at i:expires_at i:revoked_at"),
        ExportedTable("audit_logs", key: 1, "u:id t:address t:request_id t:action t:target j:details i:created_at"),
        ExportedTable("usage_metrics", key: 1, usageColumns),
        ExportedTable("schedules", key: 1, "u:id \(scheduleColumns)"),
    ]

    private static let scheduleColumns =
        "t:name t:cron t:time_zone t:missed j:request i:paused_at i:next_at i:created_at i:updated_at"
    private static let runColumns = """
        u:id u:session_id u:user_id t:request_id t:prompt j:options t:status t:output t:error_code t:error_message \
        i:input_tokens i:output_tokens i:created_at i:started_at i:finished_at
        """
    private static let usageColumns = """
        u:id u:run_id u:user_id t:agent t:kind t:name i:attempts i:input_tokens i:output_tokens i:duration_ms i:created_at
        """
}
