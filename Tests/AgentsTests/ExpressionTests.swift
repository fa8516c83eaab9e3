import Domain
import Testing

@testable import Agents

private let results: [(String, Double)] = [
    ("1", 1), ("0.5", 0.5), ("1e3", 1000), ("2.5E-1", 0.25), ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("7 - 2 - 1", 4),
    ("8 / 4 / 2", 1), ("7 % 4", 3), ("-7 % 4", -3), ("5.5 % 2", 1.5), ("2 ^ 3 ^ 2", 512), ("-2 ^ 2", -4), ("(-2) ^ 2", 4),
    ("2 ^ -1", 0.5), ("2 * -3", -6), ("2 - -3", 5), ("+4", 4), ("--4", 4), ("sqrt(16) + abs(-2)", 6), ("round(2.5)", 3),
    ("round(-2.5)", -3), ("sqrt(sqrt(16))", 2), ("2 * pi", 2 * .pi), ("(17.5 - 2) * 4", 62), ("\t3\n*\u{A0}4", 12),
    ("((((((((((7))))))))))", 7), ("0 / 5", 0),
]

private let failures: [(String, String)] = [
    ("", "The expression ends too early."),
    ("1 +", "The expression ends too early."),
    ("(1", "The expression ends too early."),
    ("sqrt(4", "The expression ends too early."),
    ("1)", "Unexpected ')' at character 2."),
    ("()", "Unexpected ')' at character 2."),
    ("2(3)", "Unexpected '(' at character 2."),
    ("2pi", "Unexpected 'p' at character 2."),
    ("1.2.3", "Unexpected '1' at character 1."),
    ("3*1e", "Unexpected '1' at character 3."),
    ("*2", "Unexpected '*' at character 1."),
    ("2**3", "Unexpected '*' at character 3."),
    ("1,5", "Unexpected ',' at character 2."),
    ("2\u{D7}3", "Unexpected '\u{D7}' at character 2."),
    ("\u{661}", "Unexpected '\u{661}' at character 1."),
    ("x", "Unknown name 'x'."),
    ("sin(1)", "Unknown function 'sin'. Known: sqrt, abs, round."),
    ("1/0", "Division by zero."),
    ("1%0", "Division by zero."),
    ("1/(2-2)", "Division by zero."),
    ("sqrt(-1)", "The square root of a negative number is not real."),
    ("10^400", "The result is not a finite number."),
    ("(-8)^0.5", "The result is not a finite number."),
    ("0^-1", "The result is not a finite number."),
]

private let outputs: [(String, String)] = [
    ("6 * 7", #"{"result":42}"#), ("1 / 4", #"{"result":0.25}"#), ("0 * -1", #"{"result":0}"#),
    ("2 ^ 40", #"{"result":1099511627776}"#), ("10 ^ 20", #"{"result":1e+20}"#),
]

// Foundation has an `Expression` too, which is why this file does not import it.
private func evaluate(_ text: String) throws -> Double {
    var expression = Agents.Expression(text)
    return try expression.evaluate()
}

private func context() throws -> ToolContext {
    let id = "0192f3a1-7b2c-7def-8123-456789abcdef"
    let principal = Principal(tenant: try #require(TenantID(id)), user: try #require(UserID(id)), scopes: [])
    return ToolContext(
        run: try #require(RunID(id)), principal: principal, trace: Trace(requestID: "r"), toolCallID: "c",
        idempotencyKey: "k", collection: nil)
}

@Suite("Calculator")
struct ExpressionTests {
    @Test("An expression has the value that arithmetic gives it", arguments: results)
    func value(text: String, expected: Double) throws {
        let value = try evaluate(text)
        #expect(value == expected)
    }

    @Test("What cannot be computed is said, and where", arguments: failures)
    func failure(text: String, message: String) {
        #expect(throws: ToolFailure(message)) { try evaluate(text) }
    }

    @Test("Two numbers with a space between them are not one number", arguments: ["1 2", "1 2 + 3", "1. 5", "1 e3"])
    func spaceParts(text: String) {
        #expect(throws: ToolFailure.self) { try evaluate(text) }
    }

    @Test("A place is counted in the text as it was written")
    func placeWithSpaces() {
        #expect(throws: ToolFailure("Unexpected '$' at character 5.")) { try evaluate("1 + $") }
    }

    @Test("Parentheses and signs nest ten deep", arguments: ["(", "-(", "+-"])
    func nests(opening: String) throws {
        let closing = opening.hasSuffix("(") ? String(repeating: ")", count: 10) : ""
        let value = try evaluate(String(repeating: opening, count: 10) + "1" + closing)
        #expect(abs(value) == 1)
    }

    @Test(
        "An expression that is nested too deep is refused, also when it is endless",
        arguments: ["(", "-", "2^", "sqrt("], [51, 50_000])
    func refusesDepth(opening: String, count: Int) {
        #expect(throws: ToolFailure("The expression is nested too deep.")) {
            try evaluate(String(repeating: opening, count: count) + "1")
        }
    }

    @Test("A long expression that is not nested is computed")
    func longSum() throws {
        let value = try evaluate(Array(repeating: "1", count: 2000).joined(separator: "+"))
        #expect(value == 2000)
    }

    @Test("The tool answers whole numbers as integers", arguments: outputs)
    func output(expression: String, expected: String) async throws {
        let tool = try CalculatorTool()
        let output = try await tool.call(["expression": .string(expression)], context: context())
        #expect(output.content == expected)
    }

    @Test("The tool takes one expression of at most 500 characters")
    func parameters() throws {
        let parameters = try CalculatorTool().definition.parameters
        #expect(parameters.violations(of: ["expression": .string(String(repeating: "1", count: 500))]).isEmpty)
        #expect(!parameters.violations(of: ["expression": .string(String(repeating: "1", count: 501))]).isEmpty)
        #expect(!parameters.violations(of: ["expression": ""]).isEmpty)
        #expect(!parameters.violations(of: [:]).isEmpty)
        #expect(!parameters.violations(of: ["expression": "1", "precision": 2]).isEmpty)
    }
}
