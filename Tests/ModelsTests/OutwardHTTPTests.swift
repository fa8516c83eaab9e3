import Domain
import Models
import Synchronization
import TestSupport
import Testing

/// What a host name leads to, one answer a question; the last one stands. Nothing else is found.
private final class FakeLookup: Sendable {
    private let answers: Mutex<[[IPAddress]]>
    private let names = Mutex<[String]>([])

    init(_ answers: [String]...) { self.answers = Mutex(answers.map { $0.compactMap { IPAddress($0) } }) }

    /// The names that were asked for.
    var asked: [String] { names.withLock { $0 } }

    func addresses(of host: String) throws -> [IPAddress] {
        names.withLock { $0.append(host) }
        return answers.withLock { $0.count > 1 ? $0.removeFirst() : $0.first ?? [] }
    }
}

/// An address of nobody: not inward, but no longer given to anyone (RFC 3701).
private let outward = "3ffe::1"
/// For what is not to be reached.
private let impatience = HTTPTimeouts(total: .milliseconds(300))

private func makeHTTP(allowed: String..., lookup: FakeLookup) -> OutwardHTTP {
    OutwardHTTP(allowed: allowed.compactMap { IPNetwork($0) }) { host in try lookup.addresses(of: host) }
}

private func get(
    _ url: String, headers: [(name: String, value: String)] = [], by http: OutwardHTTP,
    timeouts: HTTPTimeouts = HTTPTimeouts(total: .seconds(20))
) async throws -> OutgoingResponseHead {
    let request = OutgoingRequest(method: "GET", url: url, headers: headers, body: [])
    return try await http.exchange(request, timeouts: timeouts) { _, _ in }
}

/// Why the request is refused, before anything is sent.
private func refusal(
    _ url: String, headers: [(name: String, value: String)] = [], by http: OutwardHTTP
) async throws -> String {
    let failure = try await #require(throws: HTTPFailure.self) { try await get(url, headers: headers, by: http) }
    guard case .notConnected(let reason) = failure else { return "\(failure)" }
    return reason
}

/// Hosts that are inward addresses, or that the system looks up as such.
private let inward = [
    "127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[127.0.0.1]", "[fd00::1]", "１２７.0.0.1", "①②⑦.⓪.⓪.①", "localhost", "LOCALHOST",
]

/// Hosts that one reader takes for an address or another host, and another reader does not.
private let unclear = [
    "127.1", "127.0.1", "0", "2130706433", "0x7f000001", "0x7f.1", "127.0.0.0x1", "0177.0.0.1", "127.0.0.01", "127.0.0.1.",
    "127.0.0.1..", "localhost.", "localhost..", ".localhost", "a..localhost", "%6cocalhost", "localhost%2e", "%31%32%37.0.0.1",
    "127%2e0.0.1", "127.0.0.1%00.example.com", "example.com%00", "[fe80::1%25lo]", "[::1%25lo]", "[::1%lo]", "a,b",
    "bücher.example", "local\u{AD}host.", "1.2.3.4.", "example.com.", "example.1", "",
]

/// Addresses that hold more or less than a host of https, and why they are refused.
private let addresses = [
    (
        "the address is not a URL of https",
        [
            "ftp://example.com/", "http+unix://%2Frun%2Fx/", "unix:///run/x", "file:///etc/passwd", "//example.com/",
            "example.com", "https:example.com", "https:///example.com", "https://exa mple.com/", "https://a\r\nb/",
            "https://::1/", "https://[::1", "",
        ]
    ),
    (
        "the address names a user",
        [
            "https://user@example.com/", "https://user:x@example.com/", "https://@example.com/", "https://:@example.com/",
            "https://example.com@127.0.0.1/", #"https://example.com\@127.0.0.1/"#, "https://[::1]@example.com/",
        ]
    ),
    ("the address names no port", ["https://example.com:0/", "https://127.0.0.1:65536/", "https://127.0.0.1:99999/"]),
]

