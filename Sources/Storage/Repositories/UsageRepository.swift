import Accounts
import Domain

/// What was used, added up. `RunRepository+commit.swift` writes it.
public struct UsageRepository: UsageStore {
    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    /// Days since 1970 in UTC.
    private static let day = "created_at / 86400000000"

    private static func column(_ dimension: UsageDimension) -> String {
        switch dimension {
        case .day: day
        case .user: "user_id"
        case .agent: "agent"
        case .kind: "kind"
        case .name: "name"
        }
    }

    private static func text(_ row: SQLRow, _ column: Int, _ dimension: UsageDimension) -> String? {
        switch dimension {
        case .day: String(Timestamp(microseconds: row.int(column) * 86_400_000_000).iso8601.prefix(10))
        case .user: row.optionalUUID(column).map { "\(UserID($0))" }
        case .agent, .kind, .name: row.text(column)
        }
    }

    public func usage(
        tenant: TenantID, from: Timestamp, to: Timestamp, by dimensions: [UsageDimension], limit: Int
    ) async throws -> [UsageSum] {
        let columns = dimensions.map(Self.column)
        let group = columns.isEmpty ? "" : "GROUP BY \(columns.joined(separator: ", "))"
        let order = columns.isEmpty ? "" : "ORDER BY \(columns.joined(separator: ", "))"
        let sums = ["attempts", "input_tokens", "output_tokens", "duration_ms"].map { "coalesce(sum(\($0)), 0)" }
        let select = SQLStatement(
            """
            SELECT \((columns + sums).joined(separator: ", ")) FROM usage_metrics
            WHERE tenant_id = ?1 AND created_at >= ?2 AND created_at < ?3 \(group) \(order) LIMIT ?4
            """,
            [.id(tenant), .time(from), .time(to), .int(limit)])
        return try await engine.read(Batch(.tenant(tenant), [select]))[0].rows.map { row in
            let first = dimensions.count
            return UsageSum(
                group: dimensions.enumerated().map { Self.text(row, $0.offset, $0.element) }, calls: row.int(first),
                inputTokens: row.int(first + 1), outputTokens: row.int(first + 2),
                durationMilliseconds: row.int(first + 3))
        }
    }
}
