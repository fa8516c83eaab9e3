/// Why a text is not the JSON that is accepted here. `offset` counts bytes from the start.
public enum JSONParsingError: Error, Hashable, Sendable {
    case malformed(offset: Int)
    case tooDeep(limit: Int)
    case duplicateKey(String)
    case invalidUTF8
    /// A NUL, raw or as `\u0000`: no database text can hold one.
    case nul
}

extension JSONValue {
    /// Arrays and objects may be nested this deep: no document of ours needs more, and recursion stays small.
    public static let maximumDepth = 32

    /// Parses a whole JSON text (RFC 8259), stricter than Foundation: duplicate keys, NUL and depth are errors.
    ///
    /// - Throws: `JSONParsingError`.
    public init(parsing bytes: some Collection<UInt8>) throws(JSONParsingError) {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw .invalidUTF8 }
        var parser = JSONParser(bytes: Array(bytes))
        self = try parser.document()
    }

    public init(parsing text: String) throws(JSONParsingError) {
        var parser = JSONParser(bytes: Array(text.utf8))
        self = try parser.document()
    }
}

/// A recursive-descent parser over UTF-8 that was found valid.
private struct JSONParser {
    let bytes: [UInt8]
    var index = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws(JSONParsingError) -> JSONValue {
        let result = try value(depth: 0)
        skipSpace()
        guard index == bytes.count else { throw malformed }
        return result
    }

    private var malformed: JSONParsingError { .malformed(offset: index) }
    private var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    private mutating func value(depth: Int) throws(JSONParsingError) -> JSONValue {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        default: return try number()
        }
    }

    private mutating func literal(_ word: String, _ value: JSONValue) throws(JSONParsingError) -> JSONValue {
        guard bytes[index...].starts(with: word.utf8) else { throw malformed }
        index += word.utf8.count
        return value
    }

    private mutating func object(depth: Int) throws(JSONParsingError) -> JSONValue {
        guard depth <= JSONValue.maximumDepth else { throw .tooDeep(limit: JSONValue.maximumDepth) }
        index += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take("}") { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw malformed }
            let key = try string()
            skipSpace()
            guard take(":") else { throw malformed }
            guard members.updateValue(try value(depth: depth), forKey: key) == nil else { throw .duplicateKey(key) }
            skipSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw malformed }
        }
    }

    private mutating func array(depth: Int) throws(JSONParsingError) -> JSONValue {
        guard depth <= JSONValue.maximumDepth else { throw .tooDeep(limit: JSONValue.maximumDepth) }
        index += 1
        var items: [JSONValue] = []
        skipSpace()
        if take("]") { return .array(items) }
        while true {
            items.append(try value(depth: depth))
            skipSpace()
            if take("]") { return .array(items) }
            guard take(",") else { throw malformed }
        }
    }

    private mutating func string() throws(JSONParsingError) -> String {
        index += 1
        var unescaped: [UInt8] = []
        while let byte = next {
            index += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: unescaped, as: UTF8.self)
            case UInt8(ascii: "\\"): try escape(into: &unescaped)
            case 0: throw .nul
            case 1..<0x20: throw .malformed(offset: index - 1)
            default: unescaped.append(byte)
            }
        }
        throw malformed
    }

    private mutating func escape(into output: inout [UInt8]) throws(JSONParsingError) {
        guard let byte = next else { throw malformed }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): output.append(byte)
        case UInt8(ascii: "b"): output.append(0x08)
        case UInt8(ascii: "f"): output.append(0x0C)
        case UInt8(ascii: "n"): output.append(0x0A)
        case UInt8(ascii: "r"): output.append(0x0D)
        case UInt8(ascii: "t"): output.append(0x09)
        case UInt8(ascii: "u"): try unicodeEscape(into: &output)
        default: throw .malformed(offset: index - 1)
        }
    }

    /// `\uXXXX`, or the two of a surrogate pair; a lone surrogate is malformed.
    private mutating func unicodeEscape(into output: inout [UInt8]) throws(JSONParsingError) {
        var code = try fourHexDigits()
        if (0xD800..<0xDC00).contains(code) {
            guard take("\\"), take("u") else { throw malformed }
            let low = try fourHexDigits()
            guard (0xDC00..<0xE000).contains(low) else { throw malformed }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard code != 0 else { throw .nul }
        guard let scalar = Unicode.Scalar(code) else { throw malformed }
        output.append(contentsOf: String(scalar).utf8)
    }

    private mutating func fourHexDigits() throws(JSONParsingError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw malformed }
            code = code << 4 | UInt32(digit)
            index += 1
        }
        return code
    }

    private mutating func number() throws(JSONParsingError) -> JSONValue {
        let start = index
        _ = take("-")
        if !take("0") { try digits() }
        var isInteger = true
        if take(".") {
            try digits()
            isInteger = false
        }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
            isInteger = false
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isInteger, let integer = Int64(text) { return .int(integer) }
        guard let double = Double(text), double.isFinite else { throw .malformed(offset: start) }
        return .double(double)
    }

    private mutating func digits() throws(JSONParsingError) {
        let start = index
        while let byte = next, (48...57).contains(byte) { index += 1 }
        guard index > start else { throw malformed }
    }
}
