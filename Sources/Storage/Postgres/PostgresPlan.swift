import Domain

/// One statement on its way to the server.
struct PostgresCommand {
    let statement: PostgresStatement
    let arguments: [SQLValue]
    /// The statement's place in the batch; `nil` for those around it.
    let place: Int?

    init(_ sql: String, _ arguments: [SQLValue] = []) {
        statement = PostgresStatement(sql: sql, types: arguments.map(PostgresType.init))
        self.arguments = arguments
        place = nil
    }

    init(_ statement: SQLStatement, place: Int) {
        self.statement = PostgresStatement(statement)
        self.place = place
        if case .rows(let count, _) = statement.expectation {
            arguments = statement.arguments + [.int(count)]
        } else {
            arguments = statement.arguments
        }
    }

    static let begin = PostgresCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    static let commit = PostgresCommand("COMMIT")
    static let rollback = PostgresCommand("ROLLBACK")
    static let forgetPrepared = PostgresCommand("DEALLOCATE ALL")
}

/// What is sent for one batch: its statements, and what sets their transaction up.
struct PostgresPlan {
    let commands: [PostgresCommand]
    /// Its transaction is begun and ended by name.
    let isNamed: Bool
    private let batch: Batch
    private let first: Int

    init(_ batch: Batch, readOnly: Bool, configuration: PostgresConfiguration) {
        self.batch = batch
        // Several reads see one state of the database. Everything else is one transaction by itself, up to its Sync.
        isNamed = readOnly && batch.statements.count > 1
        var commands = isNamed ? [PostgresCommand.begin] : []
        if let context = Self.context(batch.scope, configuration) { commands.append(context) }
        first = commands.count
        commands += batch.statements.enumerated().map { PostgresCommand($1, place: $0) }
        if isNamed { commands.append(.commit) }
        self.commands = commands
    }

    /// What the transaction is for, until its end only. A pooler takes no start-up options, so there the bound of each
    /// statement travels with it.
    private static func context(_ scope: Batch.Scope, _ configuration: PostgresConfiguration) -> PostgresCommand? {
        var settings: [String] = []
        var arguments: [SQLValue] = []
        if case .tenant(let tenant) = scope {
            arguments.append(.text("\(tenant)"))
            settings.append("set_config('app.tenant_id', $1, true)")
        }
        if configuration.pooler == .transaction {
            arguments.append(.text("\(Int(configuration.statementTimeout.milliseconds))"))
            settings.append("set_config('statement_timeout', $\(arguments.count), true)")
        }
        return settings.isEmpty ? nil : PostgresCommand("SELECT \(settings.joined(separator: ", "))", arguments)
    }

    /// The answers to the batch's own statements.
    func results(_ answers: [ResultSet]) -> [ResultSet] {
        zip(batch.statements, answers[first...]).map { statement, answer in
            guard case .rows(let count, _) = statement.expectation else { return answer }
            // What came is the answer of the check, and its count was met.
            let isRows = PostgresStatement.answersRows(statement.sql)
            return ResultSet(rows: isRows && count > 0 ? answer.rows : [], changes: count)
        }
    }
}
