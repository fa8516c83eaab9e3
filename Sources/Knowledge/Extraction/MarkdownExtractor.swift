/// Reads the block structure of Markdown (CommonMark 0.31: ATX and setext headings, fenced code); what is inside a
/// block stays as it was written, which is what people quote.
struct MarkdownExtractor {
    private var blocks: [Block] = []
    private var paragraph: [Substring] = []
    /// The fence that closes the code block we are in.
    private var fence: Substring?

    static func blocks(of text: String) -> [Block] {
        var extractor = MarkdownExtractor()
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) { extractor.take(line) }
        extractor.endParagraph()
        return extractor.blocks
    }

    private mutating func take(_ line: Substring) {
        let content = line.trimmingSpaces
        if let open = fence {
            paragraph.append(line)
            if content.hasPrefix(open), content.allSatisfy({ $0 == open.first }) { fence = nil }
        } else if let open = Self.openFence(content) {
            fence = open
            paragraph.append(line)
        } else if content.isEmpty {
            endParagraph()
        } else if !Self.isIndentedCode(line), let heading = Self.heading(content) {
            endParagraph()
            blocks.append(heading)
        } else if let level = Self.underline(content), paragraph.count == 1, !Self.isContainer(paragraph[0]) {
            blocks.append(.heading(level: level, text: String(paragraph[0].trimmingSpaces)))
            paragraph = []
        } else {
            paragraph.append(line)
        }
    }

    private mutating func endParagraph() {
        if !paragraph.isEmpty { blocks.append(.text(paragraph.joined(separator: "\n"))) }
        paragraph = []
    }

    /// The marks that open a code block; one of backticks has none in its info string.
    private static func openFence(_ line: Substring) -> Substring? {
        let marks = line.prefix { $0 == line.first }
        guard line.hasPrefix("```") || line.hasPrefix("~~~") else { return nil }
        return line.hasPrefix("`") && line.dropFirst(marks.count).contains("`") ? nil : marks
    }

    private static func isIndentedCode(_ line: Substring) -> Bool {
        line.hasPrefix("    ") || line.hasPrefix("\t")
    }

    /// Whether the line begins a quotation or a list item, which no underline turns into a heading.
    private static func isContainer(_ line: Substring) -> Bool {
        let content = line.trimmingSpaces
        let number = content.prefix { $0.isNumber }
        let marker = number.isEmpty ? content.first : content.dropFirst(number.count).first
        if content.hasPrefix(">") { return true }
        let isMarker = number.isEmpty ? "-*+".contains(marker ?? " ") : ".)".contains(marker ?? " ")
        return isMarker && content.dropFirst(number.count + 1).first == " "
    }

    /// `## Heading ##`
    private static func heading(_ line: Substring) -> Block? {
        let marks = line.prefix { $0 == "#" }
        guard (1...6).contains(marks.count) else { return nil }
        var text = line.dropFirst(marks.count)
        guard text.isEmpty || text.first == " " || text.first == "\t" else { return nil }
        text = text.trimmingSpaces
        let closing = text.reversed().prefix { $0 == "#" }.count
        if closing > 0, closing == text.count || text.dropLast(closing).last == " " {
            text = text.dropLast(closing).trimmingSpaces
        }
        return .heading(level: marks.count, text: String(text))
    }

    /// The line under a setext heading.
    private static func underline(_ line: Substring) -> Int? {
        if line.allSatisfy({ $0 == "=" }) { return 1 }
        return line.allSatisfy({ $0 == "-" }) && line.count >= 2 ? 2 : nil
    }
}
