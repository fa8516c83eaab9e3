import ArgumentParser
import Domain

struct VerifyIsolation: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify-isolation",
        abstract: "Tries every operation of a server as somebody who must not; exits with 1 when one lets them.",
        discussion: """
            Sign in as an operator. Two tenants are made for the trial, each with a member of every role, and erased at the \
            end: nothing else is touched, so it can be run against a server that is in use.

            Each row is an operation, and each column who tried it: nobody (without a token), the roles, the owner of the \
            other tenant by the first one's ids, and the same by X-Tenant-Id. '✗' marks an answer that is wrong, '–' what does \
            not apply.
            """)

    @OptionGroup var connection: Runs.Connection

    func run() async throws {
        try await reportingErrors {
            try await APIClient.with(connection.url) { client in
                let rows = try await IsolationCheck.run(client)
                Terminal.print(connection.json ? Self.json(rows).text : Self.table(rows))
                let wrong = rows.flatMap(\.cells).count { !$0.isRight }
                guard wrong == 0 else {
                    Terminal.complain("\(wrong) answers are wrong.")
                    throw ExitCode.failure
                }
            }
        }
    }

    private static func table(_ rows: [IsolationCheck.Row]) -> String {
        let header = ["OPERATION", "PERMISSION"] + IsolationCheck.columns.map { $0.uppercased() }
        let lines = rows.map { row in
            [row.operation, row.permission] + row.cells.map { $0.isRight ? $0.text : $0.text + " ✗" }
        }
        return Terminal.table([header] + lines) + "\n\n\(rows.count) rows, "
            + "\(rows.flatMap(\.cells).count { $0.isRight && $0.text != "–" }) answers right, "
            + "\(rows.flatMap(\.cells).count { !$0.isRight }) wrong"
    }

    private static func json(_ rows: [IsolationCheck.Row]) -> JSONValue {
        .array(
            rows.map { row in
                let answers = zip(IsolationCheck.columns, row.cells).map { ($0, $1) }
                return [
                    "operation": .string(row.operation), "permission": .string(row.permission),
                    "answers": .object(
                        Dictionary(
                            uniqueKeysWithValues: answers.map { column, cell in
                                (column, ["answer": .string(cell.text), "right": .bool(cell.isRight)])
                            })),
                ]
            })
    }
}
