import Accounts
import ArgumentParser
import Domain
import Foundation
import Storage

struct Keys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Makes, lists and revokes API keys; rotates what tokens are signed and secrets sealed with.",
        subcommands: [List.self, Create.self, Revoke.self, Rotate.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the tenant's API keys, newest first.")

        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("GET", "/api/api-keys?limit=100") { answer in
                Terminal.table(
                    [["ID", "PREFIX", "STATE", "LAST USED", "SCOPES", "NAME"]]
                        + (answer["items"]?.array ?? []).map { key in
                            [
                                key["id"]?.string ?? "", key["prefix"]?.string ?? "",
                                key["revokedAt"]?.string == nil ? "good" : "revoked", key["lastUsedAt"]?.string ?? "-",
                                (key["scopes"]?.array ?? []).compactMap(\.string).joined(separator: " "),
                                key["name"]?.string ?? "",
                            ]
                        })
            }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes an API key, and shows it once.")

        @Argument(help: "What the key is for.") var name: String
        @Option(help: "What it may do, as often as needed: runs:read, runs:write, knowledge:read, …") var scope: [String]
        @Option(help: "Until when, as 2027-01-31 or 2027-01-31T12:00:00Z.") var expires: String?
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            let body: JSONValue = [
                "name": .string(name), "scopes": .array(scope.map { .string($0) }), "expiresAt": JSONValue(expires),
            ]
            try await connection.ask("POST", "/api/api-keys", body: body) { key in
                "\(key["key"]?.string ?? "")\n\nThis is the only time the key is shown. Its id is \(key["id"]?.string ?? "")."
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Revokes an API key, at once.")

        @Argument(help: "The key's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("DELETE", "/api/api-keys/\(id)") { _ in "Revoked." }
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rotates the key that access tokens are signed with, or seals secrets anew.",
            discussion: """
                Without --secrets, as an operator against the running server: a new key is published at once, signs six \
                minutes later, and the one before it verifies until nothing that it signed is good any more. Nobody is \
                signed out.

                With --secrets what rests sealed in the database is sealed under the present master secret:
                  - embedded database: stop the server; a new master secret is made in the data folder.
                  - SBA_SECRET_KEY is set, also with PostgreSQL: set SBA_SECRET_KEY to the new one and \
                SBA_SECRET_KEY_PREVIOUS to the old one for every process, restart them one after another, run this with the \
                same two, and take SBA_SECRET_KEY_PREVIOUS away.
                """)

        @Flag(help: "Seal what rests in the database under the present master secret.") var secrets = false
        @Option(help: "Folder of the embedded database (SBA_DATA_DIR).") var dataDir: String?
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            guard secrets else {
                return try await connection.ask("POST", "/api/platform/signing-keys") { answer in
                    let keys = answer["items"]?.array ?? []
                    return Terminal.table(
                        [["KEY", "SIGNS FROM", "GOOD UNTIL"]]
                            + keys.map {
                                [
                                    $0["id"]?.string ?? "", $0["activeAt"]?.string ?? "", $0["retiredAt"]?.string ?? "-",
                                ]
                            })
                }
            }
            try await reportingErrors {
                var settings = await SettingsReader(flags: dataDir.map { [Setting.dataDirectory.name: $0] } ?? [:])
                let count = try await SecretRotation(&settings).run()
                Terminal.print("\(count) secrets are sealed under the present master secret.")
            }
        }
    }
}
