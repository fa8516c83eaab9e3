import Domain

/// Answers without a language model: it searches the knowledge base through the usual tool call, then quotes the
/// sentences of the best passages that share most words with the question, with citations, and says what it is.
///
/// The default when no provider is configured, so that a fresh installation answers from documents at once.
public struct ExtractiveChatModel: ChatModel {
    /// The tool it calls when it is offered: the built-in knowledge search, which takes `query` and answers `passages`.
    public static let searchTool = "knowledge_search"
    /// More would no longer be an answer but a list.
    private static let maximumPassages = 3
    private static let maximumQuoteCharacters = 320

    public init() {}

    public func serves(_ model: String) -> Bool { model == "extractive" }

    public func complete(
        _ request: ChatRequest, onDelta: @escaping @Sendable (ChatDelta) async throws -> Void
    ) async throws -> ChatCompletion {
        let (question, results) = Self.lastTurn(request.messages)
        if results.isEmpty, request.tools.contains(where: { $0.name == Self.searchTool }) {
            let arguments = JSONValue.object(["query": .string(String(question.unicodeScalars.prefix(1000)))]).text
            try await onDelta(.toolCallStart(index: 0, name: Self.searchTool))
            try await onDelta(.toolCallArguments(index: 0, delta: arguments))
            return ChatCompletion(
                text: "", toolCalls: [ToolCall(id: "search", name: Self.searchTool, arguments: arguments)])
        }
        let pieces = Self.answer(question: question, passages: results.flatMap(Self.passages))
        for piece in pieces { try await onDelta(.text(piece)) }
        return ChatCompletion(text: pieces.joined())
    }

    /// The last question, and the tool results after it.
    private static func lastTurn(_ messages: [ChatMessage]) -> (question: String, results: [String]) {
        var question = ""
        var results: [String] = []
        for message in messages {
            switch message {
            case .user(let text): (question, results) = (text, [])
            case .tool(_, _, let content): results.append(content)
            case .system, .assistant: break
            }
        }
        return (question, results)
    }

    private struct Passage {
        let citation: Int
        let title: String
        let text: String
    }

    private static func passages(of result: String) -> [Passage] {
        let items = (try? JSONValue(parsing: result))?["passages"]?.array ?? []
        return items.compactMap { item in
            guard let text = item["text"]?.string, let citation = item["citation"]?.int else { return nil }
            return Passage(citation: Int(citation), title: item["title"]?.string ?? "", text: text)
        }
    }

    private static func answer(question: String, passages: [Passage]) -> [String] {
        let notice = "(Quoted by local/extractive, which is no language model.)"
        guard !passages.isEmpty else { return ["I found nothing about this in the documents. ", notice] }
        let words = Set(Self.words(question))
        var pieces = ["From the documents:\n\n"]
        for passage in passages.prefix(maximumPassages) {
            pieces.append("> \(quote(passage.text, words: words)) [\(passage.citation)] (\(passage.title))\n\n")
        }
        return pieces + [notice]
    }

    /// The two neighbouring sentences that share most words with the question.
    private static func quote(_ text: String, words: Set<String>) -> String {
        let sentences = sentences(text)
        let scores = sentences.map { sentence in Set(Self.words(sentence)).intersection(words).count }
        let best = scores.indices.max { (scores[$0], -$0) < (scores[$1], -$1) } ?? 0
        let quoted = sentences[best..<min(best + 2, sentences.count)].joined(separator: " ")
        return quoted.count > maximumQuoteCharacters ? quoted.prefix(maximumQuoteCharacters) + "…" : quoted
    }

    /// Splits at sentence ends followed by white space; line ends become spaces. Never empty.
    private static func sentences(_ text: String) -> [String] {
        var sentences: [String] = []
        var current = ""
        for word in text.split(whereSeparator: \.isWhitespace) {
            current += current.isEmpty ? String(word) : " " + word
            if let last = word.last, ".!?".contains(last) {
                sentences.append(current)
                current = ""
            }
        }
        return current.isEmpty && !sentences.isEmpty ? sentences : sentences + [current]
    }

    private static func words(_ text: String) -> [String] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.map(String.init).filter { $0.count > 2 }
    }
}
