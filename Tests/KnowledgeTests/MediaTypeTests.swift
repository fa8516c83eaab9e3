import Knowledge
import Testing

/// What an upload says of itself, and the format that it is then in.
struct MediaTypeCase: Sendable, CustomTestStringConvertible {
    let contentType: String?
    let fileName: String?
    let expected: MediaType?

    init(_ contentType: String?, _ fileName: String?, _ expected: MediaType?) {
        self.contentType = contentType
        self.fileName = fileName
        self.expected = expected
    }

    var testDescription: String { "\(contentType ?? "-") \(fileName ?? "-")" }
}

private let declared: [MediaTypeCase] = [
    MediaTypeCase("text/plain", nil, .plain),
    MediaTypeCase("text/markdown", nil, .markdown),
    MediaTypeCase("text/x-markdown", nil, .markdown),
    MediaTypeCase("text/html", nil, .html),
    MediaTypeCase("application/xhtml+xml", nil, .html),
    MediaTypeCase("TEXT/HTML; charset=utf-8", nil, .html),
    MediaTypeCase(" text/markdown ;variant=GFM", nil, .markdown),
    MediaTypeCase("text/html", "a.md", .html),
    MediaTypeCase("text/markdown", "a.html", .markdown),
    MediaTypeCase("text/plain", "a.html", .plain),
]

private let fromFileName: [MediaTypeCase] = [
    MediaTypeCase(nil, "a.txt", .plain),
    MediaTypeCase(nil, "a.md", .markdown),
    MediaTypeCase(nil, "a.markdown", .markdown),
    MediaTypeCase(nil, "a.html", .html),
    MediaTypeCase(nil, "a.htm", .html),
    MediaTypeCase(nil, "A.B.MD", .markdown),
    MediaTypeCase("", "a.md", .markdown),
    MediaTypeCase("application/octet-stream", "a.txt", .plain),
    MediaTypeCase("application/octet-stream", "a.md", .markdown),
    MediaTypeCase("application/octet-stream", "a.markdown", .markdown),
    MediaTypeCase("application/octet-stream", "a.html", .html),
    MediaTypeCase("application/octet-stream", "a.htm", .html),
    MediaTypeCase("text/plain", "a.md", .markdown),
    MediaTypeCase("text/plain", "a.markdown", .markdown),
]

private let unreadable: [MediaTypeCase] = [
    MediaTypeCase(nil, nil, nil),
    MediaTypeCase("", "", nil),
    MediaTypeCase(nil, "a.pdf", nil),
    MediaTypeCase("application/octet-stream", nil, nil),
    MediaTypeCase("application/json", nil, nil),
    MediaTypeCase("text/plainish", nil, nil),
    MediaTypeCase("application/pdf", "a.txt", nil),
    MediaTypeCase("application/pdf", "a.md", nil),
    MediaTypeCase("application/pdf", "a.markdown", nil),
    MediaTypeCase("image/png", "a.html", nil),
    MediaTypeCase(nil, "md", nil),
    MediaTypeCase(nil, "html", nil),
]

@Suite("Media types")
struct MediaTypeTests {
    private func check(_ upload: MediaTypeCase) {
        #expect(MediaType(contentType: upload.contentType, fileName: upload.fileName) == upload.expected)
    }

    @Test("A declared content type that can be read decides", arguments: declared)
    func contentType(upload: MediaTypeCase) { check(upload) }

    @Test("A content type that says nothing leaves it to the file name", arguments: fromFileName)
    func fileName(upload: MediaTypeCase) { check(upload) }

    @Test("A format that cannot be read is none, whatever the file is named", arguments: unreadable)
    func unknown(upload: MediaTypeCase) { check(upload) }
}
