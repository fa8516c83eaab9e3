import Domain

/// A JSON Schema (2020-12), in the vocabulary that tool providers use: `type`, `properties`, `required`,
/// `additionalProperties`, `items`, `enum`, `const`, length, number and item bounds. Anything else is refused when the
/// schema is declared, so that no rule is silently not held.
public struct JSONSchema: Hashable, Sendable {
    /// The schema as it was written.
    public let json: JSONValue

    /// - Throws: `Problem` with `invalid_request`, naming what is not supported and where.
    public init(_ json: JSONValue) throws(Problem) {
        try Self.check(json, at: "schema")
        self.json = json
    }

    private static let annotations: Set<String> = [
        "title", "description", "default", "examples", "$schema", "$comment", "deprecated", "format",
    ]
    private static let assertions: Set<String> = [
        "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minLength", "maxLength",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems",
    ]
    private static let types: Set<String> = ["object", "array", "string", "integer", "number", "boolean", "null"]

    /// Whether the value of a keyword has the type that it needs, where nothing else looks at it.
    private static func hasRightType(_ value: JSONValue, for keyword: String) -> Bool {
        switch keyword {
        case "properties": value.object != nil
        case "enum": value.array != nil
        case "required": value.array?.allSatisfy { $0.string != nil } ?? false
        case "minLength", "maxLength", "minItems", "maxItems": (value.int ?? -1) >= 0
        case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum": value.double != nil
        default: true
        }
    }

    private static func check(_ schema: JSONValue, at path: String) throws(Problem) {
        if schema.bool != nil { return }
        guard let members = schema.object else {
            throw Problem(.invalidRequest, "\(path) must be an object or a boolean.")
        }
        for key in members.keys.sorted() where !annotations.contains(key) && !assertions.contains(key) {
            throw Problem(
                .invalidRequest,
                "\(path) uses '\(key)', which is not supported. Supported: \(assertions.sorted().joined(separator: ", ")).")
        }
        if let type = members["type"] {
            let names = type.array ?? [type]
            guard !names.isEmpty, names.allSatisfy({ $0.string.map(types.contains) ?? false }) else {
                throw Problem(.invalidRequest, "\(path).type must name JSON types: \(types.sorted().joined(separator: ", ")).")
            }
        }
        for (keyword, value) in members where !hasRightType(value, for: keyword) {
            throw Problem(.invalidRequest, "\(path).\(keyword) has the wrong type.")
        }
        for (name, property) in members["properties"]?.object ?? [:] {
            try check(property, at: "\(path).properties.\(name)")
        }
        if let additional = members["additionalProperties"] { try check(additional, at: "\(path).additionalProperties") }
        if let items = members["items"] { try check(items, at: "\(path).items") }
    }

    /// One thing that is wrong with a value.
    public struct Violation: Hashable, Sendable, CustomStringConvertible {
        /// Where, like `arguments.tags[2]`.
        public let path: String
        /// What it must be.
        public let message: String

        public var description: String { "\(path): \(message)" }
    }

    /// Of more nobody is told.
    public static let maximumViolations = 50
    /// Of a name or a value that a violation repeats.
    private static let maximumQuoted = 200

    /// What is wrong with `value`, the first of it; empty when it fits.
    ///
    /// - Parameter path: where the value is.
    public func violations(of value: JSONValue, at path: String = "arguments") -> [Violation] {
        var found: [Violation] = []
        Self.validate(value, json, at: path, &found)
        return found
    }

    private static func add(_ message: String, at path: String, to found: inout [Violation]) {
        guard found.count < maximumViolations else { return }
        found.append(Violation(path: path, message: message))
    }

    private static func validate(_ value: JSONValue, _ schema: JSONValue, at path: String, _ found: inout [Violation]) {
        guard found.count < maximumViolations else { return }
        if let allowed = schema.bool {
            if !allowed { add("not allowed", at: path, to: &found) }
            return
        }
        if let type = schema["type"] {
            let names = (type.array ?? [type]).compactMap(\.string)
            guard names.contains(where: { isOf(value, $0) }) else {
                return add("must be \(names.joined(separator: " or "))", at: path, to: &found)
            }
        }
        if let values = schema["enum"]?.array, !values.contains(where: { areEqual($0, value) }) {
            add("must be one of \(quoted(values.map(\.text).joined(separator: ", ")))", at: path, to: &found)
        }
        if let constant = schema["const"], !areEqual(constant, value) {
            add("must be \(quoted(constant.text))", at: path, to: &found)
        }
        validateBounds(value, schema, at: path, &found)
        if let items = value.array, let schema = schema["items"] {
            for (index, item) in items.enumerated() {
                guard found.count < maximumViolations else { return }
                validate(item, schema, at: "\(path)[\(index)]", &found)
            }
        }
        if let members = value.object { validateMembers(members, schema, at: path, &found) }
    }

    private static func quoted(_ text: String) -> String {
        text.count > maximumQuoted ? text.prefix(maximumQuoted) + "…" : text
    }

    private static func validateMembers(
        _ members: [String: JSONValue], _ schema: JSONValue, at path: String, _ found: inout [Violation]
    ) {
        let properties = schema["properties"]?.object ?? [:]
        for name in (schema["required"]?.array ?? []).compactMap(\.string) where members[name] == nil {
            add("is required", at: "\(path).\(quoted(name))", to: &found)
        }
        for (name, member) in members.sorted(by: { $0.key < $1.key }) {
            guard found.count < maximumViolations else { return }
            if let property = properties[name] ?? schema["additionalProperties"] {
                validate(member, property, at: "\(path).\(quoted(name))", &found)
            }
        }
    }

    private static func validateBounds(
        _ value: JSONValue, _ schema: JSONValue, at path: String, _ found: inout [Violation]
    ) {
        func check(_ keyword: String, _ actual: Double?, _ words: String, _ holds: (Double, Double) -> Bool) {
            guard let actual, let bound = schema[keyword]?.double, !holds(actual, bound) else { return }
            add("must \(words) \(schema[keyword]?.text ?? "")", at: path, to: &found)
        }
        let length = value.string.map { Double($0.unicodeScalars.count) }
        let count = value.array.map { Double($0.count) }
        check("minLength", length, "have a length of at least", >=)
        check("maxLength", length, "have a length of at most", <=)
        check("minItems", count, "have a number of items of at least", >=)
        check("maxItems", count, "have a number of items of at most", <=)
        check("minimum", value.double, "be at least", >=)
        check("maximum", value.double, "be at most", <=)
        check("exclusiveMinimum", value.double, "be more than", >)
        check("exclusiveMaximum", value.double, "be less than", <)
    }

    /// Numbers are equal when their values are, however they were written.
    private static func areEqual(_ left: JSONValue, _ right: JSONValue) -> Bool {
        switch (left, right) {
        case (.array(let left), .array(let right)):
            left.count == right.count && zip(left, right).allSatisfy { areEqual($0, $1) }
        case (.object(let left), .object(let right)):
            left.count == right.count
                && left.allSatisfy { key, value in right[key].map { areEqual(value, $0) } ?? false }
        case (.int, .double), (.double, .int): left.double == right.double
        default: left == right
        }
    }

    private static func isOf(_ value: JSONValue, _ type: String) -> Bool {
        switch (value, type) {
        case (.object, "object"), (.array, "array"), (.string, "string"), (.bool, "boolean"), (.null, "null"),
            (.int, "integer"), (.int, "number"), (.double, "number"):
            true
        case (.double(let number), "integer"): number == number.rounded()
        default: false
        }
    }
}
