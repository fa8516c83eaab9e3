import Domain
import Foundation
import TestSupport
import Testing

/// Accounts, tenants and secrets with the real binary.
@Suite("Accounts, with the real binary", .serialized)
struct AccountServerTests {
    @Test("verify-isolation finds nothing, on either database, and leaves nothing", arguments: TestEngine.servers)
    func isolation(engine: TestEngine) async throws {
        try await withServer(on: engine) { server, client, _ in
            let output = try await server.run("verify-isolation", environment: server.clientEnvironment)
            #expect(output.status == 0, "\(output.standardOutput)\(output.standardError)")
            #expect(output.standardOutput.contains(" 0 wrong"))
            for operation in ["GET /api/agent/runs/{id}/events", "POST /api/knowledge/search", "PATCH /api/users/{id}"] {
                #expect(output.standardOutput.contains(operation))
            }
            let tenants = try await client.send("GET", "/api/platform/tenants?limit=100")
            #expect(tenants.json["items"]?.array?.count == 1)
            let users = try await client.send("GET", "/api/platform/users?limit=100")
            #expect(users.json["items"]?.array?.count == 1)
        }
    }

    @Test("one request is followed from HTTP through its job to the tool: id, tenant and trace")
    func trace() async throws {
        try await withServer { _, client, tool in
            let made = try await client.send("POST", "/api/tenants", ["name": "Second"])
            let tenant = try #require(made.json["id"]?.string)
            let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            let headers = ["X-Request-Id": "request-from-outside", "X-Tenant-Id": tenant, "traceparent": traceparent]
            let answer = try await client.send(
                "POST", "/api/agent/runs", ["prompt": "tools:1 tool:note words:1"],
                headers: headers.merging(["Prefer": "wait=20"]) { $1 })
            #expect(answer.headers["x-request-id"] == "request-from-outside")
            #expect(answer.json["status"] == "succeeded" && answer.json["requestId"] == "request-from-outside")
            let call = try #require(tool.entries.first)
            let run = try #require(answer.json["id"]?.string)
            #expect(call.trace == headers.merging(["X-Run-Id": run]) { $1 })
            #expect(try await client.send("GET", "/api/agent/runs/\(run)").status == 404, "it is the other tenant's")
            let usage = try await client.send(
                "GET", "/api/usage?groupBy=kind,name", headers: ["X-Tenant-Id": tenant])
            let names = (usage.json["items"]?.array ?? []).compactMap { $0["name"]?.string }
            #expect(Set(names) == ["note", "openai/scripted"])
        }
    }

    @Test("an erased tenant and an erased person are in no file of the data folder")
    func erasure() async throws {
        let server = SBAProcess(environment: ["SBA_REGISTRATION": "open"])
        try await server.start()
        let client = TestClient(url: server.url)
        let registered = try await client.send(
            "POST", "/api/auth/register",
            ["email": "erasable@example.com", "password": "correct horse battery", "tenantName": "Tangerine Ltd"])
        let owner = TestClient(url: server.url, token: registered.json["accessToken"]?.string ?? "")
        _ = try await owner.send(
            "POST", "/api/knowledge/documents", ["title": "Tangerine", "text": "The tangerine is a citrus fruit."])
        _ = try await owner.send(
            "POST", "/api/agent/runs", ["prompt": "tangerine"], headers: ["Prefer": "wait=10"])
        _ = try await owner.send("POST", "/api/invitations", ["email": "tangerine-guest@example.com", "role": "viewer"])
        _ = try await client.send("POST", "/api/auth/password/forgot", ["email": "erasable@example.com"])
        let tenant = try #require(registered.json["tenant"]?["id"]?.string)
        #expect(try Self.files(of: server, holding: "tangerine").count >= 2, "the database and a mail")
        let erased = try await owner.send("DELETE", "/api/tenants/\(tenant)?confirm=Tangerine%20Ltd")
        #expect(erased.status == 204)
        // They belonged nowhere else, and so went with the tenant; the mail about their password was no tenant's.
        #expect(try Self.files(of: server, holding: "tangerine") == [])
        await server.stop()
        #expect(try Self.files(of: server, holding: "tangerine") == [])
        #expect(try Self.files(of: server, holding: "erasable@example.com") == [])
    }

    private static func files(of server: SBAProcess, holding word: String) throws -> [String] {
        let folder = server.folder.path + "/data"
        return (FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []).filter { name in
            guard let data = FileManager.default.contents(atPath: folder + "/" + name) else { return false }
            return String(decoding: data, as: UTF8.self).lowercased().contains(word)
        }
    }

