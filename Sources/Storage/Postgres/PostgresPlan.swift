import Domain

/// One statement on its way to the server.
struct PostgresCommand: Sendable {
    let statement: PostgresStatement
    let parameters: PostgresParameters
    /// The statement's place in the batch; `nil` for those around it.
    let place: Int?

    init(_ sql: String) { self.init(PostgresStatement(sql: sql, types: []), []) }

    init(_ statement: PostgresStatement, _ arguments: [SQLValue]) {
        self.statement = statement
        parameters = PostgresParameters(arguments)
        place = nil
    }

    init(_ statement: SQLStatement, place: Int) {
        self.statement = PostgresStatement(statement)
        self.place = place
        if case .rows(let count, _) = statement.expectation {
            parameters = PostgresParameters(statement.arguments + [.int(count)])
        } else {
            parameters = PostgresParameters(statement.arguments)
        }
    }

    static let begin = PostgresCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    static let commit = PostgresCommand("COMMIT")
    static let rollback = PostgresCommand("ROLLBACK")
    static let forgetPrepared = PostgresCommand("DEALLOCATE ALL")
}

/// What is sent for one batch: its statements, and what sets their transaction up.
struct PostgresPlan: Sendable {
    let commands: [PostgresCommand]
    /// Its transaction is begun and ended by name.
    let isNamed: Bool
    private let batch: Batch

    init(_ batch: Batch, readOnly: Bool, configuration: PostgresConfiguration) {
        self.batch = batch
        // Several reads see one state of the database. Everything else is one transaction by itself, up to its Sync.
        isNamed = readOnly && batch.statements.count > 1
        var commands = isNamed ? [PostgresCommand.begin] : []
        if let context = Self.context(batch.scope, configuration) { commands.append(context) }
        commands += batch.statements.enumerated().map { PostgresCommand($1, place: $0) }
        if isNamed { commands.append(.commit) }
        self.commands = commands
    }

    /// What the transaction is for, until its end only. A pooler takes no start-up options, so there the bound of each
    /// statement travels with it.
    private static func context(_ scope: Batch.Scope, _ configuration: PostgresConfiguration) -> PostgresCommand? {
        let timeout = SQLValue.text("\(Int(configuration.statementTimeout.milliseconds))")
        return switch (scope, configuration.pooler) {
        case (.tenant(let tenant), .none): PostgresCommand(tenantSetting, [.text("\(tenant)")])
        case (.tenant(let tenant), .transaction): PostgresCommand(bothSettings, [.text("\(tenant)"), timeout])
        case (.system, .transaction), (.upkeep, .transaction): PostgresCommand(timeoutSetting, [timeout])
        case (.system, .none), (.upkeep, .none): nil
        }
    }

    private static let tenantSetting = PostgresStatement(
        sql: "SELECT set_config('app.tenant_id', $1, true)", types: [.text])
    private static let timeoutSetting = PostgresStatement(
        sql: "SELECT set_config('statement_timeout', $1, true)", types: [.text])
    private static let bothSettings = PostgresStatement(
        sql: "SELECT set_config('app.tenant_id', $1, true), set_config('statement_timeout', $2, true)", types: [.text, .text])

    /// What the answers to the batch's own statements say.
    func results(_ answers: [PostgresAnswer]) -> [ResultSet] {
        zip(batch.statements, answers).map { statement, answer in
            guard case .rows(let count, _) = statement.expectation else { return answer.resultSet }
            // The check passed. Where no rows were met, it is all there is in the one that came.
            return ResultSet(rows: count > 0 && !answer.isBareCheck ? answer.rows : [], changes: count)
        }
    }
}
