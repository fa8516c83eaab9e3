import Domain

/// Something an agent can do besides talking.
public struct ToolDefinition: Sendable {
    /// Letters, digits, `_` and `-`, 1 to 64 characters: what every provider accepts.
    public let name: String
    /// Tells the model when to call it.
    public let description: String
    public let parameters: JSONSchema
    /// A call is given up after this.
    public let timeout: Duration
    /// A longer result is cut, and says so.
    public let maximumOutputBytes: Int
    /// Whether the same call may be made twice. One that is not idempotent is dispatched at most once automatically.
    public let isIdempotent: Bool
    /// What the run's principal must be allowed, or `nil` when everyone may call it.
    public let scope: String?

    public init(
        name: String, description: String, parameters: JSONSchema, timeout: Duration = .seconds(30),
        maximumOutputBytes: Int = 64 * 1024, isIdempotent: Bool, scope: String? = nil
    ) {
        self.name = name
        self.description = description
        self.parameters = parameters
        self.timeout = timeout
        self.maximumOutputBytes = maximumOutputBytes
        self.isIdempotent = isIdempotent
        self.scope = scope
    }

    public static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 95
                    || byte == 45
            }
    }
}

/// What one call knows of its run.
public struct ToolContext: Sendable {
    public let run: RunID
    public let principal: Principal
    public let trace: Trace
    public let toolCallID: String
    /// The same for every attempt of one call: `run/step/call`.
    public let idempotencyKey: String
    /// Where knowledge is looked for; everywhere when `nil`.
    public let collection: String?

    public init(
        run: RunID, principal: Principal, trace: Trace, toolCallID: String, idempotencyKey: String, collection: String?
    ) {
        self.run = run
        self.principal = principal
        self.trace = trace
        self.toolCallID = toolCallID
        self.idempotencyKey = idempotencyKey
        self.collection = collection
    }
}

/// What a call gave.
public struct ToolOutput: Sendable {
    /// Text for the model, usually JSON.
    public let content: String
    /// The passages it rests on, for whoever reads the answer: an array of objects.
    public let citations: JSONValue?

    public init(content: String, citations: JSONValue? = nil) {
        self.content = content
        self.citations = citations
    }
}

/// A call went wrong in a way that the model is told about.
public struct ToolFailure: Error, Hashable, Sendable {
    public let message: String

    public init(_ message: String) { self.message = message }
}

/// A tool with its code.
public protocol Tool: Sendable {
    var definition: ToolDefinition { get }

    /// Makes one call with arguments that fit the schema.
    ///
    /// - Throws: `ToolFailure`, which goes back to the model; `CancellationError`; any other error counts as a failure too.
    func call(_ arguments: JSONValue, context: ToolContext) async throws -> ToolOutput
}

/// The tools of this installation, by name.
public struct ToolCatalog: Sendable {
    private let tools: [String: any Tool]

    /// - Throws: `Problem` with `invalid_request` when two tools have one name, or a name is not one.
    public init(_ tools: [any Tool]) throws(Problem) {
        var byName: [String: any Tool] = [:]
        for tool in tools {
            let name = tool.definition.name
            guard ToolDefinition.isName(name) else {
                throw Problem(.invalidRequest, "'\(name)' is no tool name: use 1 to 64 letters, digits, _ and -.")
            }
            guard byName.updateValue(tool, forKey: name) == nil else {
                throw Problem(.invalidRequest, "Two tools are named '\(name)'. Rename one.")
            }
        }
        self.tools = byName
    }

    public var names: [String] { tools.keys.sorted() }

    public subscript(name: String) -> (any Tool)? { tools[name] }
}
