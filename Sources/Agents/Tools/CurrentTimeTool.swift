import Domain
import Foundation

/// Tells the time, which a model cannot know.
public struct CurrentTimeTool: Tool {
    public let definition: ToolDefinition
    private let ambient: Ambient

    public init(ambient: Ambient = .system) throws(Problem) {
        self.ambient = ambient
        definition = ToolDefinition(
            name: "current_time",
            description: "The current date and time, in UTC and, when asked, in an IANA time zone.",
            parameters: try JSONSchema([
                "type": "object", "additionalProperties": false,
                "properties": [
                    "timeZone": ["type": "string", "maxLength": 64, "description": "For example Europe/Berlin"]
                ],
            ]),
            timeout: .seconds(1), maximumOutputBytes: 1024, isIdempotent: true)
    }

    public func call(_ arguments: JSONValue, context: ToolContext) async throws -> ToolOutput {
        let now = ambient.now()
        var answer: [String: JSONValue] = ["utc": .string(now.iso8601)]
        if let name = arguments["timeZone"]?.string {
            guard let zone = TimeZone(identifier: name) else {
                throw ToolFailure("'\(name)' is no IANA time zone. Use a name like Europe/Berlin.")
            }
            let date = Date(timeIntervalSince1970: Double(now.microseconds) / 1_000_000)
            let style = Date.ISO8601FormatStyle(timeZone: zone).year().month().day()
                .time(includingFractionalSeconds: false).timeZone(separator: .colon)
            answer["local"] = .string(date.formatted(style))
            answer["timeZone"] = .string(name)
            answer["weekday"] = .string(Self.weekday(date, zone))
        }
        return ToolOutput(content: JSONValue.object(answer).text)
    }

    private static func weekday(_ date: Date, _ zone: TimeZone) -> String {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = zone
        let names = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
        return names[calendar.component(.weekday, from: date) - 1]
    }
}
