import Agents
import Domain
import Testing

/// A schema, a value, and what is wrong with the value.
struct SchemaCase: Sendable, CustomTestStringConvertible {
    let schema: JSONValue
    let value: JSONValue
    let violations: [String]

    init(_ schema: JSONValue, _ value: JSONValue, _ violations: String...) {
        self.schema = schema
        self.value = value
        self.violations = violations
    }

    var testDescription: String { "\(value.text) under \(schema.text)" }
}

private let typeCases: [SchemaCase] = [
    SchemaCase(["type": "object"], [:]),
    SchemaCase(["type": "object"], [], "arguments: must be object"),
    SchemaCase(["type": "array"], []),
    SchemaCase(["type": "array"], "[]", "arguments: must be array"),
    SchemaCase(["type": "string"], "1"),
    SchemaCase(["type": "string"], 1, "arguments: must be string"),
    SchemaCase(["type": "boolean"], false),
    SchemaCase(["type": "boolean"], 0, "arguments: must be boolean"),
    SchemaCase(["type": "null"], .null),
    SchemaCase(["type": "null"], false, "arguments: must be null"),
    SchemaCase(["type": "integer"], 1),
    SchemaCase(["type": "integer"], .double(2)),
    SchemaCase(["type": "integer"], .double(1.5), "arguments: must be integer"),
    SchemaCase(["type": "integer"], "1", "arguments: must be integer"),
    SchemaCase(["type": "number"], 1),
    SchemaCase(["type": "number"], .double(1.5)),
    SchemaCase(["type": "number"], true, "arguments: must be number"),
    SchemaCase(["type": ["string", "null"]], .null),
    SchemaCase(["type": ["string", "null"]], 1, "arguments: must be string or null"),
    SchemaCase([:], ["anything": [1, "goes"]]),
    SchemaCase(true, 1),
    SchemaCase(false, 1, "arguments: not allowed"),
]

private let boundCases: [SchemaCase] = [
    SchemaCase(["minLength": 2], "ab"),
    SchemaCase(["minLength": 2], "a", "arguments: must have a length of at least 2"),
    SchemaCase(["maxLength": 2], "\u{1F600}\u{1F600}"),
    SchemaCase(["maxLength": 1], "e\u{301}", "arguments: must have a length of at most 1"),
    SchemaCase(["minLength": 2], 1),
    SchemaCase(["minItems": 1], [1]),
    SchemaCase(["minItems": 1], [], "arguments: must have a number of items of at least 1"),
    SchemaCase(["maxItems": 1], [1]),
    SchemaCase(["maxItems": 1], [1, 2], "arguments: must have a number of items of at most 1"),
    SchemaCase(["minimum": 1], 1),
    SchemaCase(["minimum": 1], .double(0.5), "arguments: must be at least 1"),
    SchemaCase(["maximum": 1], 1),
    SchemaCase(["maximum": 1], 2, "arguments: must be at most 1"),
    SchemaCase(["exclusiveMinimum": 1], 2),
    SchemaCase(["exclusiveMinimum": 1], 1, "arguments: must be more than 1"),
    SchemaCase(["exclusiveMaximum": .double(1.5)], 1),
    SchemaCase(["exclusiveMaximum": .double(1.5)], .double(1.5), "arguments: must be less than 1.5"),
    SchemaCase(["minimum": 1], "0"),
    SchemaCase(["enum": ["a", 1, .null]], .null),
    SchemaCase(["enum": ["a", 1]], "b", "arguments: must be one of \"a\", 1"),
    SchemaCase(["const": "a"], "a"),
    SchemaCase(["const": .null], 0, "arguments: must be null"),
]

private let person: JSONValue = [
    "type": "object", "required": ["name", "age"], "additionalProperties": false,
    "properties": [
        "name": ["type": "string"], "age": ["type": "integer", "minimum": 0],
        "tags": ["type": "array", "items": ["type": "string", "maxLength": 3]],
    ],
]

private let memberCases: [SchemaCase] = [
    SchemaCase(person, ["name": "Ada", "age": 36]),
    SchemaCase(person, ["name": "Ada", "age": 36, "tags": ["a", "b"]]),
    SchemaCase(person, ["name": "Ada"], "arguments.age: is required"),
    SchemaCase(person, [:], "arguments.name: is required", "arguments.age: is required"),
    SchemaCase(person, ["name": 1, "age": .int(-1)], "arguments.age: must be at least 0", "arguments.name: must be string"),
    SchemaCase(person, ["name": "Ada", "age": 36, "x": 1], "arguments.x: not allowed"),
    SchemaCase(
        person, ["name": "Ada", "age": 36, "tags": ["a", 1, "long"]], "arguments.tags[1]: must be string",
        "arguments.tags[2]: must have a length of at most 3"),
    SchemaCase(["required": ["a"]], ["a": .null]),
    SchemaCase(["additionalProperties": ["type": "integer"]], ["a": 1, "b": "2"], "arguments.b: must be integer"),
    SchemaCase(["properties": ["a": false]], ["a": 1], "arguments.a: not allowed"),
]

