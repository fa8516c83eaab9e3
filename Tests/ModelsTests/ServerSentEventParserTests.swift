import Models
import Testing

private let streams: [(String, [String])] = [
    ("", []),
    ("\n\n\n", []),
    ("data: a\n\n", ["a"]),
    ("data:a\n\n", ["a"]),
    ("data:  a \n\n", [" a "]),
    ("data: a\ndata: b\n\n", ["a\nb"]),
    ("data: a\ndata:\ndata: b\n\n", ["a\n\nb"]),
    ("data:\n\n", [""]),
    ("data: a\n\ndata: b\n\n\ndata: c\n\n", ["a", "b", "c"]),
    ("data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
    ("data: a\r\rdata: b\r\r", ["a", "b"]),
    ("data: a\r\ndata: b\n\rdata: c\r\r\n", ["a\nb", "c"]),
    (": a comment\n\ndata: a\n: another\ndata: b\n\n", ["a\nb"]),
    (":\n\n:\n\n", []),
    ("event: ping\nid: 7\nretry: 10\n\n", []),
    ("event: delta\ndata: a\nid: 7\n\n", ["a"]),
    ("Data: a\n\n data: b\n\ndatas: c\n\n", []),
    ("data: {\"a\": \"b: c\"}\n\n", ["{\"a\": \"b: c\"}"]),
    ("data: \u{E9}\u{1F600}\n\n", ["\u{E9}\u{1F600}"]),
    ("data: a\n\ndata: b\n", ["a"]),
    ("data: a", []),
]

private func parse(_ pieces: [[UInt8]]) throws -> [String] {
    var parser = ServerSentEventParser()
    return try pieces.flatMap { try parser.append($0) }
}

@Suite("Server-sent events")
struct ServerSentEventParserTests {
    @Test("Events are the data between blank lines, of any line end", arguments: streams)
    func whole(stream: String, expected: [String]) throws {
        let events = try parse([Array(stream.utf8)])
        #expect(events == expected)
    }

    @Test("Wherever a stream is cut in two, its events are the same", arguments: streams)
    func cutInTwo(stream: String, expected: [String]) throws {
        let bytes = Array(stream.utf8)
        for cut in 0...bytes.count {
            let events = try parse([Array(bytes[..<cut]), Array(bytes[cut...])])
            #expect(events == expected, "cut at \(cut)")
        }
    }

    @Test("Byte by byte, with empty pieces between, the events are the same", arguments: streams)
    func byteByByte(stream: String, expected: [String]) throws {
        let events = try parse(stream.utf8.flatMap { byte -> [[UInt8]] in [[byte], []] })
        #expect(events == expected)
    }

    @Test("An event is answered as soon as its blank line has come, and once")
    func answersAtOnce() throws {
        var parser = ServerSentEventParser()
        let before = try parser.append(Array("data: a\n".utf8))
        let then = try parser.append(Array("\n".utf8))
        let after = try parser.append(Array("\n\n".utf8))
        #expect(before.isEmpty)
        #expect(then == ["a"])
        #expect(after.isEmpty)
    }

    @Test("A long event passes, whole")
    func longEvent() throws {
        let data = String(repeating: "x", count: 1_000_000)
        let events = try parse([Array("data: \(data)\n\n".utf8)])
        #expect(events == [data])
    }

    @Test("Many events may together be larger than one may be")
    func manyEvents() throws {
        var parser = ServerSentEventParser()
        let event = Array("data: \(String(repeating: "x", count: 400_000))\n\n".utf8)
        for _ in 0..<5 {
            let events = try parser.append(event)
            #expect(events.count == 1)
        }
    }

    @Test("A line larger than 1 MiB is refused, though it has no end")
    func lineTooLarge() throws {
        let piece = Array(repeating: UInt8(ascii: "x"), count: 1 << 19)
        #expect(throws: ServerSentEventParser.TooLarge.self) { try parse([Array("data: ".utf8), piece, piece]) }
    }

    @Test("An event of many lines that together are larger than 1 MiB is refused")
    func linesTooLarge() throws {
        let line = Array("data: \(String(repeating: "x", count: 1000))\n".utf8)
        #expect(throws: ServerSentEventParser.TooLarge.self) { try parse(Array(repeating: line, count: 1100)) }
    }
}
