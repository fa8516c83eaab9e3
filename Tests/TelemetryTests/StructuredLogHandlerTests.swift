import Domain
import Logging
import Synchronization
import Telemetry
import Testing

private struct Broken: Error, CustomStringConvertible {
    let description: String
}

/// Collects the lines.
private final class Lines: LogSink {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }

    func write(_ line: String) { lines.withLock { $0.append(line) } }
}

private let instant = Timestamp(microseconds: 1_795_194_850_123_456)

/// What a logger of this format writes.
private func written(
    _ format: LogFormat, level: Logger.Level = .trace, usesColor: Bool = false, provided: Logger.Metadata = [:],
    _ write: (inout Logger) -> Void
) -> [String] {
    let lines = Lines()
    var handler = StructuredLogHandler(
        label: "sba.test", level: level, format: format, usesColor: usesColor, sink: lines, now: { instant })
    handler.metadataProvider = Logger.MetadataProvider { provided }
    var logger = Logger(label: "sba.test", factory: { (_: String) in handler })
    write(&logger)
    return lines.all
}

private func fields(_ lines: [String]) throws -> JSONValue {
    let line = try #require(lines.first)
    return try JSONValue(parsing: line)
}

private let lineBreaks = [
    "a\nb", "a\r\nb", "a\rb", "a\u{B}b", "a\u{C}b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "a\n", "\n\n",
]

@Suite("Log lines as JSON")
struct JSONLogTests {
    @Test("A line is one object: time, level, logger, message, then the fields by name")
    func line() {
        let lines = written(.json) { logger in
            logger.info("Said \"hello\".", metadata: ["run_id": "r", "attempt": .stringConvertible(2)])
        }
        let start = #"{"time":"2026-11-20T17:14:10.123Z","level":"info","logger":"sba.test","message":"Said \"hello\".""#
        #expect(lines == [start + #","attempt":"2","run_id":"r"}"#])
    }

    @Test("A line is JSON on one line, whatever it holds", arguments: lineBreaks + ["\u{1B}[31m", "\"}", "\\", "\u{1}"])
    func parses(text: String) throws {
        let lines = written(.json) { logger in
            logger.info("\(text)", metadata: ["value": "\(text)", "list": ["\(text)"], "\(text)": "key"])
        }
        let json = try fields(lines)
        #expect(json["message"]?.string == text)
        #expect(json["value"]?.string == text)
        #expect(json["list"] == .array([.string(text)]))
        #expect(lines.allSatisfy { !$0.utf8.contains(0x0A) && !$0.utf8.contains(0x0D) })
    }

    @Test(
        "A field that is named like a member of every line leaves the line JSON",
        arguments: ["time", "level", "logger", "message"])
    func nameClash(name: String) throws {
        let lines = written(.json) { logger in logger.info("Hello.", metadata: [name: "mine"]) }
        let json = try fields(lines)
        #expect(json["message"]?.string != nil)
    }

    @Test("Secrets are redacted by key and by look, in the message and at every depth")
    func redacts() throws {
        let lines = written(.json) { logger in
            logger.info(
                "Mail to ada@example.com.",
                metadata: [
                    "password": "hunter2", "apiKeys": ["one", "two"], "note": "from bob@example.com",
                    "request": ["Authorization": "Basic x", "path": "/a", "body": ["email": "x", "text": "eve@example.com"]],
                ])
        }
        let json = try fields(lines)
        #expect(json["message"] == "Mail to [redacted].")
        #expect(json["password"] == "[redacted]")
        #expect(json["apiKeys"] == "[redacted]")
        #expect(json["note"] == "from [redacted]")
        let request: JSONValue = [
            "Authorization": "[redacted]", "path": "/a", "body": ["email": "[redacted]", "text": "[redacted]"],
        ]
        #expect(json["request"] == request)
    }

    @Test("An error is a field of its own, and redacted")
    func error() throws {
        let lines = written(.json) { logger in
            logger.error("It failed.", error: Broken(description: "no mailbox ada@example.com"))
        }
        let json = try fields(lines)
        #expect(json["level"] == "error")
        #expect(json["error"] == "no mailbox [redacted]")
    }

    @Test("What a call says of a field goes before what the context says, and that before what the logger says")
    func precedence() throws {
        let lines = written(.json, provided: ["a": "context", "b": "context"]) { logger in
            logger[metadataKey: "a"] = "logger"
            logger[metadataKey: "b"] = "logger"
            logger[metadataKey: "c"] = "logger"
            logger.info("Hello.", metadata: ["a": "call"])
        }
        let json = try fields(lines)
        #expect(json["a"] == "call")
        #expect(json["b"] == "context")
        #expect(json["c"] == "logger")
    }

    @Test("What is below the level is not written")
    func threshold() {
        let lines = written(.json, level: .warning) { logger in
            logger.info("no")
            logger.notice("no")
            logger.warning("yes")
            logger.critical("yes")
        }
        #expect(lines.count == 2)
    }
}

@Suite("Log lines as text")
struct TextLogTests {
    @Test("A line is the time of day, the level, the message, and the fields by name")
    func line() {
        let lines = written(.text) { logger in
            logger.info("Hello.", metadata: ["run_id": "r", "list": ["x", "y"], "attempt": "2"])
            logger.critical("Goodbye.")
        }
        let expected = [
            #"17:14:10.123 INFO     Hello. attempt=2 list=["x","y"] run_id=r"#, "17:14:10.123 CRITICAL Goodbye.",
        ]
        #expect(lines == expected)
    }

    @Test("Only the level is coloured, and only when asked")
    func color() {
        let lines = written(.text, usesColor: true) { logger in logger.error("Broken.", metadata: ["a": "b"]) }
        #expect(lines == ["17:14:10.123 \u{1B}[31mERROR   \u{1B}[0m Broken. a=b"])
    }

    @Test("No line break of any kind comes through, in the message, a field or its name", arguments: lineBreaks)
    func noLineBreaks(text: String) {
        let lines = written(.text) { logger in
            logger.info("\(text)", metadata: ["value": "\(text)", "\(text)": "x", "nested": ["key": "\(text)"]])
        }
        #expect(lines.count == 1)
        #expect(lines.allSatisfy { !$0.contains(where: \.isNewline) })
    }

    @Test("Secrets are redacted in text too")
    func redacts() {
        let lines = written(.text) { logger in
            logger.info("Mail to ada@example.com.", metadata: ["token": "t", "note": "from bob@example.com"])
        }
        #expect(lines == ["17:14:10.123 INFO     Mail to [redacted]. note=from [redacted] token=[redacted]"])
    }
}
