import Domain
import Models
import Testing

private let searchTool = ToolDeclaration(name: "knowledge_search", description: "-", parameters: [:])
private let notice = "(Quoted by local/extractive, which is no language model.)"
private let nothing = "I found nothing about this in the documents. " + notice

private func ask(
    _ messages: [ChatMessage], tools: [ToolDeclaration] = [searchTool]
) async throws -> (completion: ChatCompletion, deltas: [ChatDelta]) {
    let deltas = Deltas()
    let request = ChatRequest(model: "extractive", messages: messages, tools: tools)
    let completion = try await ExtractiveChatModel().complete(request) { delta in deltas.add(delta) }
    return (completion, deltas.all)
}

/// A finished search: the question, the call, and these passages.
private func searched(_ question: String, _ passages: [JSONValue]) -> [ChatMessage] {
    let result = JSONValue.object(["passages": .array(passages)]).text
    return [
        .user(question),
        .assistant(text: "", toolCalls: [ToolCall(id: "c", name: "knowledge_search", arguments: "{}")]),
        .tool(callID: "c", name: "knowledge_search", content: result),
    ]
}

private func passage(_ text: String, citation: Int64 = 1, title: String = "Handbook") -> JSONValue {
    ["citation": .int(citation), "title": .string(title), "text": .string(text)]
}

private let useless = [
    #"{"passages":[]}"#, #"{"error":"The tool failed."}"#, "no JSON", "", #"{"passages":[{"title":"a"}]}"#,
    #"{"passages":[{"text":"a","citation":"one"}]}"#,
]

@Suite("The model without a model")
struct ExtractiveChatModelTests {
    @Test("A question is searched for through the tool, in its own words")
    func searches() async throws {
        let answer = try await ask([.system("Be brief."), .user("Who said \"no\"?")])
        let arguments = #"{"query":"Who said \"no\"?"}"#
        let expected: [ChatDelta] = [
            .toolCallStart(index: 0, name: "knowledge_search"), .toolCallArguments(index: 0, delta: arguments),
        ]
        #expect(answer.deltas == expected)
        #expect(answer.completion.text.isEmpty)
        #expect(answer.completion.toolCalls.map(\.name) == ["knowledge_search"])
        #expect(answer.completion.toolCalls.map(\.arguments) == [arguments])
    }

    @Test("A new question of the session is searched for again")
    func searchesAgain() async throws {
        let answer = try await ask(searched("First?", [passage("One.")]) + [.user("Second?")])
        #expect(answer.completion.toolCalls.map(\.arguments) == [#"{"query":"Second?"}"#])
    }

    @Test(
        "However long the question, its query fits the tool's 1000 characters",
        arguments: ["x", "e\u{301}", "\u{1F468}\u{200D}\u{1F469}"])
    func longQuestion(character: String) async throws {
        let answer = try await ask([.user(String(repeating: character, count: 5000))])
        let arguments = try JSONValue(parsing: try #require(answer.completion.toolCalls.first).arguments)
        let query = try #require(arguments["query"]?.string)
        #expect((500...1000).contains(query.unicodeScalars.count))
    }

    @Test("Without the tool it says that it found nothing")
    func withoutTool() async throws {
        let answer = try await ask([.user("Why?")], tools: [])
        #expect(answer.completion == ChatCompletion(text: nothing))
    }

    @Test("A search that gave nothing usable is no passage", arguments: useless)
    func nothingFound(result: String) async throws {
        let answer = try await ask([.user("Why?"), .tool(callID: "c", name: "knowledge_search", content: result)])
        #expect(answer.completion == ChatCompletion(text: nothing))
    }

    @Test("A passage is quoted with its citation and title, and the answer says what it is")
    func quotes() async throws {
        let answer = try await ask(searched("How long is a refund?", [passage("A refund takes ten days.", citation: 4)]))
        #expect(
            answer.completion.text == "From the documents:\n\n> A refund takes ten days. [4] (Handbook)\n\n\(notice)")
        #expect(answer.completion.toolCalls.isEmpty)
    }

    @Test("What is handed over comes to the answer")
    func deltas() async throws {
        let answer = try await ask(searched("refund?", [passage("A refund."), passage("Another refund.", citation: 2)]))
        let pieces = answer.deltas.compactMap { delta -> String? in
            if case .text(let text) = delta { return text }
            return nil
        }
        #expect(pieces.count > 1)
        #expect(pieces.joined() == answer.completion.text)
    }

    @Test("Of a long passage the sentence that fits best is quoted, with the one after it")
    func bestSentence() async throws {
        let text = "Welcome to us. Our office is in Bonn. A refund takes ten days. Weekends do not count. Call us."
        let answer = try await ask(searched("How many days does a refund take?", [passage(text)]))
        #expect(answer.completion.text.contains("> A refund takes ten days. Weekends do not count. [1]"))
    }

    @Test("Of sentences that fit alike the first is quoted")
    func firstOfEqual() async throws {
        let answer = try await ask(searched("refund?", [passage("Refund one. Refund two. Refund three.")]))
        #expect(answer.completion.text.contains("> Refund one. Refund two. [1]"))
    }

    @Test("Line breaks of a passage do not break the quotation")
    func lineBreaks() async throws {
        let answer = try await ask(searched("refund?", [passage("A refund\ntakes\n\nten days")]))
        #expect(answer.completion.text.contains("> A refund takes ten days [1]"))
    }

    @Test("A quotation ends after 320 characters")
    func longSentence() async throws {
        let answer = try await ask(searched("refund?", [passage(String(repeating: "refund ", count: 200))]))
        let quotation = answer.completion.text.split(separator: "\n").first { $0.hasPrefix("> ") }
        let quoted = try #require(quotation).dropFirst(2).prefix { $0 != "[" }
        #expect(quoted.contains("\u{2026}"))
        #expect(quoted.count <= 322)
    }

    @Test("At most three passages are quoted, the best ones")
    func threePassages() async throws {
        let passages = (1...5).map { passage("Refund \($0).", citation: Int64($0)) }
        let text = try await ask(searched("refund?", passages)).completion.text
        #expect(text.contains("[3]"))
        #expect(!text.contains("[4]"))
    }

    @Test("What the receiver throws ends the answer")
    func receiverThrows() async {
        await #expect(throws: CancellationError.self) {
            try await ExtractiveChatModel().complete(ChatRequest(model: "extractive", messages: [.user("Why?")])) { _ in
                throw CancellationError()
            }
        }
    }
}
