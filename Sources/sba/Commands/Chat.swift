import ArgumentParser
import Domain
import Foundation
import Synchronization
import UnixSignals

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Asks an agent, and shows its answer as it comes, with tool calls and citations.",
        discussion: """
            With a question it answers and ends; without, it keeps asking, in one session, until an empty line or Ctrl-D.
            Ctrl-C cancels the run; a second one ends the command.

            Signs in with SBA_EMAIL and SBA_PASSWORD, or uses SBA_TOKEN.
            """)

    @Argument(help: "The question.")
    var question: [String] = []

    @Option(help: "Where the server is (SBA_URL).")
    var url: String?

    @Option(help: "The model, as provider/model; the server's default when absent.")
    var model: String?

    @Option(help: "Go on with this session.")
    var session: String?

    @Flag(help: "Print the events as they come, one JSON object a line.")
    var json = false

    func run() async throws {
        try await reportingErrors {
            try await APIClient.with(url) { client in
                let conversation = Conversation(client: client, model: model, session: session, asJSON: json)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for await _ in await UnixSignalsSequence(trapping: .sigint) { await conversation.interrupt() }
                    }
                    try await converse(conversation)
                    group.cancelAll()
                }
            }
        }
    }

    private func converse(_ conversation: Conversation) async throws {
        guard question.isEmpty else {
            try await conversation.ask(question.joined(separator: " "))
            guard conversation.hasSucceeded else { throw ExitCode.failure }
            return
        }
        while let line = Terminal.ask(Terminal.styled("> ", .bold)) ?? readLine(), !line.isEmpty {
            try await conversation.ask(line)
        }
    }
}

/// Questions and answers in one session.
final class Conversation: Sendable {
    private struct State {
        var session: String?
        var run: String?
        /// The last event that was shown.
        var seq: Int64 = 0
        var isOver = false
        var isCancelling = false
        var hasSucceeded = false
    }

    private let client: APIClient
    private let model: String?
    private let asJSON: Bool
    private let state: Mutex<State>

    init(client: APIClient, model: String?, session: String?, asJSON: Bool) {
        self.client = client
        self.model = model
        self.asJSON = asJSON
        state = Mutex(State(session: session))
    }

    var hasSucceeded: Bool { state.withLock { $0.hasSucceeded } }

    func ask(_ question: String) async throws {
        var body: [String: JSONValue] = ["prompt": .string(question)]
        if let session = state.withLock({ $0.session }) { body["sessionId"] = .string(session) }
        if let model { body["options"] = ["model": .string(model)] }
        let transcript = Transcript()
        let show: @Sendable (JSONValue) async throws -> Void = { [self] event in
            note(event)
            if asJSON { Terminal.print(event.text) } else { transcript.show(event) }
        }
        do {
            try await client.stream("POST", "/api/agent/runs", body: .object(body), onEvent: show)
        } catch {
            // The run goes on without us, so we come back to it.
            guard state.withLock({ $0.run }) != nil else { throw error }
        }
        try await comeBack(show)
        if !asJSON { transcript.end() }
        state.withLock { ($0.run, $0.seq, $0.isOver, $0.isCancelling) = (nil, 0, false, false) }
    }

    /// How often a broken stream is taken up again before giving up, a second apart.
    private static let maximumReturns = 60

    /// Takes a stream that broke off up again behind the last event that was shown, until the run has ended.
    private func comeBack(_ show: @escaping @Sendable (JSONValue) async throws -> Void) async throws {
        for _ in 0..<Self.maximumReturns {
            let (run, seq, isOver) = state.withLock { ($0.run, $0.seq, $0.isOver) }
            guard let run, !isOver else { return }
            try await Task.sleep(for: .seconds(1))
            do {
                try await client.stream("GET", "/api/agent/runs/\(run)/events?after=\(seq)", onEvent: show)
            } catch let problem as Problem where problem.code == .overloaded || problem.code == .shuttingDown {
                continue
            }
        }
        throw Problem(.overloaded, "The server does not come back. 'sba runs follow' shows the run once it does.")
    }

