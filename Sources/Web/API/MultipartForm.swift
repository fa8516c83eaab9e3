import Domain

/// A form as browsers send it (RFC 7578, multipart/form-data).
struct MultipartForm {
    struct Part {
        let name: String
        let fileName: String?
        let contentType: String?
        let content: [UInt8]
    }

    static let maximumParts = 20
    private static let maximumHeaderBytes = 4096

    let parts: [Part]

    /// - Throws: `Problem` with `invalid_request` that says what is wrong with the form.
    init(contentType: String, body: [UInt8]) throws(Problem) {
        guard let boundary = Self.parameter("boundary", of: contentType), (1...70).contains(boundary.utf8.count) else {
            throw Problem(.invalidRequest, "The content type multipart/form-data needs a boundary.")
        }
        let delimiter = Array("--\(boundary)".utf8)
        var parts: [Part] = []
        guard var index = Self.find(delimiter, in: body, from: 0) else {
            throw Problem(.invalidRequest, "The form does not hold its boundary.")
        }
        index += delimiter.count
        while true {
            if body[index...].starts(with: "--".utf8) { break }
            guard body[index...].starts(with: "\r\n".utf8),
                let end = Self.find(Array("\r\n".utf8) + delimiter, in: body, from: index)
            else { throw Problem(.invalidRequest, "The form ends in the middle of a part.") }
            parts.append(try Self.part(body[(index + 2)..<max(end, index + 2)]))
            guard parts.count <= Self.maximumParts else {
                throw Problem(.invalidRequest, "The form has more than \(Self.maximumParts) parts.")
            }
            index = end + 2 + delimiter.count
        }
        self.parts = parts
    }

    subscript(name: String) -> Part? { parts.first { $0.name == name } }

    private static func part(_ bytes: ArraySlice<UInt8>) throws(Problem) -> Part {
        let blank = Array("\r\n\r\n".utf8)
        guard let end = find(blank, in: bytes, from: bytes.startIndex),
            end - bytes.startIndex <= maximumHeaderBytes,
            let head = String(validating: bytes[bytes.startIndex..<end], as: UTF8.self)
        else { throw Problem(.invalidRequest, "A part of the form has no readable headers.") }
        var headers: [String: String] = [:]
        for line in head.split(separator: "\r\n") {
            let pair = line.split(separator: ":", maxSplits: 1)
            if pair.count == 2 { headers[pair[0].lowercased()] = pair[1].drop { $0 == " " }.description }
        }
        guard let disposition = headers["content-disposition"], let name = parameter("name", of: disposition) else {
            throw Problem(.invalidRequest, "A part of the form has no name.")
        }
        return Part(
            name: name, fileName: parameter("filename", of: disposition), contentType: headers["content-type"],
            content: Array(bytes[(end + blank.count)...]))
    }

    /// A parameter of a header value: `name="value"` or `name=value`.
    private static func parameter(_ name: String, of value: String) -> String? {
        for piece in pieces(of: value).dropFirst() {
            let pair = piece.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].drop(while: { $0 == " " }).lowercased() == name else { continue }
            let text = pair[1]
            return text.hasPrefix("\"") && text.hasSuffix("\"") && text.count >= 2
                ? String(text.dropFirst().dropLast()) : String(text)
        }
        return nil
    }

    /// Splits at semicolons that stand outside quotes.
    private static func pieces(of value: String) -> [Substring] {
        var isQuoted = false
        return value.split { character in
            if character == "\"" { isQuoted.toggle() }
            return character == ";" && !isQuoted
        }
    }

    private static func find<Bytes: RandomAccessCollection<UInt8>>(
        _ needle: [UInt8], in bytes: Bytes, from start: Bytes.Index
    ) -> Bytes.Index? where Bytes.Index == Int {
        guard let first = needle.first else { return nil }
        var index = start
        while index + needle.count <= bytes.endIndex {
            guard let candidate = bytes[index...].firstIndex(of: first), candidate + needle.count <= bytes.endIndex else {
                return nil
            }
            if bytes[candidate..<(candidate + needle.count)].elementsEqual(needle) { return candidate }
            index = candidate + 1
        }
        return nil
    }
}
