import ArgumentParser
import Domain

struct Users: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Lists and erases accounts, and says who runs the platform. For operators.",
        subcommands: [List.self, Erase.self, Operator.self], defaultSubcommand: List.self)

    /// - Throws: `Problem` with `not_found`.
    private static func id(of email: String, _ client: APIClient) async throws -> String {
        let found = try await client.send("GET", "/api/platform/users?email=" + APIClient.escaped(email))
        guard let id = found["items"]?.array?.first?["id"]?.string else {
            throw Problem(.notFound, "There is no account with the address \(email).")
        }
        return id
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists accounts, newest first.")

        @OptionGroup var connection: Runs.Connection
        @Option(help: "How many, 1 to 100.") var limit = 20

        func run() async throws {
            try await connection.ask("GET", "/api/platform/users?limit=\(limit)") { answer in
                Terminal.table(
                    [["ID", "CREATED", "OPERATOR", "EMAIL"]]
                        + (answer["items"]?.array ?? []).map {
                            [
                                $0["id"]?.string ?? "", $0["createdAt"]?.string ?? "",
                                $0["operator"]?.bool == true ? "yes" : "-", $0["email"]?.string ?? "",
                            ]
                        })
            }
        }
    }

    struct Erase: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Erases an account, and the sessions and runs that the person began, for good.",
            discussion: "The audit log keeps what was done, and no longer says by whom.")

        @Argument(help: "The account's address.") var email: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await reportingErrors {
                try await APIClient.with(connection.url) { client in
                    _ = try await client.send("DELETE", "/api/platform/users/\(Users.id(of: email, client))")
                    Terminal.print("Erased.")
                }
            }
        }
    }

    struct Operator: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets somebody run the platform, or no longer.")

        @Argument(help: "The account's address.") var email: String
        @Flag(inversion: .prefixedNo, help: "Whether they do.") var grant = true
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await reportingErrors {
                try await APIClient.with(connection.url) { client in
                    let user = try await client.send(
                        "PATCH", "/api/platform/users/\(Users.id(of: email, client))", body: ["operator": .bool(grant)])
                    Terminal.print(connection.json ? user.text : grant ? "They are an operator." : "They are no operator.")
                }
            }
        }
    }
}
