import Domain
import Knowledge
import Testing

private func blocks(_ text: String, _ mediaType: MediaType) throws(Problem) -> [Block] {
    try Extractor.blocks(of: Array(text.utf8), mediaType: mediaType)
}

private func check(
    _ text: String, _ mediaType: MediaType, holds expected: [Block], sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let found = try blocks(text, mediaType)
    #expect(found == expected, sourceLocation: sourceLocation)
}

private let plainTexts: [(String, [Block])] = [
    ("", []),
    (" \n\t\n\n", []),
    ("One", [.text("One")]),
    ("One\ntwo\n\n\n  Three\n", [.text("One\ntwo"), .text("  Three")]),
    ("One\r\ntwo\r\n \t \r\nThree", [.text("One\ntwo"), .text("Three")]),
    ("# One\n===\n<p>", [.text("# One\n===\n<p>")]),
]

private let markdownTexts: [(String, [Block])] = [
    ("", []),
    ("\n \n\t\n", []),
    ("One\ntwo\n\nThree\n", [.text("One\ntwo"), .text("Three")]),
    ("# A\n## B\n###### F", [.heading(level: 1, text: "A"), .heading(level: 2, text: "B"), .heading(level: 6, text: "F")]),
    ("One\n# A\ntwo", [.text("One"), .heading(level: 1, text: "A"), .text("two")]),
    ("   # A", [.heading(level: 1, text: "A")]),
    ("#\tA", [.heading(level: 1, text: "A")]),
    ("## A ##", [.heading(level: 2, text: "A")]),
    ("## A#", [.heading(level: 2, text: "A#")]),
    ("## A # #", [.heading(level: 2, text: "A #")]),
    ("# *A* `b` [c](d)", [.heading(level: 1, text: "*A* `b` [c](d)")]),
    ("#A\n####### B\n\\# C", [.text("#A\n####### B\n\\# C")]),
    ("A\n===\n\nB\n---\ntext", [.heading(level: 1, text: "A"), .heading(level: 2, text: "B"), .text("text")]),
    ("A\r\n===\r\nB\r\n\r\nC", [.heading(level: 1, text: "A"), .text("B"), .text("C")]),
    ("One\n\n===", [.text("One"), .text("===")]),
    ("```\n# no\n\ncode\n```\n# Yes", [.text("```\n# no\n\ncode\n```"), .heading(level: 1, text: "Yes")]),
    ("```sh\n``` no\n```\n\nEnd", [.text("```sh\n``` no\n```"), .text("End")]),
    ("~~~~\n```\n~~~\n# no\n~~~~~\n\nEnd", [.text("~~~~\n```\n~~~\n# no\n~~~~~"), .text("End")]),
    ("```\nA\n===", [.text("```\nA\n===")]),
    ("- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |", [.text("- one\n- two"), .text("| a | b |\n|---|---|\n| 1 | 2 |")]),
]

/// Lines that look like a heading and are none (CommonMark 0.31): indented code, a rule under a list or a quotation.
private let noHeadings = ["    # code", "\t# code", "- item\n---", "> quotation\n---", "\\# escaped", "#hashtag"]

private let htmlTexts: [(String, [Block])] = [
    ("", []),
    ("Only text", [.text("Only text")]),
    (
        "<h1>Title</h1><p>One <b>two</b>\n   three</p>",
        [.heading(level: 1, text: "Title"), .text("One two three")]
    ),
    ("<P>A</P><H3>B</H3>", [.text("A"), .heading(level: 3, text: "B")]),
    ("<div>a<div>b</div>c</div>", [.text("a"), .text("b"), .text("c")]),
    ("<table><tr><th>A</th><td>B</td></tr></table>", [.text("A"), .text("B")]),
    ("x<br>y<h2>A<br>B</h2>", [.text("x\ny"), .heading(level: 2, text: "A B")]),
    ("<p title=\"a > b\">x</p>", [.text("x")]),
    ("<p>a<!-- no --> b</p>", [.text("a b")]),
    ("<h1></h1><p>   </p>", []),
    ("<p>\u{E9} \u{20AC} \u{1F600}</p>", [.text("\u{E9} \u{20AC} \u{1F600}")]),
]

private let hiddenTexts: [(String, [Block])] = [
    ("<html><head><title>no</title></head><body><p>yes</p></body></html>", [.text("yes")]),
    ("<p>a</p><script>if (a < b) alert(\"<p>no</p>\")</script><p>b</p>", [.text("a"), .text("b")]),
    ("<style>p { color: red }</style><p>yes</p>", [.text("yes")]),
    ("<p>a</p><script>never closed <p>no", [.text("a")]),
    ("<template><p>no</p></template><noscript>no</noscript><p>yes</p>", [.text("yes")]),
    ("<svg><title>no</title></svg><iframe>no</iframe><p>yes</p>", [.text("yes")]),
]

private let entities: [(String, String)] = [
    ("Fish &amp; chips", "Fish & chips"), ("&lt;b&gt;", "<b>"), ("caf&eacute;", "caf\u{E9}"),
    ("&#8364; &#x1F600;", "\u{20AC} \u{1F600}"), ("a&nbsp;&nbsp;b", "a b"), ("&bogus; & x", "&bogus; & x"),
    ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
]

