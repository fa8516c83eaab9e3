import Domain

/// A piece of a document's structure, in reading order.
public enum Block: Hashable, Sendable {
    /// Level 1 is the largest.
    case heading(level: Int, text: String)
    /// A paragraph, list, table or code block: kept together where it fits.
    case text(String)
}

/// Reads a document's structure.
public enum Extractor {
    /// U+FEFF in UTF-8, which some editors write first.
    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// The blocks of a document.
    ///
    /// - Throws: `Problem` with `document_unreadable` when the bytes are not UTF-8 text or hold a NUL.
    public static func blocks(of content: [UInt8], mediaType: MediaType) throws(Problem) -> [Block] {
        let hasByteOrderMark = content.starts(with: byteOrderMark)
        let content = hasByteOrderMark ? Array(content.dropFirst(byteOrderMark.count)) : content
        guard let text = String(validating: content, as: UTF8.self) else {
            throw Problem(.documentUnreadable, "The document is not UTF-8 text. Convert it to UTF-8 and upload it again.")
        }
        guard !content.contains(0) else {
            throw Problem(.documentUnreadable, "The document holds a NUL byte: it is not a text.")
        }
        switch mediaType {
        case .plain: return PlainTextExtractor.blocks(of: text)
        case .markdown: return MarkdownExtractor.blocks(of: text)
        case .html: return try HTMLExtractor.blocks(of: content)
        }
    }
}

/// Paragraphs are what blank lines part.
enum PlainTextExtractor {
    static func blocks(of text: String) -> [Block] {
        var blocks: [Block] = []
        var paragraph: [Substring] = []
        func endParagraph() {
            if !paragraph.isEmpty { blocks.append(.text(paragraph.joined(separator: "\n"))) }
            paragraph = []
        }
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            if line.allSatisfy(\.isWhitespace) { endParagraph() } else { paragraph.append(line) }
        }
        endParagraph()
        return blocks
    }
}