    @Test("a secret in any variable is in no answer, metric, log, output or message")
    func secrets() async throws {
        let canary = "canary0123456789canary0123456789canary"
        let variables = [
            "SBA_SECRET_KEY", "SBA_SECRET_KEY_PREVIOUS", "SBA_ADMIN_PASSWORD", "OPENAI_API_KEY", "SUPABASE_JWT_SECRET",
            "DATABASE_URL", "DATABASE_SYSTEM_URL", "DATABASE_LISTEN_URL", "DATABASE_OWNER_URL", "SBA_PASSWORD", "SBA_TOKEN",
            "SBA_METRICS_TOKEN",
        ]
        let listed = try await SBAProcess().run("config", "--json").standardOutput.filter { $0 != "\n" }
        let secrets = try #require(try JSONValue(parsing: listed).array).filter { $0["secret"] == true }
        #expect(Set(secrets.compactMap { $0["name"]?.string }) == Set(variables), "each has its canary here")
        var environment = Dictionary(uniqueKeysWithValues: variables.map { ($0, "\(canary)-\($0)") })
        for name in variables where name.hasPrefix("DATABASE") {
            environment[name] = "postgresql://user:\(canary)@127.0.0.1:1/sba"
        }
        environment["SUPABASE_URL"] = "http://127.0.0.1:1"
        environment["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
        environment["SBA_MODEL"] = "openai/none"
        environment["SBA_LOG_LEVEL"] = "trace"
        environment["SBA_DATABASE_WAIT_SECONDS"] = "1"
        func expectNone(_ text: String, _ place: String) { #expect(!text.contains("canary"), "\(place)") }
        for command in ["serve", "config", "doctor", "migrate", "runs", "verify-isolation"] {
            let output = try await SBAProcess(environment: environment).run(command)
            expectNone(output.standardOutput + output.standardError, command)
        }
        for name in variables where name.hasPrefix("DATABASE") { environment[name] = nil }
        let server = SBAProcess(environment: environment)
        try await server.start()
        var client = TestClient(url: server.url)
        let password = "\(canary)-SBA_ADMIN_PASSWORD"
        let login = try await client.send(
            "POST", "/api/auth/login", ["email": .string(SBAProcess.adminEmail), "password": .string(password)])
        client.token = login.json["accessToken"]?.string ?? ""
        _ = try await client.send(
            "POST", "/api/agent/runs", ["prompt": "x", "options": ["tools": []]], headers: ["Prefer": "wait=20"])
        let document = try await client.send("GET", "/openapi.json").json
        for (path, item) in document["paths"]?.object ?? [:] {
            for method in (item.object ?? [:]).keys where ["get", "post", "put", "patch", "delete"].contains(method) {
                let body: JSONValue? = method == "get" || method == "delete" ? nil : ["password": .string(password)]
                let answer = try await client.send(
                    method.uppercased(), path.replacing("{id}", with: "\(UUID())".lowercased()), body)
                expectNone(answer.text + "\(answer.headers)", "\(method) \(path)")
            }
        }
        await server.stop()
        expectNone(server.log, "log")
        expectNone(try String(contentsOfFile: server.folder.path + "/out.1", encoding: .utf8), "output")
    }

    @Test("keys are rotated while tokens stay good, and secrets sealed anew while the server is down")
    func rotation() async throws {
        let server = SBAProcess()
        try await server.start()
        let client = try await TestClient.signedIn(to: server)
        let rotated = try await server.run("key", "rotate", environment: server.clientEnvironment)
        #expect(rotated.status == 0 && rotated.standardOutput.contains("SIGNS FROM"), "\(rotated.standardError)")
        let published = try await client.send("GET", "/.well-known/jwks.json")
        #expect(published.json["keys"]?.array?.count == 2 && published.headers["cache-control"] == "public, max-age=300")
        #expect(try await client.send("GET", "/api/auth/me").status == 200)
        let file = server.folder.path + "/data/secret.key"
        let before = try String(contentsOfFile: file, encoding: .utf8)
        let busy = try await server.run("key", "rotate", "--secrets", "--data-dir", server.folder.path + "/data")
        #expect(busy.status == 1 && busy.standardError.contains("Another sba process"))
        await server.stop()
        let sealed = try await server.run("key", "rotate", "--secrets", "--data-dir", server.folder.path + "/data")
        #expect(sealed.status == 0 && sealed.standardOutput.hasPrefix("2 secrets"), "\(sealed.standardError)")
        #expect(try String(contentsOfFile: file, encoding: .utf8) != before)
        try await server.start()
        #expect(try await client.send("GET", "/api/auth/me").status == 200)
        await server.stop()
    }

    @Test("a secret in a file that everyone can read is refused")
    func readableSecrets() async throws {
        let process = SBAProcess()
        let file = process.folder.path + "/key"
        try "a-secret-key-that-is-long-enough-to-use".write(toFile: file, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        let refused = try await process.run("serve", environment: ["SBA_SECRET_KEY_FILE": file])
        #expect(refused.status == 2 && refused.standardError.contains("chmod o="))
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: file)
        let shown = try await process.run("config", environment: ["SBA_SECRET_KEY_FILE": file])
        #expect(shown.status == 0 && shown.standardOutput.contains("SBA_SECRET_KEY_FILE"))
    }

    @Test("operators manage accounts, tenants and keys from the command line")
    func commands() async throws {
        let server = SBAProcess(environment: ["SBA_REGISTRATION": "open"])
        try await server.start()
        // One sign-in for all commands.
        let signedIn = try await TestClient.signedIn(to: server)
        let environment = ["SBA_URL": server.url, "SBA_TOKEN": signedIn.token]
        let registered = try await TestClient(url: server.url).send(
            "POST", "/api/auth/register",
            ["email": "customer@example.com", "password": "correct horse battery", "tenantName": "Customer"])
        let tenant = try #require(registered.json["tenant"]?["id"]?.string)
        func run(_ arguments: String...) async throws -> SBAProcess.Output {
            switch arguments.count {
            case 2: try await server.run(arguments[0], arguments[1], environment: environment)
            case 3: try await server.run(arguments[0], arguments[1], arguments[2], environment: environment)
            case 5:
                try await server.run(
                    arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], environment: environment)
            default:
                try await server.run(
                    arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5],
                    environment: environment)
            }
        }
        #expect(try await run("user", "list").standardOutput.contains("customer@example.com"))
        #expect(try await run("tenant", "list").standardOutput.contains("Customer"))
        #expect(try await run("user", "operator", "customer@example.com").standardOutput.contains("an operator"))
        let key = try await run("key", "create", "CI", "--scope", "runs:read").standardOutput
        #expect(key.hasPrefix("sba_"))
        let text = String(key.prefix { !$0.isNewline })
        #expect(try await server.run("runs", "list", environment: ["SBA_URL": server.url, "SBA_TOKEN": text]).status == 0)
        #expect(try await run("key", "list").standardOutput.contains("runs:read"))
        let id = try #require(key.split(whereSeparator: \.isWhitespace).last).filter { $0 != "." }
        #expect(try await run("key", "revoke", id).status == 0)
        #expect(try await server.run("runs", "list", environment: ["SBA_URL": server.url, "SBA_TOKEN": text]).status == 1)
        let own = try #require(
            (try await signedIn.send("GET", "/api/auth/me")).json["tenant"]?["id"]?.string)
        let export = try await run("tenant", "export", own).standardOutput
        #expect(export.split(separator: "\n").count > 5 && export.contains("\"table\":\"audit_logs\""))
        #expect(try await run("tenant", "erase", tenant, "--platform", "--confirm", "wrong").status == 1)
        _ = try await run("user", "erase", "nobody@example.com")
        let stranded = try await run("tenant", "erase", tenant, "--platform", "--confirm", "Customer")
        #expect(stranded.status == 1, "an operator would belong nowhere")
        _ = try await server.run(
            "user", "operator", "customer@example.com", "--no-grant", environment: environment)
        #expect(try await run("tenant", "erase", tenant, "--platform", "--confirm", "Customer").status == 0)
        #expect(try await !run("user", "list").standardOutput.contains("customer@example.com"))
        await server.stop()
    }

    @Test("TLS, and HTTP/2 for whoever wants it: requests and streams alike")
    func tls() async throws {
        let folder = TemporaryFolder()
        let (key, certificate) = (folder.path + "/key.pem", folder.path + "/cert.pem")
        let made = try runTool(
            "/usr/bin/env",
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate,
            ], input: "")
        #expect(made.status == 0, "\(made.text)")
        let refused = try await SBAProcess(environment: ["SBA_TLS_CERTIFICATE": key, "SBA_TLS_KEY": certificate]).run("serve")
        #expect(refused.status == 2 && refused.standardError.contains("SBA_TLS_CERTIFICATE"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
        let server = SBAProcess(environment: ["SBA_TLS_CERTIFICATE": certificate, "SBA_TLS_KEY": key])
        try await server.start()
        #expect(server.url.hasPrefix("https://"))
        func curl(_ arguments: String...) throws -> String {
            let answer = try runTool(
                "/usr/bin/env", ["curl", "-sS", "--max-time", "30", "--cacert", certificate] + arguments, input: "")
            #expect(answer.status == 0, "\(answer.text)")
            return answer.text
        }
        let login = try curl(
            "--http2", server.url + "/api/auth/login", "-H", "Content-Type: application/json", "-d",
            #"{"email":"\#(SBAProcess.adminEmail)","password":"\#(SBAProcess.adminPassword)"}"#)
        let token = try #require(try JSONValue(parsing: login)["accessToken"]?.string)
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let head = try curl(option, "-i", "-w", "version:%{http_version}", server.url + "/api/health")
            #expect(head.contains("version:\(version)") && head.lowercased().contains("strict-transport-security"))
            let stream = try curl(
                option, "-N", server.url + "/api/agent/runs", "-H", "Authorization: Bearer \(token)", "-H",
                "Accept: text/event-stream", "-H", "Content-Type: application/json", "-d", #"{"prompt":"Hello"}"#)
            #expect(stream.contains("event: RUN_STARTED") && stream.contains("event: RUN_FINISHED"))
            let large = try curl(
                option, server.url + "/api/knowledge/search", "-H", "Authorization: Bearer \(token)", "-H",
                "Content-Type: application/json", "-d", #"{"query":""}"#)
            #expect(large.contains("invalid_request"))
        }
        let plain = try runTool(
            "/usr/bin/env", ["curl", "-sS", "--max-time", "5", server.url.replacing("https", with: "http") + "/api/health"],
            input: "")
        #expect(plain.status != 0, "no TLS, no answer")
        await server.stop()
        withExtendedLifetime(folder) {}
    }
}