private let unclosed: [(String, [Block])] = [
    ("<ul><li>One<li>Two</ul><p>Open<p>Next <b>bold", [.text("One"), .text("Two"), .text("Open"), .text("Next bold")]),
    ("<h1>Open <p>text", [.heading(level: 1, text: "Open"), .text("text")]),
    ("<div>a</div></div></div><p>b</p>", [.text("a"), .text("b")]),
    ("<p>a</p></body><p>b</p>", [.text("a"), .text("b")]),
]

/// What browsers show of each: `b`, after a tag that closes nothing or too much.
private let strayEnds = [
    "</div><p>b</p>", "<!-- c --></p>b", "<html></html><p>b</p>", "<html><body></body></html><p>b</p>",
]

private let latinDeclarations = [
    "<meta charset=\"iso-8859-1\">", "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1252\">",
    "<html><head><meta charset=\"utf-16\"></head>",
]

@Suite("Extraction of plain text")
struct PlainTextExtractionTests {
    @Test("Blank lines part paragraphs, and nothing else does", arguments: plainTexts)
    func paragraphs(text: String, expected: [Block]) throws {
        try check(text, .plain, holds: expected)
    }
}

@Suite("Extraction of Markdown")
struct MarkdownExtractionTests {
    @Test("Headings, paragraphs and fenced code are told apart", arguments: markdownTexts)
    func structure(text: String, expected: [Block]) throws {
        try check(text, .markdown, holds: expected)
    }

    @Test("What only looks like a heading is text", arguments: noHeadings)
    func noHeading(text: String) throws {
        let found = try blocks(text, .markdown)
        let isText = found.allSatisfy { block in
            if case .text = block { return true }
            return false
        }
        #expect(isText, "\(found)")
    }

    @Test("Code inside a line does not open a fence")
    func inlineCode() throws {
        try check(
            "```let x``` is code.\n\n# Heading", .markdown,
            holds: [.text("```let x``` is code."), .heading(level: 1, text: "Heading")])
    }
}

@Suite("Extraction of HTML")
struct HTMLExtractionTests {
    @Test("Block elements part the text, white space is one space", arguments: htmlTexts)
    func structure(text: String, expected: [Block]) throws {
        try check(text, .html, holds: expected)
    }

    @Test("Heads, scripts, styles and templates are not text", arguments: hiddenTexts)
    func hidden(text: String, expected: [Block]) throws {
        try check(text, .html, holds: expected)
    }

    @Test("Entities are the characters they stand for", arguments: entities)
    func entity(text: String, expected: String) throws {
        try check("<p>\(text)</p>", .html, holds: [.text(expected)])
    }

    @Test("Elements that are not closed, or closed twice, lose no text", arguments: unclosed)
    func unclosedElements(text: String, expected: [Block]) throws {
        try check(text, .html, holds: expected)
    }

    @Test("Text after a tag that closes nothing, or the document, is not lost", arguments: strayEnds)
    func strayEnd(text: String) throws {
        try check(text, .html, holds: [.text("b")])
    }

    @Test("Preformatted text keeps its spaces and lines, and the text after it does not")
    func preformatted() throws {
        try check("<pre>if a:\n    b\n\nc</pre><p>x   y</p>", .html, holds: [.text("if a:\n    b\n\nc"), .text("x y")])
    }

    @Test("Text of UTF-8 is read as UTF-8, whatever the document says of itself", arguments: latinDeclarations)
    func declaredEncoding(declaration: String) throws {
        try check("\(declaration)<p>caf\u{E9}</p>", .html, holds: [.text("caf\u{E9}")])
    }

    @Test("A long text is read whole, wherever the parser cuts it")
    func longText() throws {
        let text = String(repeating: "\u{E9}\u{1F600}\u{20AC}", count: 5000)
        try check("<p>\(text)</p>", .html, holds: [.text(text)])
    }

    @Test("A summary and what it opens do not run together")
    func summary() throws {
        try check(
            "<details><summary>Question</summary>Answer</details>", .html, holds: [.text("Question"), .text("Answer")])
    }
}

@Suite("Documents that cannot be read")
struct UnreadableDocumentTests {
    @Test("Bytes that are not UTF-8 are refused, whatever the format", arguments: MediaType.allCases)
    func invalidUTF8(mediaType: MediaType) throws {
        let bytes: [UInt8] = [0x41, 0xE9, 0x20, 0x42]
        let problem = try #require(throws: Problem.self) { try Extractor.blocks(of: bytes, mediaType: mediaType) }
        #expect(problem.code == .documentUnreadable)
        #expect(problem.detail.contains("UTF-8"))
    }

    @Test("A NUL is refused, whatever the format", arguments: MediaType.allCases)
    func nul(mediaType: MediaType) throws {
        let problem = try #require(throws: Problem.self) { try blocks("A\0B", mediaType) }
        #expect(problem.code == .documentUnreadable)
        #expect(problem.detail.contains("NUL"))
    }

    @Test("A byte order mark is no part of the text, whatever the format", arguments: MediaType.allCases)
    func byteOrderMark(mediaType: MediaType) throws {
        for text in ["# A", "<h1>A</h1>", "A"] {
            let plain = try blocks(text, mediaType)
            let marked = try blocks("\u{FEFF}" + text, mediaType)
            #expect(marked == plain)
        }
    }
}
