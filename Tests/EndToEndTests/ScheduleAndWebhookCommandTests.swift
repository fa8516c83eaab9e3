import Domain
import Foundation
import Hummingbird
import Synchronization
import TestSupport
import Testing

@Suite("Schedules and webhooks from the command line", .serialized)
struct ScheduleAndWebhookCommandTests {
    @Test("a schedule is made, looked at, paused, run while paused, resumed and deleted; its run stays")
    func schedules() async throws {
        try await withServer { server, client, _ in
            let environment = ["SBA_URL": server.url, "SBA_TOKEN": client.token]
            let made = try await server.run(
                "schedules", "create", "words:1", "--name", "nightly", "--cron", "0 3 * * *", "--time-zone", "Europe/Berlin",
                "--missed", "skip", "--model", "openai/scripted", "--json", environment: environment)
            #expect(made.status == 0, "\(made.standardError)")
            let schedule = try Self.json(made)
            let id = try #require(schedule["id"]?.string)
            #expect(schedule["missed"] == "skip" && schedule["run"]?["options"] == ["model": "openai/scripted"])
            let list = try await server.run("schedules", environment: environment)
            #expect(list.standardOutput.contains(id) && list.standardOutput.contains("active"))
            let shown = try await server.run("schedules", "show", id, environment: environment)
            #expect(shown.standardOutput.contains("Europe/Berlin") && shown.standardOutput.contains("words:1"))
            // Three in Berlin is one or two in UTC.
            let times = shown.standardOutput.split(separator: "\n").filter { line in
                line.hasSuffix("T01:00:00.000Z") || line.hasSuffix("T02:00:00.000Z")
            }
            #expect(times.count == 5 && times.first?.hasPrefix("next") == true, "\(shown.standardOutput)")
            let paused = try await server.run("schedules", "pause", id, environment: environment)
            #expect(paused.status == 0 && paused.standardOutput.contains("paused"))
            #expect(!paused.standardOutput.contains(":00:00.000Z"), "a paused schedule has no next times")
            let asked = try await server.run("schedules", "run", id, environment: environment)
            #expect(asked.status == 0 && asked.standardOutput.contains("manual"), "\(asked.standardError)")
            let run = try #require(try await Self.run(of: id, client))
            #expect(try await client.wait(for: run, in: ["succeeded", "failed"])["status"] == "succeeded")
            let firings = try await server.run("schedules", "firings", id, environment: environment)
            #expect(firings.standardOutput.contains(run) && firings.standardOutput.contains("started"))
            let resumed = try await server.run("schedules", "resume", id, environment: environment)
            #expect(resumed.status == 0 && resumed.standardOutput.contains("active"))
            let deleted = try await server.run("schedules", "delete", id, environment: environment)
            #expect(deleted.status == 0 && deleted.standardOutput == "Deleted.\n")
            let gone = try await server.run("schedules", "show", id, environment: environment)
            #expect(gone.status == 1 && gone.standardError.contains("[not_found]"))
            #expect(try await server.run("schedules", environment: environment).standardOutput == "No schedules.\n")
            #expect(try await client.send("GET", "/api/agent/runs/\(run)").json["status"] == "succeeded")
        }
    }

    @Test("a schedule that could never fire, or lacks what it needs, is refused with the reason")
    func refusedSchedules() async throws {
        try await withServer { server, client, _ in
            let environment = ["SBA_URL": server.url, "SBA_TOKEN": client.token]
            let minute = try await server.run(
                "schedules", "create", "words:1", "--name", "x", "--cron", "61 * * * *", environment: environment)
            #expect(minute.status == 1 && minute.standardError.contains("61 is out of range"), "\(minute.standardError)")
            let zone = try await server.run(
                "schedules", "create", "words:1", "--name", "x", "--cron", "@daily", "--time-zone", "Mars/North",
                environment: environment)
            #expect(zone.status == 1 && zone.standardError.contains("Mars/North"), "\(zone.standardError)")
            let nameless = try await server.run("schedules", "create", "words:1", "--cron", "@daily", environment: environment)
            #expect(nameless.status == 64 && nameless.standardError.contains("--name"))
            #expect(try await client.send("GET", "/api/schedules").json["items"] == [])
        }
    }

