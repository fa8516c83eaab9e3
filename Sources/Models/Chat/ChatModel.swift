import Domain

/// One message of a conversation, as every chat provider knows it.
public enum ChatMessage: Hashable, Sendable {
    case system(String)
    case user(String)
    case assistant(text: String, toolCalls: [ToolCall])
    /// The result of a tool call, as text.
    case tool(callID: String, name: String, content: String)
}

/// A model's wish to call a tool.
public struct ToolCall: Hashable, Sendable {
    public let id: String
    public let name: String
    /// JSON text as the model wrote it: perhaps not valid.
    public let arguments: String

    public init(id: String, name: String, arguments: String) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }
}

/// A tool as a model sees it.
public struct ToolDeclaration: Hashable, Sendable {
    public let name: String
    public let description: String
    /// JSON Schema of the arguments.
    public let parameters: JSONValue

    public init(name: String, description: String, parameters: JSONValue) {
        self.name = name
        self.description = description
        self.parameters = parameters
    }
}

public struct ChatRequest: Sendable {
    /// The provider's name of the model, without the provider.
    public var model: String
    public var messages: [ChatMessage]
    public var tools: [ToolDeclaration]
    /// A bound on the answer's length.
    public var maximumTokens: Int
    public var trace: Trace?

    public init(
        model: String, messages: [ChatMessage], tools: [ToolDeclaration] = [], maximumTokens: Int = 1024,
        trace: Trace? = nil
    ) {
        self.model = model
        self.messages = messages
        self.tools = tools
        self.maximumTokens = maximumTokens
        self.trace = trace
    }
}

/// A piece of an answer. Tool calls are numbered by `index` within the answer; a start comes before its arguments.
public enum ChatDelta: Hashable, Sendable {
    case text(String)
    case toolCallStart(index: Int, name: String)
    case toolCallArguments(index: Int, delta: String)
}

/// Tokens used by one call, as the provider counted them.
public struct TokenUsage: Hashable, Sendable {
    public var input: Int
    public var output: Int

    public init(input: Int, output: Int) {
        self.input = input
        self.output = output
    }
}

/// A whole answer.
public struct ChatCompletion: Hashable, Sendable {
    public var text: String
    /// In the order of their index. Ids are the provider's, and not unique over a run.
    public var toolCalls: [ToolCall]
    /// `nil` when the provider did not count.
    public var usage: TokenUsage?

    public init(text: String, toolCalls: [ToolCall] = [], usage: TokenUsage? = nil) {
        self.text = text
        self.toolCalls = toolCalls
        self.usage = usage
    }
}

/// Why a model gave no answer.
public struct ModelError: Error, Hashable, Sendable {
    /// One of the `model…` codes.
    public let code: ErrorCode
    /// What happened and what to look at.
    public let message: String
    /// Whether the same call may succeed later.
    public let isRetryable: Bool
    /// What the provider asked for by `Retry-After`.
    public let retryAfter: Duration?

    public init(_ code: ErrorCode, _ message: String, isRetryable: Bool, retryAfter: Duration? = nil) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.retryAfter = retryAfter
    }
}

/// A model that answers a conversation.
public protocol ChatModel: Sendable {
    /// Asks once, with retries as long as nothing of an answer has come, and hands the answer over as it comes.
    ///
    /// - Parameter onDelta: called in order; slows the provider down while it runs; what it throws ends the call.
    /// - Returns: the whole answer: the concatenation of the deltas.
    /// - Throws: `ModelError`, `CancellationError`, or what `onDelta` throws.
    func complete(
        _ request: ChatRequest, onDelta: @escaping @Sendable (ChatDelta) async throws -> Void
    ) async throws -> ChatCompletion

    /// Whether the provider may have a model of this name.
    func serves(_ model: String) -> Bool
}

extension ChatModel {
    /// Most providers know best which models they have.
    public func serves(_ model: String) -> Bool { true }
}

/// The configured providers.
public struct ModelCatalog: Sendable {
    private let providers: [String: any ChatModel]
    /// The model of a run that names none, as `provider/model`.
    public let defaultModel: String

    public init(providers: [String: any ChatModel], defaultModel: String) {
        self.providers = providers
        self.defaultModel = defaultModel
    }

    /// The provider of `provider/model`, and the model's own name.
    ///
    /// - Throws: `Problem` with `unknown_model` when no such provider is configured.
    public func resolve(_ reference: String) throws(Problem) -> (model: any ChatModel, name: String) {
        let parts = reference.split(separator: "/", maxSplits: 1)
        guard parts.count == 2, let provider = providers[String(parts[0])], provider.serves(String(parts[1])) else {
            let known = providers.keys.sorted().map { "\($0)/…" }.joined(separator: ", ")
            throw Problem(.unknownModel, "No configured provider has the model '\(reference)'. Configured: \(known).")
        }
        return (provider, String(parts[1]))
    }
}
