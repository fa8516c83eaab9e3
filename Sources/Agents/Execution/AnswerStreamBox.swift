import Domain
import Models
import Synchronization

/// Lends one answer's stream state to the model's delta callback, which runs in another task.
final class AnswerStreamBox: Sendable {
    private let state: Mutex<AnswerStream>

    init(_ stream: AnswerStream) { state = Mutex(stream) }

    var value: AnswerStream { state.withLock { $0 } }

    /// Whether anything of the answer has come.
    var hasBegun: Bool { state.withLock { $0.hasBegun } }

    func take(_ delta: ChatDelta) -> [RunEvent] { state.withLock { $0.take(delta) } }
}
