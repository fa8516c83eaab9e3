import Domain
import Foundation
import TestSupport
import Testing

@Suite("Commands", .serialized)
struct CommandTests {
    @Test("a wrong configuration ends the start with every fault in one message")
    func faults() async throws {
        let process = SBAProcess(environment: [
            "SBA_HTTP_PORT": "eighty", "SBA_REGISTRATION": "maybe", "SBA_SECRET_KEY": "short", "SBA_MODEL": "openai/x",
            "SBA_TOOLS_FILE": "/nowhere.json", "DATABASE_URL": "postgresql://me:pa%ss@somewhere/db", "SBA_LOG_LEVEL": "loud",
        ])
        let output = try await process.run("serve")
        #expect(output.status == 2)
        for name in [
            "SBA_HTTP_PORT", "SBA_REGISTRATION", "SBA_SECRET_KEY", "SBA_MODEL", "SBA_TOOLS_FILE", "DATABASE_URL",
            "SBA_LOG_LEVEL",
        ] {
            #expect(output.standardError.contains(name), "\(name) is missing in: \(output.standardError)")
        }
        #expect(!output.standardError.contains("short") && !output.standardError.contains("somewhere"))
    }

    @Test("settings come from the flag, the environment, a file and sba.yaml, in this order")
    func sources() async throws {
        let process = SBAProcess()
        let folder = process.folder.path
        try "sba:\n  http:\n    host: localhost\n    port: 9001\n  registration: open\n"
            .write(toFile: folder + "/sba.yaml", atomically: true, encoding: .utf8)
        try "a-secret-key-that-is-long-enough-to-use\n"
            .write(toFile: folder + "/key", atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: folder + "/key")
        let output = try await process.run(
            "config", "--json",
            environment: ["SBA_HTTP_PORT": "9002", "SBA_SECRET_KEY_FILE": folder + "/key", "OPENAI_API_KEY": "sk-hidden"])
        #expect(output.status == 0)
        #expect(!output.standardOutput.contains("sk-hidden") && !output.standardOutput.contains("long-enough"))
        let items = try #require(try JSONValue(parsing: output.standardOutput.filter { $0 != "\n" }).array)
        func item(_ name: String) -> JSONValue? { items.first { $0["name"] == .string(name) } }
        #expect(item("SBA_HTTP_HOST")?["value"] == "localhost")
        #expect(item("SBA_HTTP_HOST")?["source"] == "sba.yaml")
        #expect(item("SBA_HTTP_PORT")?["value"] == "9002")
        #expect(item("SBA_HTTP_PORT")?["source"] == "environment")
        #expect(item("SBA_SECRET_KEY")?["source"] == "SBA_SECRET_KEY_FILE")
        #expect(item("SBA_DATA_DIR")?["source"] == "default")
    }

    @Test("the first start makes an account, prints its password once, and takes in the sample documents")
    func firstStart() async throws {
        let process = SBAProcess(environment: ["SBA_ADMIN_EMAIL": "first@example.com", "SBA_ADMIN_PASSWORD": ""])
        let documents = process.folder.path + "/documents"
        try FileManager.default.createDirectory(atPath: documents, withIntermediateDirectories: true)
        try "# Tea\n\nTea is at four.".write(toFile: documents + "/tea.md", atomically: true, encoding: .utf8)
        let server = SBAProcess(
            environment: [
                "SBA_ADMIN_EMAIL": "first@example.com", "SBA_ADMIN_PASSWORD": "", "SBA_SAMPLE_KNOWLEDGE": documents,
            ], folder: process.folder)
        try await server.start()
        let greeting = try String(contentsOfFile: server.folder.path + "/out.1", encoding: .utf8)
        let line = try #require(greeting.split(separator: "\n").first { $0.contains("shown this once") })
        let password = String(try #require(line.split(separator: " ").last))
        #expect(!server.log.contains(password))
        let environment = ["SBA_URL": server.url, "SBA_EMAIL": "first@example.com", "SBA_PASSWORD": password]
        var answer = try await server.run("chat", "When is tea?", environment: environment)
        for _ in 0..<20 where !answer.standardOutput.contains("Tea is at four") {
            try await Task.sleep(for: .milliseconds(50))
            answer = try await server.run("chat", "When is tea?", environment: environment)
        }
        #expect(answer.standardOutput.contains("Tea is at four"))
        let closed = try await TestClient(url: server.url).send(
            "POST", "/api/auth/register",
            ["email": "second@example.com", "password": "long-enough-1", "tenantName": "Two"])
        #expect(closed.status == 403 && closed.json["code"] == "registration_closed")
        await server.stop()
        try await server.start()
        let second = try String(contentsOfFile: server.folder.path + "/out.2", encoding: .utf8)
        #expect(!second.contains("shown this once"))
        let attributes = try FileManager.default.attributesOfItem(atPath: server.folder.path + "/data")
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o700)
        await server.stop()
    }