private let refusals: [(JSONValue, String)] = [
    (1, "schema must be an object or a boolean."),
    ([], "schema must be an object or a boolean."),
    (["properties": ["a": "string"]], "schema.properties.a must be an object or a boolean."),
    (["items": [["type": "string"]]], "schema.items must be an object or a boolean."),
    (["additionalProperties": .null], "schema.additionalProperties must be an object or a boolean."),
]

private let unsupported: [(JSONValue, String)] = [
    (["pattern": "^a"], "schema uses 'pattern'"),
    (["$ref": "#/x"], "schema uses '$ref'"),
    (["oneOf": [true]], "schema uses 'oneOf'"),
    (["multipleOf": 2], "schema uses 'multipleOf'"),
    (["uniqueItems": true], "schema uses 'uniqueItems'"),
    (["Type": "string"], "schema uses 'Type'"),
    (["properties": ["a": ["items": ["not": true]]]], "schema.properties.a.items uses 'not'"),
    (["type": "text"], "schema.type must name JSON types"),
    (["type": ["string", "int"]], "schema.type must name JSON types"),
    (["type": 1], "schema.type must name JSON types"),
    (["properties": ["a": ["type": "float"]]], "schema.properties.a.type must name JSON types"),
]

/// Rules that could not be held, because what they say is of the wrong kind.
private let meaningless: [JSONValue] = [
    ["properties": []], ["properties": "name"], ["required": "name"], ["required": [1]], ["enum": "a"],
    ["minLength": "2"], ["maxLength": .null], ["minimum": "0"], ["exclusiveMaximum": true], ["minItems": "1"],
    ["maxItems": [:]], ["type": []],
]

private let choicesOfOne: [JSONValue] = [["enum": [1, 2]], ["const": 1]]

@Suite("JSON Schema")
struct JSONSchemaTests {
    private func check(_ schemaCase: SchemaCase) throws {
        let schema = try JSONSchema(schemaCase.schema)
        let violations = schema.violations(of: schemaCase.value).map(\.description)
        #expect(violations == schemaCase.violations)
    }

    @Test("A value is of the type that its schema names", arguments: typeCases)
    func types(schemaCase: SchemaCase) throws { try check(schemaCase) }

    @Test("Lengths, counts, numbers and choices are held within their bounds, where they apply", arguments: boundCases)
    func bounds(schemaCase: SchemaCase) throws { try check(schemaCase) }

    @Test("Members are required, checked and refused, each fault under its path", arguments: memberCases)
    func members(schemaCase: SchemaCase) throws { try check(schemaCase) }

    @Test("Numbers are equal when their values are, however they are written", arguments: choicesOfOne)
    func equalNumbers(schema: JSONValue) throws {
        let violations = try JSONSchema(schema).violations(of: .double(1)).map(\.description)
        #expect(violations.isEmpty)
    }

    @Test("What is no schema is refused where it stands", arguments: refusals)
    func refusesOtherValues(schema: JSONValue, message: String) throws {
        let problem = try #require(throws: Problem.self) { try JSONSchema(schema) }
        #expect(problem.code == .invalidRequest)
        #expect(problem.detail == message)
    }

    @Test("A keyword or type that is not supported is refused when the schema is declared", arguments: unsupported)
    func refusesUnsupported(schema: JSONValue, beginning: String) throws {
        let problem = try #require(throws: Problem.self) { try JSONSchema(schema) }
        #expect(problem.detail.hasPrefix(beginning))
    }

    @Test("A rule whose value is of the wrong kind is refused, not silently dropped", arguments: meaningless)
    func refusesMeaningless(schema: JSONValue) {
        #expect(throws: Problem.self) { try JSONSchema(schema) }
    }

    @Test("Annotations are allowed and say nothing about the value")
    func annotations() throws {
        let json: JSONValue = [
            "title": "T", "description": "D", "default": 1, "examples": [1], "$schema": "s", "$comment": "c",
            "deprecated": true, "format": "email",
        ]
        let schema = try JSONSchema(json)
        #expect(schema.json == json)
        #expect(schema.violations(of: "anything").isEmpty)
    }

    @Test("what is wrong is told within bounds, however much it is")
    func bounded() throws {
        let long = JSONValue.string(String(repeating: "x", count: 60_000))
        let schema = try JSONSchema(["items": ["enum": [long, long]]])
        let violations = schema.violations(of: .array(Array(repeating: 0, count: 10_000)), at: "events[0].data")
        #expect(violations.count == JSONSchema.maximumViolations)
        #expect(violations[7].path == "events[0].data[7]")
        #expect(violations.allSatisfy { $0.message.count < 300 })
    }
}
