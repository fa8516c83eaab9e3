import ArgumentParser
import Domain

struct Queues: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Lists, shows, pauses and resumes queues; retries and discards jobs.",
        discussion: """
            For operators. Queues are shared by all processes on one database: pausing one stops every worker from starting \
            its jobs.

            Example, dead letters of the runs:
              sba queue show run --state discarded
              sba queue retry 01a1fa28-ffd0-734b-ae85-12a46b69597b
            """,
        subcommands: [List.self, Show.self, Pause.self, Resume.self, Retry.self, Discard.self, Limit.self],
        defaultSubcommand: List.self)

    private static let states = ["scheduled", "available", "executing", "retryable", "discarded"]

    private static func table(_ queues: [JSONValue]) -> String {
        Terminal.table(
            [["QUEUE", "STATE"] + states.map { $0.uppercased() } + ["OLDEST"]]
                + queues.map { queue in
                    [queue["name"]?.string ?? "", queue["pausedAt"]?.string == nil ? "open" : "paused"]
                        + states.map { "\(queue["jobs"]?[$0]?.int ?? 0)" } + [queue["oldestAvailableAt"]?.string ?? "-"]
                })
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the queues, with how many jobs are in which state.")

        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("GET", "/api/queues") { Queues.table($0["items"]?.array ?? []) }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists a queue's jobs in one state, or shows one job.")

        @Argument(help: "The queue's name, or a job's id.") var name: String
        @Option(help: "scheduled, available, executing, retryable, completed, discarded or cancelled.") var state = "discarded"
        @Option(help: "How many, 1 to 100.") var limit = 20
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            guard JobID(name) == nil else {
                return try await connection.ask("GET", "/api/jobs/\(name)") { Queues.describe($0) }
            }
            let path = "/api/queues/\(APIClient.segment(name))/jobs?state=\(APIClient.escaped(state))&limit=\(limit)"
            try await connection.ask("GET", path) { answer in
                let rows = (answer["items"]?.array ?? []).map { job in
                    [
                        job["id"]?.string ?? "", "\(job["attempt"]?.int ?? 0)/\(job["maximumAttempts"]?.int ?? 0)",
                        job["createdAt"]?.string ?? "", job["worker"]?.string ?? "-",
                        String((job["lastError"]?.string ?? "").prefix(60)),
                    ]
                }
                return rows.isEmpty
                    ? "No jobs that are \(state)." : Terminal.table([["ID", "ATTEMPT", "CREATED", "WORKER", "ERROR"]] + rows)
            }
        }
    }

    private static func describe(_ job: JSONValue) -> String {
        Terminal.table(
            (job.object ?? [:]).sorted { $0.key < $1.key }.map { name, value in [name, value.string ?? value.text] })
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lets no worker start a job of the queue; running ones go on.")

        @Argument(help: "The queue's name.") var name: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws { try await Queues.change(name, ["paused": true], connection) }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Opens a paused queue.")

        @Argument(help: "The queue's name.") var name: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws { try await Queues.change(name, ["paused": false], connection) }
    }

    struct Limit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bounds how many jobs of one tenant are at work at one time, or sets one tenant's share.")

        @Argument(help: "The queue's name.") var name: String
        @Argument(help: "How many, or 'none'; 'default' takes a tenant's share away.") var concurrency: String
        @Option(help: "Only for this tenant.") var tenant: String?
        @Option(help: "The tenant's turns to another's one, 1 to 1000.") var weight = 1
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            let bound: JSONValue =
                concurrency == "none" ? .null : Int64(concurrency).map { .int($0) } ?? .string(concurrency)
            guard let tenant else { return try await Queues.change(name, ["tenantConcurrency": bound], connection) }
            let path = "/api/queues/\(APIClient.segment(name))/shares/\(APIClient.segment(tenant))"
            guard concurrency != "default" else {
                return try await connection.ask("DELETE", path) { _ in "The tenant has no share of its own any more." }
            }
            try await connection.ask("PUT", path, body: ["weight": .int(Int64(weight)), "concurrency": bound]) { share in
                "The tenant has weight \(share["weight"]?.int ?? 1)."
            }
        }
    }

    private static func change(_ name: String, _ body: JSONValue, _ connection: Runs.Connection) async throws {
        try await connection.ask("PATCH", "/api/queues/\(APIClient.segment(name))", body: body) { table([$0]) }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Has a job done now: one that waits for its time, or a dead letter once more. A run that has ended stays so.")

        @Argument(help: "The job's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("POST", "/api/jobs/\(APIClient.segment(id))/retry") { Queues.describe($0) }
        }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Gives up a job that waits: its run fails, its document becomes failed.")

        @Argument(help: "The job's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("POST", "/api/jobs/\(APIClient.segment(id))/discard") { Queues.describe($0) }
        }
    }
}
