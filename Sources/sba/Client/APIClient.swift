import AsyncHTTPClient
import Domain
import Foundation
import Models
import NIOCore
import Synchronization

/// Talks to a server for the commands.
struct APIClient {
    private static let timeouts = HTTPTimeouts(total: .seconds(30))
    /// A run may stay silent for as long as its tools work; heartbeats come more often than this.
    private static let streamTimeouts = HTTPTimeouts(
        firstByte: .seconds(30), idle: .seconds(60), total: .seconds(24 * 3600))

    let url: String
    private let http: HTTPClientTransport
    private let token: String

    /// Signs in as the environment says, asking on the terminal for what is missing, and works with the client until the end.
    static func with(_ url: String?, _ work: (APIClient) async throws -> Void) async throws {
        var settings = await SettingsReader(flags: url.map { [Setting.url.name: $0] } ?? [:])
        let base = settings.text(.url)
        try settings.finish()
        let client = HTTPClientTransport.makeClient()
        let http = HTTPClientTransport(client: client)
        do {
            let token = try await token(base, http, &settings)
            try await work(APIClient(url: base, http: http, token: token))
        } catch {
            try? await client.shutdown()
            throw error
        }
        try await client.shutdown()
    }

    private static func token(
        _ base: String, _ http: HTTPClientTransport, _ settings: inout SettingsReader
    ) async throws -> String {
        if let token = settings.string(.token) { return token }
        guard let email = settings.string(.email) ?? Terminal.ask("Address: "),
            let password = settings.string(.password) ?? Terminal.ask("Password: ", hidden: true)
        else {
            throw Problem(.tokenMissing, "Set SBA_EMAIL and SBA_PASSWORD, or SBA_TOKEN, to sign in to \(base).")
        }
        let anonymous = APIClient(url: base, http: http, token: "")
        let answer = try await anonymous.send(
            "POST", "/api/auth/login", body: ["email": .string(email), "password": .string(password)])
        return answer["accessToken"]?.string ?? ""
    }

    private func headers(
        _ more: [(name: String, value: String)] = [], token other: String? = nil
    ) -> [(name: String, value: String)] {
        let token = other ?? token
        let authorization = token.isEmpty ? [] : [(name: "Authorization", value: "Bearer \(token)")]
        return [("Content-Type", "application/json")] + authorization + more
    }

    /// What a server answered, whatever it was.
    struct Answer: Sendable {
        let status: Int
        let text: String

        /// The JSON of an answer that has to have this status.
        ///
        /// - Throws: `Problem` as the server said it.
        func json(_ expected: Int) throws(Problem) -> JSONValue {
            let json = (try? JSONValue(parsing: text)) ?? .null
            guard status == expected else { throw APIClient.problem(status, json) }
            return json
        }
    }

    /// Sends a request, perhaps with another token than one's own or with none, and reads what comes back.
    ///
    /// - Throws: `Problem` when no answer comes.
    func exchange(
        _ method: String, _ path: String, token: String? = nil, headers more: [(name: String, value: String)] = [],
        body: JSONValue? = nil
    ) async throws -> Answer {
        let request = OutgoingRequest(
            method: method, url: url + path, headers: headers(more, token: token),
            body: body.map { Array($0.text.utf8) } ?? [])
        let received = Mutex<[UInt8]>([])
        let head = try await reaching {
            try await http.exchange(request, timeouts: Self.timeouts) { _, bytes in
                received.withLock { $0 += bytes }
            }
        }
        return Answer(status: head.status, text: String(decoding: received.withLock { $0 }, as: UTF8.self))
    }

    /// Sends a request and reads the JSON that comes back.
    ///
    /// - Throws: `Problem` as the server said it, or saying that there is none.
    func send(_ method: String, _ path: String, body: JSONValue? = nil) async throws -> JSONValue {
        let answer = try await exchange(method, path, body: body)
        let json = (try? JSONValue(parsing: answer.text)) ?? .null
        guard (200..<300).contains(answer.status) else { throw Self.problem(answer.status, json) }
        return json
    }

    /// Sends a request that answers with a stream of events, and hands over each.
    func stream(
        _ method: String, _ path: String, body: JSONValue? = nil, onEvent: @escaping @Sendable (JSONValue) async throws -> Void
    ) async throws {
        let request = OutgoingRequest(
            method: method, url: url + path, headers: headers([("Accept", "text/event-stream")]),
            body: body.map { Array($0.text.utf8) } ?? [])
        let parser = Mutex(ServerSentEventParser())
        let refusal = Mutex<[UInt8]>([])
        let head = try await reaching {
            try await http.exchange(request, timeouts: Self.streamTimeouts) { head, bytes in
                guard head.status == 200 else { return refusal.withLock { $0 += bytes } }
                for data in try parser.withLock({ try $0.append(bytes) }) {
                    if let event = try? JSONValue(parsing: data) { try await onEvent(event) }
                }
            }
        }
        guard head.status == 200 else {
            throw Self.problem(head.status, (try? JSONValue(parsing: refusal.withLock { $0 })) ?? .null)
        }
    }

    /// Hands over the text of an answer as it comes.
    func download(_ path: String, onText: @escaping @Sendable (String) -> Void) async throws {
        let request = OutgoingRequest(method: "GET", url: url + path, headers: headers(), body: [])
        let refusal = Mutex<[UInt8]>([])
        let rest = Mutex<[UInt8]>([])
        let head = try await reaching {
            try await http.exchange(request, timeouts: Self.streamTimeouts) { head, bytes in
                guard head.status == 200 else { return refusal.withLock { $0 += bytes } }
                // Whole lines, so that no character is cut.
                let lines = rest.withLock { rest -> [UInt8] in
                    rest += bytes
                    let end = rest.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
                    defer { rest.removeFirst(end) }
                    return Array(rest[..<end])
                }
                if !lines.isEmpty { onText(String(decoding: lines, as: UTF8.self)) }
            }
        }
        guard head.status == 200 else {
            throw Self.problem(head.status, (try? JSONValue(parsing: refusal.withLock { $0 })) ?? .null)
        }
    }

    /// A value as one part of a path.
    static func segment(_ text: String) -> String {
        let allowed = CharacterSet(charactersIn: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
        return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? ""
    }

    /// A value for a query.
    static func escaped(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }

    private func reaching<Value>(_ work: () async throws -> Value) async throws -> Value {
        do {
            return try await work()
        } catch HTTPFailure.notConnected {
            throw Problem(.overloaded, "No server answers at \(url). Start one with 'sba serve', or set SBA_URL.")
        } catch HTTPFailure.broken(let reason) {
            throw Problem(.overloaded, "The connection to \(url) broke: \(reason)")
        } catch HTTPFailure.timedOut {
            throw Problem(.overloaded, "The server at \(url) took too long.")
        }
    }

    private static func problem(_ status: Int, _ json: JSONValue) -> Problem {
        let code = json["code"]?.string.flatMap(ErrorCode.init(rawValue:)) ?? .internalError
        return Problem(code, json["detail"]?.string ?? "The server answered \(status).")
    }
}