@Suite("Outward HTTP: what is refused", .timeLimit(.minutes(5)))
struct OutwardHTTPRefusalTests {
    @Test("An inward address is not connected to, however it is written", arguments: inward, ["http", "https"])
    func inwardHosts(host: String, scheme: String) async throws {
        let server = try RawServer()
        defer { server.close() }
        let reason = try await refusal("\(scheme)://\(host):\(server.port)/", by: OutwardHTTP(allowed: []))
        #expect(reason.hasSuffix("is an inward address, which is not allowed here"))
        #expect(server.requests.isEmpty)
    }

    @Test("A host that can be read in two ways is refused, and not looked up", arguments: unclear)
    func unclearHosts(host: String) async throws {
        let server = try RawServer()
        defer { server.close() }
        let lookup = FakeLookup(["127.0.0.1"])
        let reason = try await refusal(
            "http://\(host):\(server.port)/", by: makeHTTP(allowed: "0.0.0.0/0", "::/0", lookup: lookup))
        #expect(["the address names no host", "the address is not a URL of https"].contains(reason))
        #expect(lookup.asked.isEmpty && server.requests.isEmpty)
    }

    @Test("An address that is none of a host by https is refused, and not looked up", arguments: addresses)
    func otherAddresses(reason: String, urls: [String]) async throws {
        let lookup = FakeLookup(["127.0.0.1"])
        let http = makeHTTP(allowed: "0.0.0.0/0", lookup: lookup)
        for url in urls { #expect(try await refusal(url, by: http) == reason, "\(url)") }
        #expect(lookup.asked.isEmpty)
    }

    @Test(
        "A name is refused when one of its addresses is inward, wherever it stands",
        arguments: [[outward, "127.0.0.1"], ["127.0.0.1", outward], ["10.0.0.1", "127.0.0.1"], [outward, "::1"]])
    func oneInward(answer: [String]) async throws {
        let server = try RawServer()
        defer { server.close() }
        let http = makeHTTP(allowed: "10.0.0.0/8", lookup: FakeLookup(answer))
        let reason = try await refusal("https://tool.test:\(server.port)/", by: http)
        #expect(reason == "tool.test is an inward address, which is not allowed here")
        #expect(server.requests.isEmpty)
    }

    @Test("Without TLS only what is allowed is connected to")
    func plain() async throws {
        let http = makeHTTP(allowed: "127.0.0.0/8", lookup: FakeLookup(["127.0.0.1", outward]))
        #expect(try await refusal("http://tool.test/", by: http) == "tool.test must be asked by https")
    }

    @Test("A name without an address is said to have none")
    func noAddress() async throws {
        #expect(try await refusal("https://tool.test/", by: makeHTTP(lookup: FakeLookup())) == "tool.test has no address")
    }

    @Test("A name that does not exist is said not to be found")
    func notFound() async throws {
        let reason = try await refusal("https://nowhere.invalid/", by: OutwardHTTP(allowed: []))
        #expect(reason == "the host nowhere.invalid cannot be found")
    }

    @Test("The header Host cannot name another host")
    func hostHeader() async throws {
        let http = makeHTTP(allowed: "127.0.0.0/8", lookup: FakeLookup(["127.0.0.1"]))
        let reason = try await refusal("http://tool.test/", headers: [("hOST", "other.test")], by: http)
        #expect(reason == "the header Host follows from the address")
    }

    @Test("A lookup that takes too long is a connection that does")
    func slowLookup() async {
        let http = OutwardHTTP(allowed: []) { _ in
            try await Task.sleep(for: .seconds(3600))
            return []
        }
        await #expect(throws: HTTPFailure.timedOut(.connect)) {
            try await get("https://tool.test/", by: http, timeouts: impatience)
        }
    }
}