    private func note(_ event: JSONValue) {
        state.withLock { state in
            let type = event["type"]?.string ?? ""
            state.seq = event["seq"]?.int ?? state.seq
            state.isOver = type == "RUN_FINISHED" || type == "RUN_ERROR"
            state.session = event["threadId"]?.string ?? state.session
            state.run = event["runId"]?.string ?? state.run
            if event["type"] == "RUN_FINISHED" { state.hasSucceeded = event["outcome"]?["type"] == "success" }
        }
    }

    /// Ctrl-C cancels the run that is under way, whose stream then ends; without one, or the second time, the process ends.
    func interrupt() async {
        let run = state.withLock { state -> String? in
            defer { state.isCancelling = true }
            return state.isCancelling ? nil : state.run
        }
        guard let run else { Foundation.exit(130) }
        Terminal.complain("\nCancelling…")
        do {
            _ = try await client.send("POST", "/api/agent/runs/\(run)/cancel")
        } catch {
            Terminal.complain("Could not cancel: \(error)")
        }
    }
}

/// Shows a run's events to a person.
final class Transcript: Sendable {
    private struct State {
        var arguments: [String: (name: String, text: String)] = [:]
        var citations: [JSONValue] = []
        var isInText = false
    }

    private let state = Mutex(State())

    func show(_ event: JSONValue) {
        let id = event["toolCallId"]?.string ?? ""
        switch event["type"]?.string {
        case "TEXT_MESSAGE_CONTENT":
            state.withLock { $0.isInText = true }
            Terminal.print(event["delta"]?.string ?? "", terminator: "")
        case "TEXT_MESSAGE_END": endLine()
        case "TOOL_CALL_START":
            state.withLock { $0.arguments[id] = (event["toolCallName"]?.string ?? "", "") }
        case "TOOL_CALL_ARGS":
            state.withLock { $0.arguments[id]?.text += event["delta"]?.string ?? "" }
        case "TOOL_CALL_END":
            endLine()
            if let call = state.withLock({ $0.arguments[id] }) {
                Terminal.print(Terminal.styled("→ \(call.name) \(call.text)", .cyan))
            }
        case "TOOL_CALL_RESULT": Terminal.print(Terminal.styled("← \(Self.summary(event))", .dim))
        case "CUSTOM": showCustom(event)
        case "RUN_ERROR":
            endLine()
            Terminal.print(Terminal.styled("✗ \(event["message"]?.string ?? "") [\(event["code"]?.string ?? "")]", .red))
        case "RUN_FINISHED" where event["outcome"]?["type"] == "cancelled":
            endLine()
            Terminal.print(Terminal.styled("Cancelled.", .yellow))
        default: break
        }
    }

    private func showCustom(_ event: JSONValue) {
        switch event["name"]?.string {
        case "sba.citations":
            state.withLock { $0.citations += event["value"]?["citations"]?.array ?? [] }
        case "sba.attempt_discarded":
            endLine()
            Terminal.print(Terminal.styled("(interrupted; starting this step again)", .yellow))
        case "sba.waiting":
            let call = event["value"]?["toolCallId"]?.string ?? ""
            Terminal.print(
                Terminal.styled(
                    "The run waits: nobody knows whether the tool call \(call) happened. Decide with 'sba runs resume'.", .yellow)
            )
        default: break
        }
    }

    /// Lists what the answer rests on.
    func end() {
        let citations = state.withLock { $0.citations }
        guard !citations.isEmpty else { return }
        Terminal.print("")
        for citation in citations {
            let heading = citation["heading"]?.string ?? ""
            let place = (citation["title"]?.string ?? "") + (heading.isEmpty ? "" : " › \(heading)")
            Terminal.print(Terminal.styled("[\(citation["citation"]?.int ?? 0)] \(place)", .green))
        }
    }

    private func endLine() {
        let wasInText = state.withLock { state in
            defer { state.isInText = false }
            return state.isInText
        }
        if wasInText { Terminal.print("") }
    }

    private static func summary(_ event: JSONValue) -> String {
        let content = event["content"]?.string ?? ""
        if let passages = (try? JSONValue(parsing: content))?["passages"]?.array {
            return "\(passages.count) passages"
        }
        return content.count > 200 ? content.prefix(200) + "…" : content
    }
}
