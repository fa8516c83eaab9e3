import ArgumentParser
import Domain

struct Schedules: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists, shows, makes, pauses, resumes, runs and deletes schedules: runs that start at set times.",
        discussion: """
            A schedule starts a run whenever its cron expression says so, on the clocks of its time zone, once however many \
            processes serve. Its runs act as whoever made or last changed it. Times are shown in UTC.

            Example, every working day at seven in Berlin:
              sba schedules create "What is new?" --name news --cron "0 7 * * mon-fri" \\
                --time-zone Europe/Berlin
              sba schedules run 01a1fa28-…
              sba schedules firings 01a1fa28-…
            """,
        subcommands: [
            List.self, Show.self, Create.self, Pause.self, Resume.self, Run.self, Firings.self, Delete.self,
        ],
        defaultSubcommand: List.self)

    private static func path(_ id: String) -> String { "/api/schedules/\(APIClient.segment(id))" }

    private static func state(_ schedule: JSONValue) -> String {
        schedule["pausedAt"]?.string == nil ? "active" : "paused"
    }

    private static func describe(_ schedule: JSONValue) -> String {
        let run = schedule["run"]
        var rows = [
            ["id", schedule["id"]?.string ?? ""], ["name", schedule["name"]?.string ?? ""], ["state", state(schedule)],
            ["cron", schedule["cron"]?.string ?? ""], ["time zone", schedule["timeZone"]?.string ?? ""],
            ["missed", schedule["missed"]?.string ?? ""], ["acts as", schedule["userId"]?.string ?? ""],
            ["created", schedule["createdAt"]?.string ?? ""], ["updated", schedule["updatedAt"]?.string ?? ""],
            ["prompt", run?["prompt"]?.string ?? ""],
        ]
        if let session = run?["sessionId"]?.string { rows.append(["session", session]) }
        rows += (run?["options"]?.object ?? [:]).sorted { $0.key < $1.key }.map { name, value in
            [name, value.string ?? value.text]
        }
        let times = (schedule["nextTimes"]?.array ?? []).compactMap(\.string)
        rows += (times.isEmpty ? ["-"] : times).enumerated().map { index, time in [index == 0 ? "next" : "", time] }
        return Terminal.table(rows)
    }

    private static func describeFiring(_ firing: JSONValue) -> String {
        var rows = [
            ["id", firing["id"]?.string ?? ""], ["schedule", firing["scheduleId"]?.string ?? ""],
            ["time", firing["time"]?.string ?? ""], ["trigger", firing["trigger"]?.string ?? ""],
            ["outcome", firing["outcome"]?.string ?? ""], ["run", firing["runId"]?.string ?? "-"],
        ]
        if let error = firing["error"]?.string { rows.append(["error", error]) }
        return Terminal.table(rows)
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists schedules, newest first.")

        @OptionGroup var connection: Runs.Connection
        @Option(help: "How many, 1 to 100.") var limit = 20

        func run() async throws {
            try await connection.ask("GET", "/api/schedules?limit=\(limit)") { answer in
                let rows = (answer["items"]?.array ?? []).map { schedule in
                    [
                        schedule["id"]?.string ?? "", Schedules.state(schedule), schedule["cron"]?.string ?? "",
                        schedule["timeZone"]?.string ?? "", schedule["nextTimes"]?.array?.first?.string ?? "-",
                        schedule["name"]?.string ?? "",
                    ]
                }
                return rows.isEmpty
                    ? "No schedules." : Terminal.table([["ID", "STATE", "CRON", "TIME ZONE", "NEXT", "NAME"]] + rows)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows one schedule, with its next times.")

        @Argument(help: "The schedule's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("GET", Schedules.path(id), show: Schedules.describe)
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Makes a schedule.")

        @Argument(help: "What its runs are asked.") var prompt: String
        @Option(help: "What the schedule is for.") var name: String
        @Option(help: "When: minute, hour, day of month, month and day of week as in crontab(5), or @daily and the like.")
        var cron: String
        @Option(help: "On whose clocks, as Europe/Berlin; UTC when absent.") var timeZone: String?
        @Option(
            help: """
                What becomes of times at which no server was there: skip, once (one run for all of them) or all (a run \
                each); once when absent.
                """)
        var missed: String?
        @Flag(help: "Make it paused.") var paused = false
        @Option(help: "The model, as provider/model; the server's default when absent.") var model: String?
        @Option(help: "Let all its runs go on with this session; each begins its own when absent.") var session: String?
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            var run: [String: JSONValue] = ["prompt": .string(prompt)]
            if let session { run["sessionId"] = .string(session) }
            if let model { run["options"] = ["model": .string(model)] }
            var body: [String: JSONValue] = [
                "name": .string(name), "cron": .string(cron), "paused": .bool(paused), "run": .object(run),
            ]
            if let timeZone { body["timeZone"] = .string(timeZone) }
            if let missed { body["missed"] = .string(missed) }
            try await connection.ask("POST", "/api/schedules", body: .object(body), show: Schedules.describe)
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a schedule start no more runs; running ones go on.")

        @Argument(help: "The schedule's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws { try await Schedules.change(id, ["paused": true], connection) }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets a paused schedule go on; its times while it was paused are gone.")

        @Argument(help: "The schedule's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws { try await Schedules.change(id, ["paused": false], connection) }
    }

    private static func change(_ id: String, _ body: JSONValue, _ connection: Runs.Connection) async throws {
        try await connection.ask("PATCH", path(id), body: body, show: describe)
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Runs a schedule now, also a paused one; its next times stay.",
            discussion: "The run comes a moment later: 'sba schedules firings' shows its id.")

        @Argument(help: "The schedule's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("POST", Schedules.path(id) + "/run", show: Schedules.describeFiring)
        }
    }

    struct Firings: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists what became of a schedule's times, newest first.")

        @Argument(help: "The schedule's id.") var id: String
        @Option(help: "How many, 1 to 100.") var limit = 20
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("GET", Schedules.path(id) + "/firings?limit=\(limit)") { answer in
                let rows = (answer["items"]?.array ?? []).map { firing in
                    [
                        firing["id"]?.string ?? "", firing["time"]?.string ?? "", firing["trigger"]?.string ?? "",
                        firing["outcome"]?.string ?? "", firing["runId"]?.string ?? "-",
                        String((firing["error"]?.string ?? "").prefix(60)),
                    ]
                }
                return rows.isEmpty
                    ? "No firings." : Terminal.table([["ID", "TIME", "TRIGGER", "OUTCOME", "RUN", "ERROR"]] + rows)
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Deletes a schedule with its firings; the runs that it started stay.")

        @Argument(help: "The schedule's id.") var id: String
        @OptionGroup var connection: Runs.Connection

        func run() async throws {
            try await connection.ask("DELETE", Schedules.path(id)) { _ in "Deleted." }
        }
    }
}
