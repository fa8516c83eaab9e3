import AsyncHTTPClient
import Domain
import Foundation
import NIOCore
import NIOHTTP1

/// A plain HTTP client for tests against the real server.
public struct TestClient: Sendable {
    public struct Answer: Sendable {
        public let status: Int
        public let headers: [String: String]
        public let json: JSONValue
        public let text: String
    }

    public let url: String
    public var token: String

    public init(url: String, token: String = "") {
        self.url = url
        self.token = token
    }

    /// Fails at once where nobody listens. Lives as long as the tests do.
    private static let http: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 100
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// Signed in as the first account.
    public static func signedIn(to server: SBAProcess) async throws -> TestClient {
        var client = TestClient(url: server.url)
        let answer = try await client.send(
            "POST", "/api/auth/login",
            ["email": .string(SBAProcess.adminEmail), "password": .string(SBAProcess.adminPassword)])
        client.token = answer.json["accessToken"]?.string ?? ""
        return client
    }

    private func request(
        _ method: String, _ path: String, _ headers: [String: String], _ body: JSONValue?
    ) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.method = .init(rawValue: method)
        if !token.isEmpty { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(string: body.text))
        }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        return request
    }

    public func send(
        _ method: String, _ path: String, _ body: JSONValue? = nil, headers: [String: String] = [:]
    ) async throws -> Answer {
        let response = try await Self.http.execute(
            request(method, path, headers, body), timeout: .seconds(60))
        let bytes = try await response.body.collect(upTo: 64 << 20)
        return Answer(
            status: Int(response.status.code),
            headers: Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }, uniquingKeysWith: { $1 }),
            json: (try? JSONValue(parsing: bytes.readableBytesView)) ?? .null, text: String(buffer: bytes))
    }

    /// One event of a stream of a run.
    public struct Event: Sendable {
        public let id: Int64
        public let json: JSONValue
        public let data: String
        public var type: String { json["type"]?.string ?? "" }
    }

    /// Reads an event stream until it ends, breaks, or `onEvent` answers false.
    public func events(
        _ method: String = "GET", _ path: String, _ body: JSONValue? = nil, after: Int64? = nil,
        onEvent: (Event) async throws -> Bool
    ) async throws {
        var headers = ["Accept": "text/event-stream"]
        if let after { headers["Last-Event-ID"] = "\(after)" }
        let response = try await Self.http.execute(
            request(method, path, headers, body), timeout: .seconds(120))
        guard response.status == .ok else {
            let bytes = try await response.body.collect(upTo: 1 << 20)
            throw SBAProcess.NotStarted(description: "\(response.status.code): \(String(buffer: bytes))")
        }
        var pending = ""
        for try await piece in response.body {
            pending += String(buffer: piece)
            while let end = pending.range(of: "\n\n") {
                let block = pending[..<end.lowerBound]
                pending = String(pending[end.upperBound...])
                guard let event = Self.event(block) else { continue }
                guard try await onEvent(event) else { return }
            }
        }
    }

    private static func event(_ block: Substring) -> Event? {
        var id: Int64?
        var data: String?
        for line in block.split(separator: "\n") {
            if line.hasPrefix("id: ") { id = Int64(line.dropFirst(4)) }
            if line.hasPrefix("data: ") { data = String(line.dropFirst(6)) }
        }
        guard let id, let data, let json = try? JSONValue(parsing: data) else { return nil }
        return Event(id: id, json: json, data: data)
    }

    /// The whole log of a run that has ended.
    public func log(of run: String) async throws -> [Event] {
        var events: [Event] = []
        try await self.events("GET", "/api/agent/runs/\(run)/events") { event in
            events.append(event)
            return true
        }
        return events
    }

    /// Asks for a run until it is in one of `statuses`.
    public func wait(for run: String, in statuses: Set<String>, timeout: Duration = .seconds(20)) async throws -> JSONValue {
        let deadline = ContinuousClock.now + timeout
        while true {
            let answer = try await send("GET", "/api/agent/runs/\(run)").json
            if statuses.contains(answer["status"]?.string ?? "") || ContinuousClock.now > deadline { return answer }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