@Suite("Outward HTTP: what is connected to", .timeLimit(.minutes(5)))
struct OutwardHTTPConnectionTests {
    @Test("An allowed network is reached without TLS, and is told the name", arguments: ["tool.test", "Tool.TEST", "tool_1"])
    func allowed(host: String) async throws {
        let server = try RawServer()
        defer { server.close() }
        let lookup = FakeLookup(["127.0.0.1"])
        let head = try await get("http://\(host):\(server.port)/a?b=c", by: makeHTTP(allowed: "127.0.0.0/8", lookup: lookup))
        #expect(head.status == 204)
        let request = String(decoding: try #require(server.requests.first), as: UTF8.self)
        #expect(request.hasPrefix("GET /a?b=c HTTP/1.1\r\n"))
        #expect(request.lowercased().contains("\r\nhost: \(host.lowercased()):\(server.port)\r\n"))
        #expect(lookup.asked == [host])
    }

    @Test("An address is not looked up", arguments: ["127.0.0.1", "[::ffff:127.0.0.1]"])
    func literal(host: String) async throws {
        let server = try RawServer()
        defer { server.close() }
        let lookup = FakeLookup()
        let head = try await get("http://\(host):\(server.port)/", by: makeHTTP(allowed: "127.0.0.1", lookup: lookup))
        #expect(head.status == 204)
        #expect(lookup.asked.isEmpty)
    }

    @Test("The system's own names are looked up")
    func systemLookup() async throws {
        let addresses = try await HostLookup.addresses(of: "localhost")
        #expect(!addresses.isEmpty && addresses.allSatisfy(\.isInward))
    }

    @Test("TLS names the host as well")
    func serverName() async throws {
        let server = try RawServer(answer: "this is no TLS")
        defer { server.close() }
        let http = makeHTTP(allowed: "127.0.0.0/8", lookup: FakeLookup(["127.0.0.1"]))
        await #expect(throws: HTTPFailure.self) { try await get("https://tool.test:\(server.port)/", by: http) }
        let hello = try #require(server.requests.first)
        #expect(hello.first == 22, "a handshake (RFC 8446, 5.1)")
        #expect(String(decoding: hello, as: UTF8.self).contains("tool.test"))
    }

    @Test("What the name leads to after it was checked makes no difference")
    func rebinding() async throws {
        let server = try RawServer()
        defer { server.close() }
        // Whoever looked the name up again, by this lookup or by the system's, would come to the server.
        let lookup = FakeLookup([outward], ["127.0.0.1"])
        let http = makeHTTP(allowed: "3ffe::/16", lookup: lookup)
        await #expect(throws: HTTPFailure.self) {
            try await get("http://localhost:\(server.port)/", by: http, timeouts: impatience)
        }
        #expect(lookup.asked == ["localhost"])
        #expect(server.requests.isEmpty)
    }

    @Test("The next request is checked anew")
    func checkedAnew() async throws {
        let server = try RawServer()
        defer { server.close() }
        let http = makeHTTP(allowed: "127.0.0.1", lookup: FakeLookup(["127.0.0.1"], ["127.0.0.2"]))
        #expect(try await get("http://tool.test:\(server.port)/", by: http).status == 204)
        let reason = try await refusal("http://tool.test:\(server.port)/", by: http)
        #expect(reason == "tool.test is an inward address, which is not allowed here")
        #expect(server.requests.count == 1)
    }

    @Test("A redirect is answered, not followed", arguments: [301, 302, 303, 307, 308])
    func redirect(status: Int) async throws {
        let location = "Location: http://localhost/\r\n"
        let server = try RawServer(answer: "HTTP/1.1 \(status) Elsewhere\r\n\(location)Content-Length: 0\r\n\r\n")
        defer { server.close() }
        let lookup = FakeLookup(["127.0.0.1"])
        let head = try await get("http://tool.test:\(server.port)/", by: makeHTTP(allowed: "127.0.0.0/8", lookup: lookup))
        #expect(head.status == status)
        #expect(head.headers["location"] == "http://localhost/")
        #expect(lookup.asked == ["tool.test"] && server.requests.count == 1)
    }
}
