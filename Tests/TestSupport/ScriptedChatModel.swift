import Domain
import Models
import Synchronization

/// A model in the test's process that says what it is told, one script a call.
public final class ScriptedChatModel: ChatModel {
    public enum Step: Sendable {
        case delta(ChatDelta)
        /// Tells the test that the script has come here, and waits until the test lets go on or the call is cancelled.
        case pause
        case fail(ModelError)
    }

    private struct State {
        var scripts: [[Step]]
        var requests: [ChatRequest] = []
    }

    private let state: Mutex<State>
    private let paused = AsyncStream<Void>.makeStream()
    private let resumed = Signal()

    public init(_ scripts: [[Step]]) { state = Mutex(State(scripts: scripts)) }

    /// What the model was asked, in order.
    public var requests: [ChatRequest] { state.withLock { $0.requests } }

    /// Waits until a script comes to a pause.
    public func untilPaused() async {
        for await _ in paused.stream { return }
    }

    public func resume() { resumed.notify() }

    public func complete(
        _ request: ChatRequest, onDelta: @escaping @Sendable (ChatDelta) async throws -> Void
    ) async throws -> ChatCompletion {
        let script = state.withLock { state -> [Step] in
            state.requests.append(request)
            return state.scripts.isEmpty ? [] : state.scripts.removeFirst()
        }
        var text = ""
        var calls: [Int: ToolCall] = [:]
        for step in script {
            switch step {
            case .delta(let delta):
                switch delta {
                case .text(let piece): text += piece
                case .toolCallStart(let index, let name): calls[index] = ToolCall(id: "p\(index)", name: name, arguments: "")
                case .toolCallArguments(let index, let piece):
                    calls[index] = calls[index].map {
                        ToolCall(id: $0.id, name: $0.name, arguments: $0.arguments + piece)
                    }
                }
                try await onDelta(delta)
            case .pause:
                let generation = resumed.generation
                paused.continuation.yield()
                await resumed.wait(after: generation, atMost: .seconds(3600))
                try Task.checkCancellation()
            case .fail(let error): throw error
            }
        }
        return ChatCompletion(
            text: text, toolCalls: calls.sorted { $0.key < $1.key }.map(\.value), usage: TokenUsage(input: 3, output: 2))
    }

    /// The script of a turn that calls one tool.
    public static func call(_ tool: String, _ arguments: String) -> [Step] {
        [.delta(.toolCallStart(index: 0, name: tool)), .delta(.toolCallArguments(index: 0, delta: arguments))]
    }

    /// The script of a turn that says something.
    public static func say(_ words: String...) -> [Step] { words.map { .delta(.text($0)) } }
}
