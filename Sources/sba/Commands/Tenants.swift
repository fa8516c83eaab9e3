import ArgumentParser
import Domain

struct Tenants: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tenant", abstract: "Lists, exports and erases tenants.",
        discussion: "Listing, and erasing a tenant of others, is for operators.",
        subcommands: [List.self, Export.self, Erase.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists all tenants, newest first.")

        @OptionGroup var connection: Runs.Connection
        @Option(help: "How many, 1 to 100.") var limit = 20

        func run() async throws {
            try await connection.ask("GET", "/api/platform/tenants?limit=\(limit)") { answer in
                Terminal.table(
                    [["ID", "CREATED", "NAME"]]
                        + (answer["items"]?.array ?? []).map {
                            [$0["id"]?.string ?? "", $0["createdAt"]?.string ?? "", $0["name"]?.string ?? ""]
                        })
            }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints everything of your tenant, one JSON object a line: its table and its row.")

        @Argument(help: "The tenant's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await reportingErrors {
                try await APIClient.with(connection.url) { client in
                    try await client.download("/api/tenants/\(id)/export") { Terminal.print($0, terminator: "") }
                }
            }
        }
    }

    struct Erase: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Erases a tenant and all it owns, for good.",
            discussion: "Members who belong to no other tenant are erased with it. That it was erased stays in the audit log.")

        @Argument(help: "The tenant's id.") var id: String
        @Option(help: "The tenant's name, so that nobody erases one by mistake.") var confirm: String
        @Flag(help: "As an operator, a tenant of others.") var platform = false
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            let path = platform ? "/api/platform/tenants/\(id)" : "/api/tenants/\(id)"
            try await connection.ask("DELETE", path + "?confirm=" + APIClient.escaped(confirm)) { _ in "Erased." }
        }
    }
}
