import ArgumentParser
import Domain
import Foundation
import Synchronization
import Telemetry

/// What commands write, and where.
enum Terminal {
    static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Colours only on a terminal, and not where `NO_COLOR` is set (no-color.org).
    static func usesColor(_ descriptor: Int32) -> Bool {
        isTerminal(descriptor) && (getenv("NO_COLOR").map { $0.pointee == 0 } ?? true)
    }

    private static let lock = Mutex(())

    /// Writes to standard output at once. When nobody reads any more, the command ends.
    static func print(_ text: String, terminator: String = "\n") {
        guard announce(text, terminator: terminator) else { Foundation.exit(1) }
    }

    /// The same for a server, which goes on without its reader.
    @discardableResult
    static func announce(_ text: String, terminator: String = "\n") -> Bool {
        lock.withLock { _ in StandardStream.write(text + terminator, to: STDOUT_FILENO) }
    }

    /// Writes a line to standard error.
    static func complain(_ text: String) {
        lock.withLock { _ in _ = StandardStream.write(text + "\n", to: STDERR_FILENO) }
    }

    enum Style: String {
        case dim = "2"
        case bold = "1"
        case cyan = "36"
        case green = "32"
        case red = "31"
        case yellow = "33"
    }

    /// The text in a style, where standard output shows styles.
    static func styled(_ text: String, _ style: Style) -> String {
        usesColor(STDOUT_FILENO) ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Asks for a line on the terminal; `nil` where there is none.
    static func ask(_ question: String, hidden: Bool = false) -> String? {
        guard isTerminal(STDIN_FILENO) else { return nil }
        if hidden { return getpass(question).map { String(cString: $0) } }
        print(question, terminator: "")
        return readLine()
    }

    /// Rows as columns of equal width, for eyes.
    static func table(_ rows: [[String]]) -> String {
        let widths = rows.reduce(into: [Int]()) { widths, row in
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                let isLast = column == row.count - 1
                line += isLast ? cell : cell + String(repeating: " ", count: widths[column] - cell.count + 2)
            }
            return line
        }.joined(separator: "\n")
    }
}

/// A configuration that cannot be used ends with this, so that scripts can tell it from a failure.
let configurationExitCode = ExitCode(2)

/// Ends a command with one clear message in place of a Swift error.
func reportingErrors(_ work: () async throws -> Void) async throws {
    do {
        try await work()
    } catch let error as ConfigurationError {
        Terminal.complain(error.description)
        throw configurationExitCode
    } catch let problem as Problem {
        Terminal.complain("\(problem.detail) [\(problem.code.rawValue)]")
        throw ExitCode.failure
    } catch let exit as ExitCode {
        throw exit
    } catch {
        Terminal.complain("\(error)")
        throw ExitCode.failure
    }
}