    @Test("two servers cannot share a data folder; a migration waits for none")
    func lock() async throws {
        let server = SBAProcess()
        try await server.start()
        let second = try await server.run("serve", "--port", "0", "--data-dir", server.folder.path + "/data")
        #expect(second.status == 1)
        #expect(second.standardError.contains("Another sba process"))
        await server.stop()
        let migrate = try await server.run("migrate", "--data-dir", server.folder.path + "/data")
        #expect(migrate.status == 0 && migrate.standardOutput.contains("up to date"))
        let fresh = try await server.run("migrate", "--dry-run", "--data-dir", server.folder.path + "/fresh")
        #expect(fresh.standardOutput.contains("pending 1 initial"))
        let json = try await server.run("migrate", "--json", "--data-dir", server.folder.path + "/fresh")
        #expect(json.standardOutput == "{\"applied\":[1,2,3,4,5],\"pending\":[],\"unknown\":[]}\n")
        let status = try await server.run("migrate", "status", "--data-dir", server.folder.path + "/new")
        #expect(status.status == 1 && status.standardOutput.contains("pending 1 initial"))
    }

    @Test("runs can be listed, shown, followed and cancelled")
    func runs() async throws {
        try await withServer { server, client, _ in
            let environment = server.clientEnvironment
            let chat = try await server.run("chat", "--json", "words:2", environment: environment)
            #expect(chat.status == 0)
            let events = chat.standardOutput.split(separator: "\n").compactMap { try? JSONValue(parsing: String($0)) }
            #expect(events.first?["type"] == "RUN_STARTED" && events.last?["type"] == "RUN_FINISHED")
            let id = try #require(events.first?["runId"]?.string)
            let list = try await server.run("runs", environment: environment)
            #expect(list.standardOutput.contains(id) && list.standardOutput.contains("succeeded"))
            let shown = try await server.run("runs", "show", id, "--json", environment: environment)
            #expect(try JSONValue(parsing: shown.standardOutput.filter { $0 != "\n" })["id"] == .string(id))
            let followed = try await server.run("runs", "follow", id, environment: environment)
            #expect(followed.standardOutput.contains("word0 word1"))
            let hanging = try await client.send("POST", "/api/agent/runs", ["prompt": "hang:1"])
            let other = try #require(hanging.json["id"]?.string)
            #expect(try await server.run("runs", "cancel", other, environment: environment).status == 0)
            #expect(try await client.wait(for: other, in: ["cancelled"])["status"] == "cancelled")
            let missing = try await server.run("runs", "show", "\(UUID())".lowercased(), environment: environment)
            #expect(missing.status == 1 && missing.standardError.contains("[not_found]"))
            let failed = try await server.run("chat", "status:401", environment: environment)
            #expect(failed.status == 1 && failed.standardOutput.contains("OPENAI_API_KEY"))
        }
    }

    @Test("doctor tells what is wrong, and help and version what there is")
    func doctor() async throws {
        let process = SBAProcess()
        let good = try await process.run("doctor", "--json", environment: ["SBA_HTTP_PORT": "0"])
        #expect(good.status == 0)
        let findings = try #require(try JSONValue(parsing: good.standardOutput.filter { $0 != "\n" }).array)
        #expect(findings.contains { $0["name"] == "data folder" && $0["result"] == "ok" })
        let bad = try await process.run(
            "doctor", environment: ["OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "SBA_MODEL": "openai/x"])
        #expect(bad.status == 1 && bad.standardOutput.contains("FAIL"))
        #expect(try await process.run("version").standardOutput.hasPrefix("sba 0."))
        let help = try await process.run("--help")
        for command in ["serve", "migrate", "chat", "runs", "config", "doctor", "version"] {
            #expect(help.standardOutput.contains(command))
        }
        #expect(try await process.run("serve", "--nonsense").status == 64)
        let unreachable = try await process.run(
            "runs", environment: ["SBA_URL": "http://127.0.0.1:9", "SBA_TOKEN": "x"])
        #expect(unreachable.status == 1 && unreachable.standardError.contains("No server answers"))
    }
}
