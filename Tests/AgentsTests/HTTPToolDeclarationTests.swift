import Agents
import Domain
import Models
import Synchronization
import Testing

/// Keeps the requests, and answers each alike.
private final class Echo: OutgoingHTTP {
    private let sent = Mutex<[OutgoingRequest]>([])
    private let status: Int
    private let body: String

    init(status: Int = 200, body: String = "done") {
        self.status = status
        self.body = body
    }

    var requests: [OutgoingRequest] { sent.withLock { $0 } }

    func exchange(
        _ request: OutgoingRequest, timeouts: HTTPTimeouts,
        receive: @escaping @Sendable (OutgoingResponseHead, [UInt8]) async throws -> Void
    ) async throws -> OutgoingResponseHead {
        sent.withLock { $0.append(request) }
        let head = OutgoingResponseHead(status: status, headers: [:])
        try await receive(head, Array(body.utf8))
        return head
    }
}

private func tools(_ file: String, http: Echo = Echo()) throws(Problem) -> [HTTPTool] {
    try HTTPTool.tools(declaredBy: Array(file.utf8), http: http)
}

/// A declaration with these members, as the text of a tools file.
private func declaration(_ changes: [String: JSONValue] = [:], without missing: String = "") -> String {
    var members: [String: JSONValue] = [
        "name": "book", "description": "Books a table.", "url": "https://tools.example/book", "idempotent": false,
    ]
    for (name, value) in changes { members[name] = value }
    members.removeValue(forKey: missing)
    return JSONValue.object(["tools": .array([.object(members)])]).text
}

private let full = """
    {"tools": [
        {"name": "weather", "description": "Tells the weather.", "url": "http://127.0.0.1:9000/w", "idempotent": true,
         "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
         "timeoutSeconds": 2.5, "maximumOutputBytes": 1000, "scope": "tools:weather", "headers": {"X-Key": "k", "A": "b"}},
        {"name": "book", "description": "Books a table.", "url": "https://tools.example/book", "idempotent": false}
    ]}
    """

