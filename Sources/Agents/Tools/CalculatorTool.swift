import Domain
import Foundation

/// Arithmetic that a language model should not do by heart.
public struct CalculatorTool: Tool {
    public let definition: ToolDefinition

    public init() throws(Problem) {
        definition = ToolDefinition(
            name: "calculator",
            description: "Computes an arithmetic expression with + - * / % ^, parentheses, sqrt(), abs(), round() and pi.",
            parameters: try JSONSchema([
                "type": "object", "required": ["expression"], "additionalProperties": false,
                "properties": [
                    "expression": [
                        "type": "string", "minLength": 1, "maxLength": .int(Int64(Expression.maximumCharacters)),
                        "description": "For example (17.5 - 2) * 4",
                    ]
                ],
            ]),
            timeout: .seconds(1), maximumOutputBytes: 1024, isIdempotent: true)
    }

    public func call(_ arguments: JSONValue, context: ToolContext) async throws -> ToolOutput {
        var expression = Expression(arguments["expression"]?.string ?? "")
        let value = try expression.evaluate()
        let isWhole = value == value.rounded() && abs(value) < 1e15
        let result: JSONValue = isWhole ? .int(Int64(value)) : .double(value)
        return ToolOutput(content: JSONValue.object(["result": result]).text)
    }
}

/// Evaluates arithmetic by recursive descent:
/// `sum = product (("+" | "-") product)*`, `product = power (("*" | "/" | "%") power)*`,
/// `power = ("-" | "+") power | atom ("^" power)?`, `atom = number | name | name "(" sum ")" | "(" sum ")"`.
struct Expression {
    static let maximumCharacters = 500
    /// Parentheses and signs may nest this deep.
    private static let maximumDepth = 50

    private let characters: [Character]
    private var index = 0
    private var depth = 0

    init(_ text: String) { characters = Array(text) }

    /// - Throws: `ToolFailure`, which says where and why.
    mutating func evaluate() throws(ToolFailure) -> Double {
        let value = try sum()
        skipSpaces()
        guard index == characters.count else { throw unexpected }
        guard value.isFinite else { throw ToolFailure("The result is not a finite number.") }
        return value
    }

    private var next: Character? { index < characters.count ? characters[index] : nil }

    private var unexpected: ToolFailure {
        next.map { ToolFailure("Unexpected '\($0)' at character \(index + 1).") }
            ?? ToolFailure("The expression ends too early.")
    }

    private mutating func skipSpaces() {
        while next?.isWhitespace == true { index += 1 }
    }

    private mutating func take(_ character: Character) -> Bool {
        skipSpaces()
        guard next == character else { return false }
        index += 1
        return true
    }

    private mutating func sum() throws(ToolFailure) -> Double {
        var value = try product()
        while true {
            if take("+") { value += try product() } else if take("-") { value -= try product() } else { return value }
        }
    }

    private mutating func product() throws(ToolFailure) -> Double {
        var value = try power()
        while true {
            if take("*") {
                value *= try power()
            } else if take("/") {
                let divisor = try power()
                guard divisor != 0 else { throw ToolFailure("Division by zero.") }
                value /= divisor
            } else if take("%") {
                let divisor = try power()
                guard divisor != 0 else { throw ToolFailure("Division by zero.") }
                value = value.truncatingRemainder(dividingBy: divisor)
            } else {
                return value
            }
        }
    }

    private mutating func power() throws(ToolFailure) -> Double {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw ToolFailure("The expression is nested too deep.") }
        if take("-") { return -(try power()) }
        if take("+") { return try power() }
        let base = try atom()
        return take("^") ? pow(base, try power()) : base
    }

    private mutating func atom() throws(ToolFailure) -> Double {
        if take("(") {
            let value = try sum()
            guard take(")") else { throw unexpected }
            return value
        }
        skipSpaces()
        let start = index
        if next?.isLetter == true {
            while next?.isLetter == true { index += 1 }
            return try named(String(characters[start..<index]))
        }
        while let character = next, character.isASCII, character.isNumber || character == "." { index += 1 }
        if index > start, next == "e" || next == "E" {
            index += 1
            if next == "-" || next == "+" { index += 1 }
            while let character = next, character.isASCII, character.isNumber { index += 1 }
        }
        guard let number = Double(String(characters[start..<index])) else {
            index = start
            throw unexpected
        }
        return number
    }

    private mutating func named(_ name: String) throws(ToolFailure) -> Double {
        if name == "pi" { return .pi }
        guard take("(") else { throw ToolFailure("Unknown name '\(name)'.") }
        let argument = try sum()
        guard take(")") else { throw unexpected }
        switch name {
        case "sqrt":
            guard argument >= 0 else { throw ToolFailure("The square root of a negative number is not real.") }
            return argument.squareRoot()
        case "abs": return abs(argument)
        case "round": return argument.rounded()
        default: throw ToolFailure("Unknown function '\(name)'. Known: sqrt, abs, round.")
        }
    }
}
