import Domain

/// Cuts a document into chunks along its structure: a chunk never crosses a heading, keeps paragraphs whole where they
/// fit, and carries the headings above it.
public struct Chunker: Sendable {
    /// Paragraphs are gathered up to this many characters, which here are Unicode scalars, for a visible character may be of
    /// any length: about 250 tokens, what small embedding models read at once.
    public var targetCharacters = 1000
    /// A longer paragraph is split, at a sentence where there is one.
    public var maximumCharacters = 1600
    /// A document with more chunks is refused: one tenant's upload must not hold the indexer for long.
    public var maximumChunks = 20_000

    /// A heading goes into every chunk below it; more of it than this says nothing.
    private static let maximumHeadingCharacters = 200

    private let ambient: Ambient

    public init(ambient: Ambient = .system) { self.ambient = ambient }

    /// - Throws: `Problem` with `document_too_large`.
    public func chunks(of blocks: [Block]) throws(Problem) -> [Chunk] {
        var chunks: [Chunk] = []
        var path: [(level: Int, text: String)] = []
        var gathered = ""
        func flush() {
            guard !gathered.isEmpty else { return }
            let heading = path.map(\.text).joined(separator: " › ")
            chunks.append(
                Chunk(id: ChunkID(ambient.makeID()), ordinal: chunks.count, heading: heading, text: gathered))
            gathered = ""
        }
        for block in blocks {
            switch block {
            case .heading(let level, let text):
                flush()
                path.removeAll { $0.level >= level }
                path.append((level, String(text.unicodeScalars.prefix(Self.maximumHeadingCharacters))))
            case .text(let text):
                for piece in pieces(of: text) {
                    if gathered.unicodeScalars.count + piece.unicodeScalars.count > targetCharacters { flush() }
                    gathered += gathered.isEmpty ? piece : "\n\n" + piece
                }
            }
            guard chunks.count <= maximumChunks else { break }
        }
        flush()
        guard chunks.count <= maximumChunks else {
            throw Problem(.documentTooLarge, "The document has more than \(maximumChunks) sections. Split it.")
        }
        return chunks
    }

    /// Splits a text that is too long: after the last sentence end that fits, else the last space, else anywhere.
    private func pieces(of text: String) -> [String] {
        var pieces: [String] = []
        var rest = Substring(text)
        while let limit = rest.unicodeScalars.index(rest.startIndex, offsetBy: maximumCharacters, limitedBy: rest.endIndex),
            limit < rest.endIndex
        {
            let middle = rest.unicodeScalars.index(rest.startIndex, offsetBy: maximumCharacters / 2)
            let tail = rest[middle..<limit]
            let end =
                sentenceEnd(in: tail)
                ?? tail.lastIndex(where: \.isWhitespace) ?? limit
            pieces.append(String(rest[..<end]))
            rest = rest[end...].drop(while: \.isWhitespace)
        }
        if !rest.isEmpty { pieces.append(String(rest)) }
        return pieces
    }

    /// Behind the last mark that ends a sentence: one inside a number or a name does not.
    private func sentenceEnd(in text: Substring) -> Substring.Index? {
        text.indices.last { index in
            let next = text.index(after: index)
            return text[index] == "\n" || (".!?".contains(text[index]) && next < text.endIndex && text[next].isWhitespace)
        }.map { text.index(after: $0) }
    }
}
