import Domain

/// One piece of work of an agent: a prompt, and everything that is done to answer it.
public struct Run: Hashable, Sendable {
    public let id: RunID
    public let session: SessionID
    /// Who started it: every tool call is authorised against this.
    public let principal: Principal
    public let trace: Trace
    public let prompt: String
    public let options: RunOptions
    public let status: RunStatus
    /// The final answer of a run that succeeded.
    public let output: String?
    public let failure: Failure?
    public let usage: Usage
    public let createdAt: Timestamp
    /// When a worker first began it.
    public let startedAt: Timestamp?
    public let finishedAt: Timestamp?
    /// When it expires unless it has ended.
    public let deadline: Timestamp

    public struct Failure: Hashable, Sendable {
        public let code: String
        public let message: String

        public init(code: String, message: String) {
            self.code = code
            self.message = message
        }
    }

    /// Tokens of all finished model calls.
    public struct Usage: Hashable, Sendable {
        public let inputTokens: Int
        public let outputTokens: Int

        public init(inputTokens: Int, outputTokens: Int) {
            self.inputTokens = inputTokens
            self.outputTokens = outputTokens
        }
    }

    public init(
        id: RunID, session: SessionID, principal: Principal, trace: Trace, prompt: String, options: RunOptions,
        status: RunStatus, output: String?, failure: Failure?, usage: Usage, createdAt: Timestamp,
        startedAt: Timestamp?, finishedAt: Timestamp?, deadline: Timestamp
    ) {
        self.id = id
        self.session = session
        self.principal = principal
        self.trace = trace
        self.prompt = prompt
        self.options = options
        self.status = status
        self.output = output
        self.failure = failure
        self.usage = usage
        self.createdAt = createdAt
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.deadline = deadline
    }

    public var tenant: TenantID { principal.tenant }
}

/// How a run is done, complete: defaults were filled in when it was created.
public struct RunOptions: Hashable, Sendable {
    public static let maximumSteps = 100
    public static let defaultSteps = 20
    public static let defaultTimeout: Duration = .seconds(15 * 60)
    public static let maximumTimeout: Duration = .seconds(24 * 3600)

    /// `provider/model`.
    public var model: String
    public var instructions: String?
    /// The names of the tools that the model may call.
    public var tools: [String]
    /// Where knowledge search looks; every collection when absent.
    public var collection: String?
    /// Model calls and tool calls together.
    public var stepLimit: Int
    public var timeout: Duration

    public init(
        model: String, instructions: String? = nil, tools: [String], collection: String? = nil,
        stepLimit: Int = defaultSteps, timeout: Duration = defaultTimeout
    ) {
        self.model = model
        self.instructions = instructions
        self.tools = tools
        self.collection = collection
        self.stepLimit = stepLimit
        self.timeout = timeout
    }
}

extension RunOptions {
    /// The form in which a run stores them.
    public var json: JSONValue {
        [
            "model": .string(model), "instructions": JSONValue(instructions),
            "tools": .array(tools.map { .string($0) }), "collection": JSONValue(collection),
            "stepLimit": .int(Int64(stepLimit)), "timeoutSeconds": .int(timeout.components.seconds),
        ]
    }

    public init(json: JSONValue) {
        self.init(
            model: json["model"]?.string ?? "", instructions: json["instructions"]?.string,
            tools: (json["tools"]?.array ?? []).compactMap(\.string), collection: json["collection"]?.string,
            stepLimit: json["stepLimit"]?.int.map { Int($0) } ?? Self.defaultSteps,
            timeout: json["timeoutSeconds"]?.int.map { .seconds($0) } ?? Self.defaultTimeout)
    }
}

/// One model call or one tool call of a run.
public struct RunStep: Hashable, Sendable {
    public enum Kind: String, Sendable {
        case model
        case tool
    }

    public enum Status: String, Sendable {
        case started
        case finished
        /// The run ended before the step did.
        case abandoned
    }

    public let id: StepID
    /// The position in the run, from 1.
    public let index: Int
    public let kind: Kind
    /// The call that a tool step makes.
    public let toolCall: String?
    public var status: Status
    /// Tries so far, from 1: a crash or a broken model stream begins another.
    public var attempt: Int
    /// What a finished step gave: a model's turn, or nothing for a tool, whose result stands in its tool call.
    public var output: ModelTurn?
    public let startedAt: Timestamp
    public var finishedAt: Timestamp?

    public init(
        id: StepID, index: Int, kind: Kind, toolCall: String? = nil, status: Status = .started, attempt: Int = 1,
        output: ModelTurn? = nil, startedAt: Timestamp, finishedAt: Timestamp? = nil
    ) {
        self.id = id
        self.index = index
        self.kind = kind
        self.toolCall = toolCall
        self.status = status
        self.attempt = attempt
        self.output = output
        self.startedAt = startedAt
        self.finishedAt = finishedAt
    }

    /// AG-UI's `stepName`: `model-1`, `tool-2`.
    public var name: String { "\(kind.rawValue)-\(index)" }
}

/// What a model said in one step. The tool calls' ids are ours.
public struct ModelTurn: Hashable, Sendable {
    public let text: String
    public let toolCalls: [String]

    public init(text: String, toolCalls: [String]) {
        self.text = text
        self.toolCalls = toolCalls
    }

    public var json: JSONValue {
        ["text": .string(text), "toolCalls": .array(toolCalls.map { .string($0) })]
    }

    public init(json: JSONValue) {
        self.init(text: json["text"]?.string ?? "", toolCalls: (json["toolCalls"]?.array ?? []).compactMap(\.string))
    }
}

/// A tool call of a run.
public struct ToolCallRecord: Hashable, Sendable {
    /// Unique in the tenant; the model and the log know the call by this.
    public let id: String
    /// The model step that asked for it.
    public let step: StepID
    /// The position among the calls of that step, from 0.
    public let ordinal: Int
    public let name: String
    /// JSON text as the model wrote it.
    public let arguments: String
    public var state: ToolCallState
    /// Dispatches so far.
    public var attempt: Int
    /// What went back to the model.
    public var result: String?
    public let createdAt: Timestamp
    public var finishedAt: Timestamp?

    public init(
        id: String, step: StepID, ordinal: Int, name: String, arguments: String, state: ToolCallState = .requested,
        attempt: Int = 0, result: String? = nil, createdAt: Timestamp, finishedAt: Timestamp? = nil
    ) {
        self.id = id
        self.step = step
        self.ordinal = ordinal
        self.name = name
        self.arguments = arguments
        self.state = state
        self.attempt = attempt
        self.result = result
        self.createdAt = createdAt
        self.finishedAt = finishedAt
    }
}
