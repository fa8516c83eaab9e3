import Domain
import Models
import Synchronization

/// A tool served by another process: one `POST` a call, with the arguments as a JSON body.
///
/// The request carries `Idempotency-Key` (the same for every attempt of a call), `X-Request-Id`, `X-Tenant-Id`,
/// `X-Run-Id` and `traceparent`. An answer with status 2xx is the result, text or JSON; any other is a failure.
public struct HTTPTool: Tool {
    public let definition: ToolDefinition
    private let url: String
    private let headers: [(name: String, value: String)]
    private let http: any OutgoingHTTP

    public init(
        definition: ToolDefinition, url: String, headers: [(name: String, value: String)] = [], http: any OutgoingHTTP
    ) {
        self.definition = definition
        self.url = url
        self.headers = headers
        self.http = http
    }

    public func call(_ arguments: JSONValue, context: ToolContext) async throws -> ToolOutput {
        var headers = headers
        headers += [
            ("Content-Type", "application/json"), ("Idempotency-Key", context.idempotencyKey),
            ("X-Request-Id", context.trace.requestID), ("X-Tenant-Id", "\(context.principal.tenant)"),
            ("X-Run-Id", "\(context.run)"),
        ]
        if let traceparent = context.trace.traceparent { headers.append(("traceparent", traceparent)) }
        let request = OutgoingRequest(url: url, headers: headers, body: Array(arguments.text.utf8))
        let body = Mutex<[UInt8]>([])
        // One byte more than allowed is kept, so that the cut is noticed and said.
        let limit = definition.maximumOutputBytes + 1
        let head: OutgoingResponseHead
        do {
            head = try await http.exchange(request, timeouts: HTTPTimeouts(total: definition.timeout)) { _, bytes in
                body.withLock { $0.append(contentsOf: bytes.prefix(max(0, limit - $0.count))) }
            }
        } catch let failure as HTTPFailure {
            throw ToolFailure(Self.message(failure))
        }
        let content = String(decoding: body.withLock { $0 }, as: UTF8.self).filter { $0 != "\0" }
        guard (200..<300).contains(head.status) else {
            throw ToolFailure("The tool answered \(head.status): \(content.prefix(500))")
        }
        return ToolOutput(content: content)
    }

    private static func message(_ failure: HTTPFailure) -> String {
        switch failure {
        case .notConnected(let reason): "The tool could not be reached: \(reason). Nothing was sent."
        case .broken(let reason): "The connection to the tool broke: \(reason). It may have acted all the same."
        case .timedOut(let phase):
            "The tool took too long (\(phase.rawValue))." + (phase == .connect ? "" : " It may have acted all the same.")
        }
    }
}

extension HTTPTool {
    /// Reads a list of tools: `{"tools": [{"name", "description", "url", "parameters", "idempotent", …}]}`.
    ///
    /// - Throws: `Problem` with `invalid_request`, naming the tool and what is wrong with it.
    public static func tools(declaredBy file: [UInt8], http: any OutgoingHTTP) throws(Problem) -> [HTTPTool] {
        let json: JSONValue
        do {
            json = try JSONValue(parsing: file)
        } catch {
            throw Problem(.invalidRequest, "The tools file is not JSON: \(error).")
        }
        guard let declarations = json["tools"]?.array else {
            throw Problem(.invalidRequest, "The tools file must be an object with an array 'tools'.")
        }
        var tools: [HTTPTool] = []
        for (index, declaration) in declarations.enumerated() {
            tools.append(try tool(declaration, index: index, http: http))
        }
        return tools
    }

    private static let timeoutSeconds = 0.1...3600
    private static let maximumOutputBytes: ClosedRange<Int64> = 1...(1 << 20)
    private static let members: Set<String> = [
        "name", "description", "url", "parameters", "idempotent", "timeoutSeconds", "maximumOutputBytes", "scope", "headers",
    ]

    private static func tool(
        _ declaration: JSONValue, index: Int, http: any OutgoingHTTP
    ) throws(Problem) -> HTTPTool {
        let place = "tools[\(index)]"
        guard let name = declaration["name"]?.string, let description = declaration["description"]?.string,
            let url = declaration["url"]?.string, url.hasPrefix("http://") || url.hasPrefix("https://"),
            let idempotent = declaration["idempotent"]?.bool
        else {
            throw Problem(
                .invalidRequest, "\(place) needs name, description, url (http or https) and idempotent (true or false).")
        }
        if let unknown = declaration.object?.keys.sorted().first(where: { !members.contains($0) }) {
            let known = members.sorted().joined(separator: ", ")
            throw Problem(.invalidRequest, "\(place) has an unknown member '\(unknown)'. Known: \(known).")
        }
        func optional<Value>(_ member: String, _ what: String, _ read: (JSONValue) -> Value?) throws(Problem) -> Value? {
            guard let value = declaration[member], value != .null else { return nil }
            guard let read = read(value) else { throw Problem(.invalidRequest, "\(place).\(member) must be \(what).") }
            return read
        }
        let timeout = try optional("timeoutSeconds", "a number from 0.1 to 3600") { value in
            value.double.flatMap { timeoutSeconds.contains($0) ? $0 : nil }
        }
        let outputBytes = try optional("maximumOutputBytes", "an integer from 1 to 1048576") { value in
            value.int.flatMap { maximumOutputBytes.contains($0) ? Int($0) : nil }
        }
        let headers = try optional("headers", "an object of strings") { value -> [String: String]? in
            let texts = value.object?.compactMapValues(\.string)
            return texts?.count == value.object?.count ? texts : nil
        }
        let scope = try optional("scope", "a string", \.string)
        let parameters: JSONSchema
        do {
            parameters = try JSONSchema(declaration["parameters"] ?? ["type": "object"])
        } catch {
            throw Problem(.invalidRequest, "\(place).parameters: \(error.detail)")
        }
        let definition = ToolDefinition(
            name: name, description: description, parameters: parameters,
            timeout: .milliseconds(Int64((timeout ?? 30) * 1000)), maximumOutputBytes: outputBytes ?? 64 * 1024,
            isIdempotent: idempotent, scope: scope)
        let sorted = (headers ?? [:]).sorted { $0.key < $1.key }
        return HTTPTool(
            definition: definition, url: url, headers: sorted.map { (name: $0.key, value: $0.value) }, http: http)
    }
}
