import Domain
import Foundation

extension SQLStatement {
    /// One row more than a page of a tenant's rows, newest first; only those whose columns hold the values that are given.
    ///
    /// The rows are chosen by their ids alone: then an engine without statistics, too, goes by the index that leads with
    /// the column.
    ///
    /// - Parameters:
    ///   - key: the column that orders them, a UUIDv7.
    ///   - from, to: only keys from the one up to but not including the other.
    static func page(
        of table: String, columns: String, _ tenant: TenantID, _ page: PageRequest,
        where filters: [(column: String, value: SQLValue)] = [], key: String = "id", from: UUID? = nil, to: UUID? = nil
    ) -> SQLStatement {
        var conditions = "tenant_id = ?1"
        var arguments: [SQLValue] = [.id(tenant), .int(page.limit + 1)]
        func add(_ condition: String, _ value: SQLValue) {
            arguments.append(value)
            conditions += " AND \(condition) ?\(arguments.count)"
        }
        if let cursor = page.cursor { add("\(key) <", .uuid(cursor.after)) }
        for filter in filters { add("\(filter.column) =", filter.value) }
        if let from { add("\(key) >=", .uuid(from)) }
        if let to { add("\(key) <", .uuid(to)) }
        let ids = "SELECT \(key) FROM \(table) WHERE \(conditions) ORDER BY \(key) DESC LIMIT ?2"
        return SQLStatement(
            "SELECT \(columns) FROM \(table) WHERE tenant_id = ?1 AND \(key) IN (\(ids)) ORDER BY \(key) DESC", arguments)
    }
}