/// Files that hold no list of tools, and a word of what is said about each.
private let brokenFiles: [(String, String)] = [
    ("", "not JSON"), ("tools:", "not JSON"), (#"{"tools":[],"tools":[]}"#, "not JSON"), ("[]", "array 'tools'"),
    ("{}", "array 'tools'"), (#"{"tools":{}}"#, "array 'tools'"), (#"{"tools":null}"#, "array 'tools'"),
]

private let incomplete: [String] = [
    declaration(without: "name"), declaration(without: "description"), declaration(without: "url"),
    declaration(without: "idempotent"), declaration(["name": 1]), declaration(["description": .null]),
    declaration(["url": true]), declaration(["idempotent": "yes"]), declaration(["idempotent": 1]),
    declaration(["url": "ftp://tools.example"]), declaration(["url": "tools.example/book"]),
    declaration(["url": "/book"]), declaration(["url": ""]),
]

/// Declarations with a value that cannot be meant as it stands: dropping it would loosen a bound or a right.
private let unreasonable: [String] = [
    declaration(["scope": 1]), declaration(["scope": ["runs:read"]]), declaration(["timeoutSeconds": "30"]),
    declaration(["timeoutSeconds": 0]), declaration(["timeoutSeconds": .int(-1)]),
    declaration(["maximumOutputBytes": "64"]), declaration(["maximumOutputBytes": .double(0.5)]),
    declaration(["maximumOutputBytes": .int(-1)]), declaration(["headers": ["X-Key"]]),
    declaration(["headers": "X-Key: k"]), declaration(["headers": ["X-Key": 1]]),
]

private let badNames = ["", "book a table", "b\u{FC}chen", String(repeating: "x", count: 65)]

@Suite("HTTP tool declarations")
struct HTTPToolDeclarationTests {
    @Test("Every member of a declaration is taken over")
    func fullDeclaration() throws {
        let definition = try #require(try tools(full).first).definition
        #expect(definition.name == "weather")
        #expect(definition.description == "Tells the weather.")
        #expect(definition.isIdempotent)
        #expect(definition.timeout == .milliseconds(2500))
        #expect(definition.maximumOutputBytes == 1000)
        #expect(definition.scope == "tools:weather")
        #expect(definition.parameters.violations(of: [:]).map(\.description) == ["arguments.city: is required"])
    }

    @Test("What a declaration leaves out has a default that bounds the call")
    func defaults() throws {
        let definition = try #require(try tools(full).last).definition
        #expect(!definition.isIdempotent)
        #expect(definition.timeout == .seconds(30))
        #expect(definition.maximumOutputBytes == 64 * 1024)
        #expect(definition.scope == nil)
        #expect(definition.parameters.violations(of: []).map(\.description) == ["arguments: must be object"])
    }

    @Test("The tools keep the order of the file, and an empty list is no error")
    func order() throws {
        let names = try tools(full).map(\.definition.name)
        let none = try tools(#"{"tools":[]}"#)
        #expect(names == ["weather", "book"])
        #expect(none.isEmpty)
    }

    @Test("A file that holds no list of tools is refused", arguments: brokenFiles)
    func refusesFile(file: String, words: String) throws {
        let problem = try #require(throws: Problem.self) { try tools(file) }
        #expect(problem.code == .invalidRequest)
        #expect(problem.detail.contains(words))
    }

    @Test("A declaration needs a name, a description, an http address and whether it may be repeated", arguments: incomplete)
    func refusesMissing(file: String) throws {
        let problem = try #require(throws: Problem.self) { try tools(file) }
        #expect(problem.detail.hasPrefix("tools[0] needs name, description, url"))
    }

    @Test("A declaration that is no object is refused under its place")
    func refusesOtherValue() throws {
        let problem = try #require(throws: Problem.self) { try tools(#"{"tools":["weather"]}"#) }
        #expect(problem.detail.hasPrefix("tools[0] "))
    }

    @Test("An unknown member is refused by name, with those that are known")
    func refusesUnknown() throws {
        let problem = try #require(throws: Problem.self) { try tools(declaration(["idempotency": true])) }
        #expect(problem.detail.hasPrefix("tools[0] has an unknown member 'idempotency'. Known: description, headers,"))
    }

    @Test("A member of the wrong kind or beyond reason is refused, not silently dropped", arguments: unreasonable)
    func refusesUnreasonable(file: String) {
        #expect(throws: Problem.self) { try tools(file) }
    }

    @Test("A timeout of astronomical length is refused, and does not end the process")
    func refusesEndlessTimeout() async {
        await #expect(processExitsWith: .success) {
            #expect(throws: Problem.self) { try tools(declaration(["timeoutSeconds": .double(1e300)])) }
        }
    }

    @Test("A schema that is not supported is refused under the place of its tool")
    func refusesSchema() throws {
        let file = declaration(["parameters": ["type": "object", "patternProperties": [:]]])
        let problem = try #require(throws: Problem.self) { try tools(file) }
        #expect(problem.detail.contains("patternProperties"))
        #expect(problem.detail.contains("tools[0]"))
    }

    @Test("A name that no provider accepts is refused", arguments: badNames)
    func refusesName(name: String) {
        #expect(throws: Problem.self) { try ToolCatalog(tools(declaration(["name": .string(name)]))) }
    }

    @Test("Two tools of one name are refused")
    func refusesTwins() throws {
        let tool = try #require(try tools(declaration()).first)
        #expect(throws: Problem.self) { try ToolCatalog([tool, tool]) }
    }
}

@Suite("HTTP tool calls")
struct HTTPToolCallTests {
    private static let id = "0192f3a1-7b2c-7def-8123-456789abcdef"
    private static let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    private func call(_ file: String, _ http: Echo) async throws -> ToolOutput {
        let principal = Principal(
            tenant: try #require(TenantID(Self.id)), user: try #require(UserID(Self.id)), scopes: [])
        let context = ToolContext(
            run: try #require(RunID(Self.id)), principal: principal,
            trace: Trace(requestID: "request-1", traceparent: Self.traceparent), toolCallID: "call-1",
            idempotencyKey: "run/step/call", collection: nil)
        let tool = try #require(try tools(file, http: http).first)
        return try await tool.call(["city": "Bonn"], context: context)
    }

    @Test("A call is one POST of the arguments with the headers of the file and of the run")
    func request() async throws {
        let http = Echo()
        let output = try await call(full, http)
        let request = try #require(http.requests.first)
        #expect(output.content == "done")
        #expect(http.requests.count == 1)
        #expect(request.method == "POST")
        #expect(request.url == "http://127.0.0.1:9000/w")
        #expect(String(decoding: request.body, as: UTF8.self) == #"{"city":"Bonn"}"#)
        let expected = [
            "A: b", "X-Key: k", "Content-Type: application/json", "Idempotency-Key: run/step/call",
            "X-Request-Id: request-1", "X-Tenant-Id: \(Self.id)", "X-Run-Id: \(Self.id)", "traceparent: \(Self.traceparent)",
        ]
        #expect(request.headers.map { "\($0.name): \($0.value)" } == expected)
    }

    @Test("An answer that is not 2xx is a failure that says what was answered", arguments: [199, 300, 404, 500])
    func otherStatus(status: Int) async {
        await #expect(throws: ToolFailure("The tool answered \(status): no table")) {
            try await call(declaration(), Echo(status: status, body: "no table"))
        }
    }

    @Test("At most one byte more than allowed is kept, and no NUL")
    func boundedOutput() async throws {
        let file = declaration(["maximumOutputBytes": 10])
        let output = try await call(file, Echo(body: "a\0b" + String(repeating: "c", count: 1000)))
        #expect(output.content == "ab" + String(repeating: "c", count: 8))
    }
}
