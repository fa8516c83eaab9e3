import ArgumentParser
import Domain

struct Webhooks: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists, shows, makes, tests and deletes webhooks; shows and replays what they were sent.",
        discussion: """
            For admins. Events are sent as signed requests (standardwebhooks.com), and tried again for 18 to 35 hours \
            until the other side answers 2xx.

            Example, whatever could not be delivered:
              sba webhooks create https://example.com/hook --event run.failed
              sba webhooks deliveries 01a1fa28-… --state failed
              sba webhooks replay 01a1fa28-… 01a1fa29-…
            """,
        subcommands: [
            List.self, Show.self, Create.self, Enable.self, Disable.self, RotateSecret.self, Test.self, Deliveries.self,
            Replay.self, Delete.self,
        ],
        defaultSubcommand: List.self)

    private static func path(_ id: String) -> String { "/api/webhooks/\(APIClient.segment(id))" }

    private static func state(_ webhook: JSONValue) -> String {
        webhook["enabled"]?.bool == true ? "enabled" : "disabled"
    }

    private static func events(_ webhook: JSONValue) -> String {
        (webhook["events"]?.array ?? []).compactMap(\.string).joined(separator: " ")
    }

    private static func describe(_ webhook: JSONValue) -> String {
        var rows = [
            ["id", webhook["id"]?.string ?? ""], ["url", webhook["url"]?.string ?? ""], ["state", state(webhook)],
        ]
        if let reason = webhook["disabledReason"]?.string { rows.append(["reason", reason]) }
        rows += [
            ["events", events(webhook)], ["description", webhook["description"]?.string ?? "-"],
            ["created", webhook["createdAt"]?.string ?? ""], ["updated", webhook["updatedAt"]?.string ?? ""],
        ]
        if let until = webhook["previousSecretUntil"]?.string { rows.append(["previous secret until", until]) }
        return Terminal.table(rows)
    }

    private static func describeDelivery(_ delivery: JSONValue) -> String {
        let duration = delivery["lastDurationMs"]?.int
        var rows = [
            ["id", delivery["id"]?.string ?? ""], ["webhook", delivery["webhookId"]?.string ?? ""],
            ["event", delivery["eventId"]?.string ?? ""], ["type", delivery["type"]?.string ?? ""],
            ["state", delivery["state"]?.string ?? ""], ["attempts", "\(delivery["attempts"]?.int ?? 0)"],
            ["status", status(delivery)], ["took", duration.map { "\($0) ms" } ?? "-"],
            ["created", delivery["createdAt"]?.string ?? ""], ["last attempt", delivery["lastAttemptAt"]?.string ?? "-"],
            ["delivered", delivery["deliveredAt"]?.string ?? "-"],
        ]
        if let error = delivery["lastError"]?.string { rows.append(["error", error]) }
        if let response = delivery["lastResponse"]?.string { rows.append(["response", response]) }
        return Terminal.table(rows)
    }

    /// What the other side answered last.
    private static func status(_ delivery: JSONValue) -> String {
        delivery["lastStatus"]?.int.map { "\($0)" } ?? "-"
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists webhooks, newest first.")

        @OptionGroup var connection: Runs.Connection
        @Option(help: "How many, 1 to 100.") var limit = 20

        func run() async throws {
            try await connection.ask("GET", "/api/webhooks?limit=\(limit)") { answer in
                let rows = (answer["items"]?.array ?? []).map { webhook in
                    [
                        webhook["id"]?.string ?? "", Webhooks.state(webhook), webhook["createdAt"]?.string ?? "",
                        Webhooks.events(webhook), webhook["url"]?.string ?? "",
                    ]
                }
                return rows.isEmpty
                    ? "No webhooks." : Terminal.table([["ID", "STATE", "CREATED", "EVENTS", "URL"]] + rows)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows one webhook.")

        @Argument(help: "The webhook's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("GET", Webhooks.path(id), show: Webhooks.describe)
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a webhook, and shows once the secret that its requests are signed with.")

        @Argument(help: "The URL that events are sent to, https.") var endpoint: String
        @Option(help: "What it is told, as often as needed: run.succeeded, document.indexed, 'run.*', '*', …")
        var event: [String]
        @Option(help: "What it is for.") var description: String?
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            var body: [String: JSONValue] = ["url": .string(endpoint), "events": .array(event.map { .string($0) })]
            if let description { body["description"] = .string(description) }
            try await connection.ask("POST", "/api/webhooks", body: .object(body)) { webhook in
                "\(webhook["secret"]?.string ?? "")\n\nThis is the only time the secret is shown. "
                    + "The webhook's id is \(webhook["id"]?.string ?? "")."
            }
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets events be sent to a webhook again.")

        @Argument(help: "The webhook's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws { try await Webhooks.change(id, ["enabled": true], connection) }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets no more events be sent to a webhook.")

        @Argument(help: "The webhook's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws { try await Webhooks.change(id, ["enabled": false], connection) }
    }

    private static func change(_ id: String, _ body: JSONValue, _ connection: Runs.Connection) async throws {
        try await connection.ask("PATCH", path(id), body: body, show: describe)
    }

    struct RotateSecret: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Gives a webhook a new secret, and shows it once; the one before signs too for a day.")

        @Argument(help: "The webhook's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("POST", Webhooks.path(id) + "/rotate-secret") { webhook in
                let until = webhook["previousSecretUntil"]?.string.map { " The one before signs too until \($0)." } ?? ""
                return "\(webhook["secret"]?.string ?? "")\n\nThis is the only time the secret is shown." + until
            }
        }
    }

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sends a webhook an event webhook.test.",
            discussion: "It is sent a moment later: 'sba webhooks deliveries' shows what came of it.")

        @Argument(help: "The webhook's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("POST", Webhooks.path(id) + "/test", show: Webhooks.describeDelivery)
        }
    }

    struct Deliveries: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists what a webhook was sent, newest first.")

        @Argument(help: "The webhook's id.") var id: String
        @Option(help: "Only deliveries in this state: pending, delivered, failed.") var state: String?
        @Option(help: "How many, 1 to 100.") var limit = 20
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            let filter = state.map { "&state=\(APIClient.escaped($0))" } ?? ""
            try await connection.ask("GET", Webhooks.path(id) + "/deliveries?limit=\(limit)\(filter)") { answer in
                let rows = (answer["items"]?.array ?? []).map { delivery in
                    [
                        delivery["id"]?.string ?? "", delivery["state"]?.string ?? "", delivery["type"]?.string ?? "",
                        "\(delivery["attempts"]?.int ?? 0)", Webhooks.status(delivery),
                        delivery["createdAt"]?.string ?? "", String((delivery["lastError"]?.string ?? "").prefix(60)),
                    ]
                }
                return rows.isEmpty
                    ? "No deliveries."
                    : Terminal.table([["ID", "STATE", "TYPE", "ATTEMPTS", "STATUS", "CREATED", "ERROR"]] + rows)
            }
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sends a delivery once more: one that failed, or that was delivered.")

        @Argument(help: "The webhook's id.") var webhook: String
        @Argument(help: "The delivery's id.") var delivery: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            let path = Webhooks.path(webhook) + "/deliveries/\(APIClient.segment(delivery))/replay"
            try await connection.ask("POST", path, show: Webhooks.describeDelivery)
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes a webhook with its deliveries.")

        @Argument(help: "The webhook's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("DELETE", Webhooks.path(id)) { _ in "Deleted." }
        }
    }
}
