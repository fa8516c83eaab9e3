import ArgumentParser
import AsyncHTTPClient
import Domain
import Foundation
import Models
import Storage
import Synchronization

struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Checks whether this machine and configuration can serve; exits with 1 when they cannot.")

    @Flag(help: "Print JSON.")
    var json = false

    private struct Finding {
        let name: String
        /// `nil`: worth knowing, nothing is broken.
        let isGood: Bool?
        let detail: String

        var word: String { isGood.map { $0 ? "ok" : "FAIL" } ?? "note" }
    }

    /// Below this the database may not be able to grow for long.
    private static let minimumFreeBytes = 200 << 20

    func run() async throws {
        var settings = await SettingsReader()
        var findings: [Finding] = []
        do {
            let configuration = try ServerConfiguration(&settings)
            findings.append(Finding(name: "configuration", isGood: true, detail: "complete"))
            findings += await Self.database(configuration)
            findings.append(Self.port(configuration))
            findings.append(await Self.model(configuration))
            findings.append(Self.exposure(configuration))
        } catch {
            findings.append(Finding(name: "configuration", isGood: false, detail: "\(error)"))
        }
        if json {
            Terminal.print(
                JSONValue.array(
                    findings.map { ["name": .string($0.name), "result": .string($0.word), "detail": .string($0.detail)] }
                ).text)
        } else {
            Terminal.print(Terminal.table(findings.map { [$0.word, $0.name, $0.detail] }))
        }
        if findings.contains(where: { $0.isGood == false }) { throw ExitCode.failure }
    }

    private static func database(_ configuration: ServerConfiguration) async -> [Finding] {
        switch configuration.database {
        case .embedded(let folder): embedded(folder)
        case .postgres(let choice): [await postgres(choice, as: .application), await postgres(choice, as: .system)]
        }
    }

    private static func postgres(_ choice: DatabaseChoice.PostgresChoice, as role: PostgresSchema.Role) async -> Finding {
        let configuration = role == .application ? choice.tenants : choice.system
        let name = "database as \(role.rawValue)"
        let engine = PostgresEngine(tenants: configuration, system: configuration)
        let finding: Finding
        do {
            try await SchemaStatus(of: engine).checkCurrent()
            let fault = try await engine.fault(of: role)
            finding = Finding(name: name, isGood: fault == nil, detail: fault ?? PostgresSchema.place(of: configuration.url))
        } catch {
            finding = Finding(name: name, isGood: false, detail: (error as? Problem)?.detail ?? "\(error)")
        }
        await engine.close()
        return finding
    }

    private static func embedded(_ path: String) -> [Finding] {
        var findings: [Finding] = []
        guard FileManager.default.fileExists(atPath: path) else {
            return [Finding(name: "data folder", isGood: true, detail: "'\(path)' will be made at the first start")]
        }
        do {
            let directory = try DataDirectory(path)
            _ = try SQLiteEngine(path: directory.database)
            findings.append(Finding(name: "data folder", isGood: true, detail: "'\(path)' is ours and opens"))
        } catch let problem as Problem where problem.detail.hasPrefix("Another sba process") {
            findings.append(Finding(name: "data folder", isGood: nil, detail: problem.detail))
        } catch {
            findings.append(Finding(name: "data folder", isGood: false, detail: (error as? Problem)?.detail ?? "\(error)"))
        }
        let attributes = try? FileManager.default.attributesOfFileSystem(forPath: path)
        if let free = (attributes?[.systemFreeSize] as? NSNumber)?.intValue {
            findings.append(
                Finding(name: "disk", isGood: free >= minimumFreeBytes, detail: "\(free >> 20) MiB free at '\(path)'"))
        }
        return findings
    }

    private static func port(_ configuration: ServerConfiguration) -> Finding {
        let place = "\(configuration.host):\(configuration.port)"
        return isFree(host: configuration.host, port: configuration.port)
            ? Finding(name: "port", isGood: true, detail: "\(place) is free")
            : Finding(name: "port", isGood: nil, detail: "\(place) is taken, perhaps by a running sba")
    }

    private static func model(_ configuration: ServerConfiguration) async -> Finding {
        guard let openAI = configuration.openAI else {
            return Finding(name: "model", isGood: nil, detail: "local/extractive only: set OPENAI_BASE_URL for a language model")
        }
        let client = HTTPClientTransport.makeClient()
        var headers: [(name: String, value: String)] = []
        if let key = openAI.apiKey { headers.append(("Authorization", "Bearer \(key)")) }
        let request = OutgoingRequest(method: "GET", url: openAI.baseURL + "/models", headers: headers, body: [])
        let finding: Finding
        do {
            let head = try await HTTPClientTransport(client: client)
                .exchange(request, timeouts: HTTPTimeouts(total: .seconds(10))) { _, _ in }
            let isGood = head.status < 400
            finding = Finding(name: "model", isGood: isGood, detail: "\(openAI.baseURL) answers \(head.status)")
        } catch {
            finding = Finding(name: "model", isGood: false, detail: "\(openAI.baseURL) does not answer: \(error)")
        }
        try? await client.shutdown()
        return finding
    }

    private static func exposure(_ configuration: ServerConfiguration) -> Finding {
        let isLoopback = ["127.0.0.1", "::1", "localhost"].contains(configuration.host)
        let detail =
            isLoopback
            ? "listens on loopback only"
            : configuration.speaksTLS
                ? "listens on \(configuration.host) with TLS"
                : "listens on \(configuration.host) without TLS: set SBA_TLS_CERTIFICATE, or put a proxy with TLS in front"
        let isGood = isLoopback || configuration.speaksTLS
        return Finding(name: "exposure", isGood: isGood ? true : nil, detail: detail)
    }
}
