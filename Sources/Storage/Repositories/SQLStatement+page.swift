import Domain

extension SQLStatement {
    /// One row more than a page of a tenant's rows, newest first; of those with a value in a column, when one is given.
    ///
    /// The rows are chosen by their ids alone: then an engine without statistics, too, goes by the index that leads with
    /// the column.
    static func page(
        of table: String, columns: String, _ tenant: TenantID, _ page: PageRequest, where filter: (column: String, value: String)?
    ) -> SQLStatement {
        var conditions = "tenant_id = ?1"
        var arguments: [SQLValue] = [.id(tenant), .int(page.limit + 1)]
        if let cursor = page.cursor {
            arguments.append(.uuid(cursor.after))
            conditions += " AND id < ?\(arguments.count)"
        }
        if let filter {
            arguments.append(.text(filter.value))
            conditions += " AND \(filter.column) = ?\(arguments.count)"
        }
        let ids = "SELECT id FROM \(table) WHERE \(conditions) ORDER BY id DESC LIMIT ?2"
        return SQLStatement(
            "SELECT \(columns) FROM \(table) WHERE tenant_id = ?1 AND id IN (\(ids)) ORDER BY id DESC", arguments)
    }
}
