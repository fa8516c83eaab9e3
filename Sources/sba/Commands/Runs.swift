import ArgumentParser
import Domain

struct Runs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists, shows, follows, cancels and resumes runs.",
        subcommands: [List.self, Show.self, Follow.self, Cancel.self, Resume.self], defaultSubcommand: List.self)

    struct Connection: ParsableArguments {
        @Option(help: "Where the server is (SBA_URL).")
        var url: String?

        @Flag(help: "Print JSON.")
        var json = false

        func ask(_ method: String, _ path: String, body: JSONValue? = nil, show: (JSONValue) -> String) async throws {
            try await reportingErrors {
                try await APIClient.with(url) { client in
                    let answer = try await client.send(method, path, body: body)
                    Terminal.print(json ? answer.text : show(answer))
                }
            }
        }
    }

    static func describe(_ run: JSONValue) -> String {
        var rows = [
            ["id", run["id"]?.string ?? ""], ["status", run["status"]?.string ?? ""],
            ["session", run["sessionId"]?.string ?? ""], ["created", run["createdAt"]?.string ?? ""],
            ["finished", run["finishedAt"]?.string ?? "-"], ["prompt", run["prompt"]?.string ?? ""],
        ]
        if let output = run["output"]?.string { rows.append(["output", output]) }
        if let error = run["error"]?["message"]?.string {
            rows.append(["error", "\(error) [\(run["error"]?["code"]?.string ?? "")]"])
        }
        return Terminal.table(rows)
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists runs, newest first.")

        @OptionGroup var connection: Connection

        @Option(help: "Only runs in this status: queued, running, waiting, succeeded, failed, cancelled, expired.")
        var status: String?

        @Option(help: "How many, 1 to 100.")
        var limit = 20

        func run() async throws {
            let filter = status.map { "&status=\($0)" } ?? ""
            try await connection.ask("GET", "/api/agent/runs?limit=\(limit)\(filter)") { answer in
                let rows = (answer["items"]?.array ?? []).map { run in
                    [
                        run["id"]?.string ?? "", run["status"]?.string ?? "", run["createdAt"]?.string ?? "",
                        String((run["prompt"]?.string ?? "").prefix(60)),
                    ]
                }
                return rows.isEmpty ? "No runs." : Terminal.table([["ID", "STATUS", "CREATED", "PROMPT"]] + rows)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows one run.")

        @Argument(help: "The run's id.") var id: String
        @OptionGroup var connection: Connection

        func run() async throws {
            try await connection.ask("GET", "/api/agent/runs/\(id)", show: Runs.describe)
        }
    }

    struct Follow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows a run's events from the start, and goes on as they come.")

        @Argument(help: "The run's id.") var id: String
        @OptionGroup var connection: Connection

        func run() async throws {
            let transcript = Transcript()
            let asJSON = connection.json
            try await reportingErrors {
                try await APIClient.with(connection.url) { client in
                    try await client.stream("GET", "/api/agent/runs/\(id)/events") { event in
                        if asJSON { Terminal.print(event.text) } else { transcript.show(event) }
                    }
                    if !asJSON { transcript.end() }
                }
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Cancels a run.")

        @Argument(help: "The run's id.") var id: String
        @OptionGroup var connection: Connection

        func run() async throws {
            try await connection.ask("POST", "/api/agent/runs/\(id)/cancel", show: Runs.describe)
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Decides about a tool call that nobody knows the outcome of, and lets the run go on.",
            discussion: """
                A crash between a call and its answer leaves it open whether the call happened. Look at the other system, then:
                  --retry            it did not happen: call again
                  --result TEXT      it happened, with this result
                  --failure TEXT     let it count as failed
                """)

        @Argument(help: "The run's id.") var id: String
        @Option(help: "The tool call's id.") var toolCall: String
        @Flag(help: "Call the tool again.") var retry = false
        @Option(help: "The call happened, with this result.") var result: String?
        @Option(help: "The call failed, for this reason.") var failure: String?
        @OptionGroup var connection: Connection

        func validate() throws {
            guard [retry, result != nil, failure != nil].filter({ $0 }).count == 1 else {
                throw ValidationError("Give one of --retry, --result and --failure.")
            }
        }

        func run() async throws {
            var body: [String: JSONValue] = ["toolCallId": .string(toolCall)]
            body["decision"] = retry ? "retry" : result != nil ? "result" : "failure"
            if let text = result ?? failure { body["result"] = .string(text) }
            try await connection.ask(
                "POST", "/api/agent/runs/\(id)/resume", body: .object(body), show: Runs.describe)
        }
    }
}
