import Domain
import Foundation
import Logging
import Synchronization

/// How log lines look.
public enum LogFormat: String, CaseIterable, Sendable {
    /// One JSON object a line.
    case json
    /// For eyes on a terminal.
    case text
}

/// Where finished lines go. Lines are written whole.
public protocol LogSink: Sendable {
    func write(_ line: String)
}

/// Standard error, which leaves standard output to what a command answers.
public struct StandardErrorSink: LogSink {
    private static let lock = Mutex(())

    public init() {}

    public func write(_ line: String) {
        Self.lock.withLock { _ in _ = StandardStream.write(line + "\n", to: STDERR_FILENO) }
    }
}

/// Writes to the process's own streams. A reader that has gone or a full disk is no reason to stop.
public enum StandardStream {
    /// Writes the whole text; answers whether it could.
    public static func write(_ text: String, to descriptor: Int32) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let written = Foundation.write(descriptor, rest.baseAddress, rest.count)
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else { return false }
                rest = UnsafeRawBufferPointer(rebasing: rest[written...])
            }
            return true
        }
    }
}

/// Writes log lines as JSON or text, redacted.
public struct StructuredLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let format: LogFormat
    private let usesColor: Bool
    private let sink: any LogSink
    private let redactor = Redactor()
    private let now: @Sendable () -> Timestamp

    public init(
        label: String, level: Logger.Level, format: LogFormat, usesColor: Bool = false,
        sink: any LogSink = StandardErrorSink(), now: @escaping @Sendable () -> Timestamp = Ambient.system.now
    ) {
        self.label = label
        logLevel = level
        self.format = format
        self.usesColor = usesColor
        self.sink = sink
        self.now = now
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var all = metadata
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let given = event.metadata { all.merge(given) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        let fields = all.map { key, value in
            (key: Self.members.contains(key) ? "field_" + key : key, value: redacted(key, value))
        }.sorted { $0.key < $1.key }
        let message = redactor.redacted("\(event.message)")
        switch format {
        case .json: sink.write(json(event.level, message, fields))
        case .text: sink.write(text(event.level, message, fields))
        }
    }

    /// The names that every line has: a field of one of these names gets another.
    private static let members: Set<String> = ["time", "level", "logger", "message"]

    private func redacted(_ key: String, _ value: Logger.MetadataValue) -> JSONValue {
        if redactor.isSecret(key: key) { return .string(Redactor.mark) }
        switch value {
        case .string(let text): return .string(redactor.redacted(text))
        case .stringConvertible(let value): return .string(redactor.redacted("\(value)"))
        case .array(let values): return .array(values.map { redacted(key, $0) })
        case .dictionary(let members):
            return .object(Dictionary(uniqueKeysWithValues: members.map { ($0, redacted($0, $1)) }))
        }
    }

    private func json(_ level: Logger.Level, _ message: String, _ fields: [(key: String, value: JSONValue)]) -> String {
        var writer = JSONWriter()
        writer.raw("{\"time\":\"\(now().iso8601)\",\"level\":\"\(level.rawValue)\",\"logger\":")
        writer.write(label)
        writer.raw(",\"message\":")
        writer.write(message)
        for field in fields {
            writer.raw(",")
            writer.write(field.key)
            writer.raw(":")
            writer.write(field.value)
        }
        writer.raw("}")
        return writer.text
    }

    private func text(_ level: Logger.Level, _ message: String, _ fields: [(key: String, value: JSONValue)]) -> String {
        let time = now().iso8601.dropFirst(11).dropLast()
        let name = level.rawValue.uppercased()
        let padded = name + String(repeating: " ", count: max(0, 8 - name.count))
        var line = "\(time) \(colored(padded, level)) \(message)"
        for field in fields { line += " \(field.key)=\(field.value.string ?? field.value.text)" }
        return Self.oneLine(line)
    }

    /// A line break in a value must not look like another line.
    private static func oneLine(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: lineBreaks.contains) else { return text }
        return text.unicodeScalars.map { lineBreaks.contains($0) ? "\\n" : String($0) }.joined()
    }

    /// Mandatory breaks of Unicode Standard Annex #14.
    private static let lineBreaks: Set<Unicode.Scalar> = [
        "\n", "\u{0B}", "\u{0C}", "\r", "\u{85}", "\u{2028}", "\u{2029}",
    ]

    private func colored(_ text: String, _ level: Logger.Level) -> String {
        guard usesColor else { return text }
        let color =
            switch level {
            case .trace, .debug: "90"
            case .info, .notice: "36"
            case .warning: "33"
            case .error, .critical: "31"
            }
        return "\u{1B}[\(color)m\(text)\u{1B}[0m"
    }
}
