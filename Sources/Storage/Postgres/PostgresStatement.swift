/// A statement as PostgreSQL is told it.
struct PostgresStatement: Hashable {
    /// In the form that all engines share.
    private let shared: String
    /// The type of each parameter.
    let types: [PostgresType]
    /// Whether the server checks how many rows it meets; the count is then the last parameter.
    private let isChecked: Bool
    /// Made where the statement is, so that a connection looks it up at once.
    private let hash: Int

    init(_ statement: SQLStatement) {
        let types = statement.arguments.map(PostgresType.init)
        if case .rows = statement.expectation {
            self.init(shared: statement.sql, types: types + [.int], isChecked: true)
        } else {
            self.init(shared: statement.sql, types: types, isChecked: false)
        }
    }

    /// A statement that needs no check.
    init(sql: String, types: [PostgresType]) { self.init(shared: sql, types: types, isChecked: false) }

    private init(shared: String, types: [PostgresType], isChecked: Bool) {
        self.shared = shared
        self.types = types
        self.isChecked = isChecked
        hash = shared.hashValue
    }

    func hash(into hasher: inout Hasher) { hasher.combine(hash) }

    /// What the server is sent. It checks an expected count itself: so a whole batch needs one round trip, and is undone
    /// when the count is not met.
    var sql: String {
        let sql = Self.numbered(shared)
        guard isChecked else { return sql }
        let check = "\(Self.check)(count(*), $\(types.count))"
        guard Self.answersRows(shared) else { return "WITH met AS (\(sql) RETURNING 1) SELECT \(check) FROM met" }
        // The check is the outer side of the join, for it has to be made where there are no rows.
        return """
            WITH met AS (\(sql)), checked AS (SELECT \(check) AS is_met FROM met)
            SELECT met.* FROM checked LEFT JOIN met ON checked.is_met
            """
    }

    /// The function that raises `SBA01` when a count is not what was expected.
    static let check = "expect_rows"

    private static func answersRows(_ sql: String) -> Bool { sql.hasPrefix("SELECT") || sql.contains("RETURNING") }

    /// `?1` as `$1`, outside of quotes.
    static func numbered(_ sql: String) -> String {
        var isQuoted = false
        let bytes = sql.utf8.map { byte in
            if byte == UInt8(ascii: "'") { isQuoted.toggle() }
            return byte == UInt8(ascii: "?") && !isQuoted ? UInt8(ascii: "$") : byte
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
