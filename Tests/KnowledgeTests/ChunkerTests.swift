import Domain
import Knowledge
import Testing

/// Sentences of about sixty characters, each with words of its own.
private func prose(sentences: Int) -> String {
    (0..<sentences).map { "Sentence number \($0) tells of word\($0) and of thing\($0) at length." }.joined(separator: " ")
}

private func words(_ text: String) -> [String] { text.split(whereSeparator: \.isWhitespace).map(String.init) }

private func makeChunker(maximumChunks: Int) -> Chunker {
    var chunker = Chunker()
    chunker.maximumChunks = maximumChunks
    return chunker
}

/// Paragraphs of many lengths, in a repeatable order, below headings of many levels.
private let mixed: [Block] = (0..<400).map { number -> Block in
    number % 7 == 0
        ? .heading(level: number % 5 + 1, text: "Heading \(number)")
        : .text(prose(sentences: number * 31 % 40 + 1))
}

@Suite("Chunker")
struct ChunkerTests {
    @Test("A chunk never crosses a heading")
    func headings() throws {
        let blocks: [Block] = [
            .text("before"), .heading(level: 1, text: "A"), .text("a"), .text("aa"), .heading(level: 1, text: "B"), .text("b"),
        ]
        let chunks = try Chunker().chunks(of: blocks)
        #expect(chunks.map(\.text) == ["before", "a\n\naa", "b"])
        #expect(chunks.map(\.heading) == ["", "A", "B"])
    }

    @Test("A chunk carries the headings above it, outermost first")
    func headingPath() throws {
        let blocks: [Block] = [
            .heading(level: 1, text: "A"), .heading(level: 2, text: "B"), .text("1"), .heading(level: 3, text: "C"), .text("2"),
            .heading(level: 2, text: "D"), .text("3"), .heading(level: 4, text: "E"), .text("4"),
            .heading(level: 3, text: "F"), .text("5"), .heading(level: 1, text: "G"), .text("6"),
        ]
        let chunks = try Chunker().chunks(of: blocks)
        let expected = ["A › B", "A › B › C", "A › D", "A › D › E", "A › D › F", "G"]
        #expect(chunks.map(\.heading) == expected)
        #expect(chunks.map(\.text) == ["1", "2", "3", "4", "5", "6"])
    }

    @Test("Of a heading longer than 200 characters, the beginning is kept")
    func longHeading() throws {
        let heading = String(repeating: "h", count: 300)
        let chunks = try Chunker().chunks(of: [.heading(level: 1, text: heading), .text("a")])
        #expect(chunks.map(\.heading) == [String(repeating: "h", count: 200)])
    }

    @Test("Small paragraphs are gathered, with a blank line between them")
    func gathers() throws {
        let paragraphs = (0..<10).map { "Paragraph \($0)." }
        let chunks = try Chunker().chunks(of: paragraphs.map { .text($0) })
        #expect(chunks.map(\.text) == [paragraphs.joined(separator: "\n\n")])
    }

    @Test("A paragraph that would pass the target begins a chunk, whole")
    func beginsChunk() throws {
        let paragraphs = [400, 500, 300, 1500].map { String(repeating: "x", count: $0) }
        let chunks = try Chunker().chunks(of: paragraphs.map { .text($0) })
        #expect(chunks.map(\.text.count) == [902, 300, 1500])
    }

    @Test("No chunk is longer than the maximum, and one of several paragraphs keeps to the target")
    func bounds() throws {
        let chunks = try Chunker().chunks(of: mixed)
        #expect(chunks.count > 300)
        #expect(chunks.allSatisfy { (1...1600).contains($0.text.count) })
        let gathered = chunks.filter { $0.text.contains("\n\n") }
        #expect(!gathered.isEmpty)
        // The blank line itself is not counted.
        #expect(gathered.allSatisfy { $0.text.count <= 1002 })
    }

    @Test("No word is lost or torn, and the order stays")
    func losesNothing() throws {
        let chunks = try Chunker().chunks(of: mixed)
        let original = mixed.flatMap { block -> [String] in
            if case .text(let text) = block { return words(text) }
            return []
        }
        #expect(chunks.flatMap { words($0.text) } == original)
    }

    @Test("A long paragraph is split after sentences")
    func splitsAtSentences() throws {
        let text = prose(sentences: 200)
        let chunks = try Chunker().chunks(of: [.text(text)])
        #expect(chunks.count > 5)
        #expect(chunks.allSatisfy { $0.text.hasSuffix(".") && $0.text.hasPrefix("Sentence") })
        #expect(chunks.flatMap { words($0.text) } == words(text))
    }

    @Test("Without sentences a long paragraph is split at spaces")
    func splitsAtSpaces() throws {
        let text = (0..<1000).map { "word\($0)" }.joined(separator: " ")
        let chunks = try Chunker().chunks(of: [.text(text)])
        #expect(chunks.count > 3)
        #expect(chunks.flatMap { words($0.text) } == words(text))
    }

    @Test("A point inside a number or a name ends no sentence")
    func pointInWord() throws {
        let text = (0..<400).map { "3.14159 at www.example\($0).com" }.joined(separator: " ")
        let chunks = try Chunker().chunks(of: [.text(text)])
        #expect(chunks.flatMap { words($0.text) } == words(text))
    }

    @Test("Without spaces a long paragraph is split anywhere, by Unicode scalars")
    func splitsAnywhere() throws {
        let text = String(repeating: "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}", count: 5000)
        let chunks = try Chunker().chunks(of: [.text(text)])
        #expect(chunks.allSatisfy { $0.text.unicodeScalars.count <= 1600 })
        #expect(chunks.map(\.text).joined() == text)
    }

    @Test("Chunks are numbered from 0, and each has an id of its own")
    func numbering() throws {
        let chunks = try Chunker().chunks(of: mixed)
        #expect(chunks.map(\.ordinal) == Array(chunks.indices))
        #expect(Set(chunks.map(\.id)).count == chunks.count)
    }

    @Test("Headings without text below them are no chunk")
    func headingsOnly() throws {
        let chunks = try Chunker().chunks(of: [.heading(level: 1, text: "A"), .heading(level: 2, text: "B")])
        #expect(chunks.isEmpty)
    }

    @Test("As many chunks as are allowed are no error", arguments: [1, 2])
    func mostChunks(count: Int) throws {
        let chunker = makeChunker(maximumChunks: 2)
        let blocks = (0..<count).flatMap { [Block.heading(level: 1, text: "\($0)"), .text("text")] }
        let chunks = try chunker.chunks(of: blocks)
        #expect(chunks.count == count)
    }

    @Test("A document of more chunks is refused, from the first one too many", arguments: [3, 4, 100])
    func tooManyChunks(count: Int) throws {
        let chunker = makeChunker(maximumChunks: 2)
        let blocks = (0..<count).flatMap { [Block.heading(level: 1, text: "\($0)"), .text("text")] }
        let problem = try #require(throws: Problem.self) { try chunker.chunks(of: blocks) }
        #expect(problem.code == .documentTooLarge)
    }
}
