import CHTMLReader
import Domain

/// Reads the text of HTML through libxml2's forgiving parser: headings, and blocks of text between block elements.
/// Scripts, styles, templates and hidden heads are left out; nothing is fetched.
struct HTMLExtractor {
    private var blocks: [Block] = []
    private var text = ""
    private var keepsSpace = false

    /// Elements that begin and end a block of their own.
    private static let blockElements: Set<String> = [
        "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "dialog", "div", "dl", "dt", "fieldset",
        "figcaption", "figure",
        "footer", "form", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "td",
        "th",
        "thead", "tr", "ul",
    ]
    private static let ignoredElements: Set<String> = ["head", "script", "style", "template", "noscript", "svg", "iframe"]

    /// Depth of elements whose text does not count.
    private var ignoredDepth = 0

    static func blocks(of content: [UInt8]) throws(Problem) -> [Block] {
        var extractor = HTMLExtractor()
        let result = content.withUnsafeBytes { bytes in
            withUnsafeMutablePointer(to: &extractor) { extractor in
                html_read(bytes.bindMemory(to: CChar.self).baseAddress, Int32(bytes.count), extractor) {
                    context, event, text, length in
                    guard let extractor = context?.assumingMemoryBound(to: HTMLExtractor.self), let text else { return }
                    let bytes = UnsafeRawBufferPointer(start: text, count: length)
                    extractor.pointee.take(event, String(decoding: bytes, as: UTF8.self))
                }
            }
        }
        guard result == 0 else { throw Problem(.documentUnreadable, "The document could not be read as HTML.") }
        extractor.endBlock()
        return extractor.blocks
    }

    private mutating func take(_ event: html_event, _ text: String) {
        switch event {
        case HTML_EVENT_START: enter(text)
        case HTML_EVENT_END: leave(text)
        default: if ignoredDepth == 0 { append(text) }
        }
    }

    private mutating func enter(_ name: String) {
        if Self.ignoredElements.contains(name) { ignoredDepth += 1 }
        if name == "br" { text += "\n" }
        if name == "pre" { keepsSpace = true }
        if Self.blockElements.contains(name) || Self.headingLevel(name) != nil { endBlock() }
    }

    private mutating func leave(_ name: String) {
        if Self.ignoredElements.contains(name) { ignoredDepth = max(0, ignoredDepth - 1) }
        if let level = Self.headingLevel(name) {
            let heading = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            if !heading.isEmpty { blocks.append(.heading(level: level, text: heading)) }
            text = ""
        } else if Self.blockElements.contains(name) {
            endBlock()
            if name == "pre" { keepsSpace = false }
        }
    }

    private static func headingLevel(_ name: String) -> Int? {
        guard name.utf8.count == 2, name.hasPrefix("h"), let level = name.last?.wholeNumberValue else { return nil }
        return (1...6).contains(level) ? level : nil
    }

    /// White space counts as one space, but in `pre`.
    private mutating func append(_ content: String) {
        guard !keepsSpace else {
            text += content
            return
        }
        for character in content {
            if character.isWhitespace {
                if let last = text.last, !last.isWhitespace { text += " " }
            } else {
                text.append(character)
            }
        }
    }

    private mutating func endBlock() {
        let trimmed = text.drop(while: \.isWhitespace)
        if let end = trimmed.lastIndex(where: { !$0.isWhitespace }) { blocks.append(.text(String(trimmed[...end]))) }
        text = ""
    }
}