    @Test("a webhook is made, tested, replayed, given a new secret, disabled, enabled and deleted; a secret is shown once")
    func webhooks() async throws {
        let received = Mutex(0)
        try await withServer(environment: ["SBA_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"]) { server, client, _ in
            let environment = ["SBA_URL": server.url, "SBA_TOKEN": client.token]
            let router = Router()
            router.post("hook") { _, _ in
                received.withLock { $0 += 1 }
                return ""
            }
            try await withHTTPServer(router) { url in
                let id = try await Self.makeWebhook(url + "/hook", server, environment)
                let tested = try await server.run("webhooks", "test", id, "--json", environment: environment)
                #expect(tested.status == 0, "\(tested.standardError)")
                let delivery = try #require(try Self.json(tested)["id"]?.string)
                try await Self.wait(for: delivery, of: id, client)
                #expect(received.withLock { $0 } == 1)
                let deliveries = try await server.run("webhooks", "deliveries", id, environment: environment)
                #expect(deliveries.standardOutput.contains(delivery) && deliveries.standardOutput.contains("webhook.test"))
                let failed = try await server.run(
                    "webhooks", "deliveries", id, "--state", "failed", environment: environment)
                #expect(failed.status == 0 && failed.standardOutput == "No deliveries.\n")
                let replayed = try await server.run("webhooks", "replay", id, delivery, environment: environment)
                #expect(replayed.status == 0 && replayed.standardOutput.contains("webhook.test"), "\(replayed.standardError)")
                for _ in 0..<500 where received.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(20)) }
                #expect(received.withLock { $0 } == 2)
                let disabled = try await server.run("webhooks", "disable", id, environment: environment)
                #expect(disabled.status == 0 && disabled.standardOutput.contains("disabled"))
                #expect(try await server.run("webhooks", environment: environment).standardOutput.contains("disabled"))
                let enabled = try await server.run("webhooks", "enable", id, environment: environment)
                #expect(enabled.status == 0 && enabled.standardOutput.contains("enabled"))
                let deleted = try await server.run("webhooks", "delete", id, environment: environment)
                #expect(deleted.status == 0 && deleted.standardOutput == "Deleted.\n")
                let gone = try await server.run("webhooks", "deliveries", id, environment: environment)
                #expect(gone.status == 1 && gone.standardError.contains("[not_found]"))
                #expect(try await server.run("webhooks", environment: environment).standardOutput == "No webhooks.\n")
            }
        }
    }

    /// Makes a webhook and rotates its secret; answers its id.
    private static func makeWebhook(
        _ url: String, _ server: SBAProcess, _ environment: [String: String]
    ) async throws -> String {
        let made = try await server.run(
            "webhooks", "create", url, "--event", "run.succeeded", "--event", "document.*", "--description", "the shop",
            environment: environment)
        #expect(made.status == 0 && made.standardOutput.hasPrefix("whsec_"), "\(made.standardError)")
        #expect(made.standardOutput.contains("This is the only time the secret is shown."))
        let id = try #require(made.standardOutput.split(whereSeparator: \.isWhitespace).last).filter { $0 != "." }
        let secret = String(made.standardOutput.prefix { !$0.isNewline })
        let list = try await server.run("webhooks", "list", environment: environment)
        #expect(list.standardOutput.contains(id) && list.standardOutput.contains("run.succeeded document.*"))
        let rotated = try await server.run("webhooks", "rotate-secret", id, environment: environment)
        #expect(rotated.status == 0 && rotated.standardOutput.hasPrefix("whsec_"), "\(rotated.standardError)")
        #expect(!rotated.standardOutput.contains(secret))
        let shown = try await server.run("webhooks", "show", id, environment: environment)
        #expect(shown.standardOutput.contains("the shop") && shown.standardOutput.contains("previous secret until"))
        let json = try await server.run("webhooks", "show", id, "--json", environment: environment)
        #expect(!(list.standardOutput + shown.standardOutput + json.standardOutput).contains("whsec_"))
        return id
    }

    /// Waits until a delivery was taken.
    private static func wait(for delivery: String, of webhook: String, _ client: TestClient) async throws {
        var answer: JSONValue = .null
        for _ in 0..<500 where answer["state"] != "delivered" {
            answer = try await client.send("GET", "/api/webhooks/\(webhook)/deliveries/\(delivery)").json
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(answer["state"] == "delivered" && answer["lastStatus"] == 200, "\(answer.text)")
    }

    /// The run of a schedule's newest firing, once there is one.
    private static func run(of schedule: String, _ client: TestClient) async throws -> String? {
        for _ in 0..<500 {
            let firings = try await client.send("GET", "/api/schedules/\(schedule)/firings").json
            if let run = firings["items"]?.array?.first?["runId"]?.string { return run }
            try await Task.sleep(for: .milliseconds(20))
        }
        return nil
    }

    private static func json(_ output: SBAProcess.Output) throws -> JSONValue {
        try JSONValue(parsing: output.standardOutput.filter { $0 != "\n" })
    }
}
