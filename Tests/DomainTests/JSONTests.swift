import Domain
import Testing

/// Texts in the form in which we write them ourselves.
private let canonicalTexts = [
    "null", "true", "false", "0", "-1", "9223372036854775807", "-9223372036854775808", "1.5", "-0.25", "\"\"",
    #""text""#, "[]", "{}", "[1,[2,[3]],{}]", #"{"a":[{"b":null}],"c":"d"}"#, #""\"\\\n\r\t\u0001""#,
    "\"\u{1F600} \u{E9} \u{10FFFF} \u{7F}\"",
]

private let readings: [(String, JSONValue)] = [
    (" \t\n\r[ 1 ,\n2 ] ", .array([.int(1), .int(2)])),
    (#"{ "a" : 1 }"#, .object(["a": .int(1)])),
    ("-0", .int(0)),
    ("1e2", .double(100)),
    ("1E+2", .double(100)),
    ("25e-2", .double(0.25)),
    ("12.50", .double(12.5)),
    ("9223372036854775808", .double(0x1p63)),
    ("-9223372036854775809", .double(-0x1p63)),
    (#""\u0041\/\b\f\u00e9\u20AC""#, .string("A/\u{8}\u{C}\u{E9}\u{20AC}")),
    (#"{"":{"":[]}}"#, .object(["": .object(["": .array([])])])),
]

private let surrogatePairs: [(String, String)] = [
    (#""\ud83d\ude00""#, "\u{1F600}"), (#""\uD834\uDD1E!""#, "\u{1D11E}!"), (#""\ud800\udc00""#, "\u{10000}"),
    (#""\udbff\udfff""#, "\u{10FFFF}"), (#""\ud7ff\ue000""#, "\u{D7FF}\u{E000}"),
]

/// Broken texts, and the byte at which each stops being JSON.
private let brokenStructures: [(String, Int)] = [
    ("", 0), (" ", 1), ("nul", 0), ("True", 0), ("nulll", 4), ("truefalse", 4), ("1 2", 2), ("'a'", 0), ("a", 0),
    ("]", 0), ("[", 1), ("[1", 2), ("[1,", 3), ("[1,]", 3), ("[,1]", 1), ("[1 2]", 3), ("[1}", 2), (#"["a":1]"#, 4),
    ("}", 0), ("{", 1), (#"{"a"}"#, 4), (#"{"a" 1}"#, 5), (#"{"a":}"#, 5), (#"{"a":1"#, 6), (#"{"a":1,}"#, 7),
    (#"{"a":1]"#, 6), (#"{"a":1 "b":2}"#, 7), ("{a:1}", 1), ("{1:2}", 1), ("{,}", 1), ("1/**/", 1), ("//\n1", 0),
    ("\u{FEFF}1", 0), ("\u{A0}1", 0), ("\u{B}1", 0), ("\u{C}1", 0), ("\"", 1), (#""a"#, 2),
]

private let brokenNumbers: [(String, Int)] = [
    ("-", 1), ("+1", 0), ("--1", 1), ("01", 1), ("-01", 2), ("00", 1), ("1.", 2), (".5", 0), ("-.5", 1), ("1.e5", 2),
    ("1e", 2), ("1e+", 3), ("1e5.0", 3), ("0x10", 1), ("1_000", 1), ("1,000", 1), ("NaN", 0), ("Infinity", 0),
    ("-Infinity", 1), ("1e400", 0), ("-1e400", 0), ("\u{661}", 0),
]

/// Strings with something in them that a JSON string must not hold.
private let brokenStrings = [
    "\"a\nb\"", "\"a\tb\"", "\"\r\"", "\"\u{1}\"", "\"\u{1F}\"", #""\x41""#, #""\U0041""#, #""\'""#, #""\"#, #""\u12""#,
    #""\u12g4""#, #""\u 041""#, #""\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#, #""\ud83d\ud83d""#,
    #""\ude00""#, #""\ude00\ud83d""#,
]

private let invalidUTF8: [[UInt8]] = [
    [0x22, 0x80, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xE2, 0x82, 0x22], [0x22, 0xC0, 0xAF, 0x22],
    [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xFF, 0x22], [0xFE, 0xFF, 0x00, 0x31],
]

@Suite("Reading JSON")
struct JSONReadingTests {
    @Test("A text in our own form is written back as it was", arguments: canonicalTexts)
    func roundTrip(text: String) throws {
        let value = try JSONValue(parsing: text)
        #expect(value.text == text)
    }

    @Test("Text and bytes read alike", arguments: canonicalTexts)
    func bytes(text: String) throws {
        let fromText = try JSONValue(parsing: text)
        let fromBytes = try JSONValue(parsing: Array(text.utf8))
        #expect(fromText == fromBytes)
    }

    @Test("White space, exponents and escapes are understood", arguments: readings)
    func reads(text: String, expected: JSONValue) throws {
        let value = try JSONValue(parsing: text)
        #expect(value == expected)
    }

    @Test("Integers of 64 bits keep every digit", arguments: [Int64.max, Int64.min, 9_007_199_254_740_993, -1, 0])
    func exactIntegers(number: Int64) throws {
        let value = try JSONValue(parsing: "[\(number)]")
        #expect(value.array?.first?.int == number)
    }

    @Test("Surrogate pairs are joined to the character they stand for", arguments: surrogatePairs)
    func surrogates(text: String, expected: String) throws {
        let string = try #require(try JSONValue(parsing: text).string)
        #expect(Array(string.utf8) == Array(expected.utf8))
    }

    @Test("A broken structure is refused at the byte where it breaks", arguments: brokenStructures)
    func refusesStructure(text: String, offset: Int) {
        #expect(throws: JSONParsingError.malformed(offset: offset)) { try JSONValue(parsing: text) }
    }

    @Test("A number in another form than JSON's is refused at the byte where it breaks", arguments: brokenNumbers)
    func refusesNumber(text: String, offset: Int) {
        #expect(throws: JSONParsingError.malformed(offset: offset)) { try JSONValue(parsing: text) }
    }

    @Test("A string with raw control characters, unknown escapes or lone surrogates is malformed", arguments: brokenStrings)
    func refusesString(text: String) throws {
        let error = try #require(throws: JSONParsingError.self) { try JSONValue(parsing: text) }
        guard case .malformed = error else {
            Issue.record("\(error) is not a malformed text")
            return
        }
    }

    @Test(
        "What is wrong inside a string is reported at its own byte, like everywhere else",
        arguments: [("\"a\nb\"", 2), (#""a\xb""#, 3)])
    func offsetInString(text: String, offset: Int) {
        #expect(throws: JSONParsingError.malformed(offset: offset)) { try JSONValue(parsing: text) }
    }

    @Test("A NUL is refused in every spelling", arguments: [#""a\u0000b""#, "\"a\0b\"", #"{"\u0000":1}"#, #"["\u0000"]"#])
    func refusesNUL(text: String) {
        #expect(throws: JSONParsingError.nul) { try JSONValue(parsing: text) }
    }

    @Test("Bytes that are not UTF-8 are refused", arguments: invalidUTF8)
    func refusesInvalidUTF8(bytes: [UInt8]) {
        #expect(throws: JSONParsingError.invalidUTF8) { try JSONValue(parsing: bytes) }
    }

    @Test("Arrays and objects nest 32 deep", arguments: [["[", "1", "]"], [#"{"a":"#, "1", "}"]])
    func depth(parts: [String]) throws {
        let text = String(repeating: parts[0], count: 32) + parts[1] + String(repeating: parts[2], count: 32)
        let value = try JSONValue(parsing: text)
        #expect(value.text == text)
    }

    @Test("The 33rd level is refused, also when thousands follow", arguments: ["[", #"{"a":"#, #"[{"a":"#], [33, 100_000])
    func refusesDepth(opening: String, count: Int) {
        let text = String(repeating: opening, count: count)
        #expect(throws: JSONParsingError.tooDeep(limit: 32)) { try JSONValue(parsing: text) }
    }

    @Test("Neighbours do not count as depth")
    func width() throws {
        let text = "[" + Array(repeating: "[]", count: 1000).joined(separator: ",") + "]"
        let value = try JSONValue(parsing: text)
        #expect(value.array?.count == 1000)
    }

    @Test(
        "A key that stands twice in one object is refused, however it is spelled",
        arguments: [#"{"a":1,"b":2,"a":3}"#, #"{"a":1,"\u0061":1}"#, #"[{"b":{"a":null,"a":null}}]"#])
    func refusesDuplicates(text: String) {
        #expect(throws: JSONParsingError.duplicateKey("a")) { try JSONValue(parsing: text) }
    }

    @Test("The same key may stand in different objects")
    func sameKeyElsewhere() throws {
        let text = #"{"a":{"a":{"a":1}},"b":[{"a":2},{"a":3}]}"#
        let value = try JSONValue(parsing: text)
        #expect(value.text == text)
    }
}

@Suite("Writing JSON")
struct JSONWritingTests {
    @Test("Keys are sorted at every level")
    func sortedKeys() {
        let value: JSONValue = ["b": 1, "a": ["z": 1, "y": 2], "C": 3, "aa": 4, "": 5]
        #expect(value.text == #"{"":5,"C":3,"a":{"y":2,"z":1},"aa":4,"b":1}"#)
    }

    @Test("Objects that were built in another order are the same text")
    func stableText() {
        var forwards: [String: JSONValue] = [:]
        var backwards: [String: JSONValue] = [:]
        for number in 0..<200 {
            forwards["key\(number)"] = .int(Int64(number))
            backwards["key\(199 - number)"] = .int(Int64(199 - number))
        }
        #expect(JSONValue.object(forwards).text == JSONValue.object(backwards).text)
    }

    @Test("Every control character is written as an escape", arguments: UInt8(0)..<0x20)
    func controlEscapes(code: UInt8) {
        let hex = String(code, radix: 16)
        let escape =
            switch code {
            case 0x09: "\\t"
            case 0x0A: "\\n"
            case 0x0D: "\\r"
            default: "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            }
        let text = JSONValue.string("a" + String(Unicode.Scalar(code)) + "b").text
        #expect(text == "\"a\(escape)b\"")
    }

    @Test("Every control character but NUL is read back", arguments: UInt8(1)..<0x20)
    func controlRoundTrip(code: UInt8) throws {
        let value = JSONValue.string(String(Unicode.Scalar(code)))
        let read = try JSONValue(parsing: value.text)
        #expect(read == value)
    }

    @Test("Doubles are read back exactly", arguments: [0.1, -2.5, 1e-7, 100, 1e16, 1e300, 2.5e-300, -1.7976931348623157e308])
    func doubles(number: Double) throws {
        let read = try JSONValue(parsing: JSONValue.double(number).text)
        #expect(read == .double(number))
    }

    @Test("A number that JSON cannot write becomes null", arguments: [Double.nan, .infinity, -.infinity])
    func notFinite(number: Double) {
        #expect(JSONValue.double(number).text == "null")
    }

    @Test("An integer is read as a double where one is wanted, and the other way when it is whole")
    func numberAccess() {
        #expect(JSONValue.int(3).double == 3)
        #expect(JSONValue.double(3).int == 3)
        #expect(JSONValue.double(3.5).int == nil && JSONValue.double(1e300).int == nil)
    }
}
