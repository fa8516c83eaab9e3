import Domain

/// Reads the members of a JSON object strictly, gathers every fault, and throws them all at once: wrong types, missing
/// and unknown members, lengths.
struct RequestFields {
    private let members: [String: JSONValue]
    private let prefix: String
    private var known: Set<String> = []
    private var faults: [Problem.Fault] = []

    /// - Throws: `Problem` when the value is no object.
    init(_ json: JSONValue) throws(Problem) {
        guard let members = json.object else {
            throw Problem(.invalidRequest, "The body must be a JSON object.")
        }
        self.init(members: members, prefix: "")
    }

    private init(members: [String: JSONValue], prefix: String) {
        self.members = members
        self.prefix = prefix
    }

    /// Faults beyond these help nobody, and must not make the answer larger than the request.
    private static let maximumFaults = 50
    private static let maximumNameCharacters = 100

    mutating func fault(_ name: String, _ message: String) {
        guard faults.count < Self.maximumFaults else { return }
        faults.append(Problem.Fault(field: prefix + name.prefix(Self.maximumNameCharacters), message: message))
    }

    /// The member unless it is absent or null.
    private mutating func member(_ name: String) -> JSONValue? {
        known.insert(name)
        guard let value = members[name], value != .null else { return nil }
        return value
    }

    /// Whether the member is there and not null.
    func has(_ name: String) -> Bool { (members[name] ?? .null) != .null }

    mutating func optionalString(_ name: String, length: ClosedRange<Int>) -> String? {
        guard let value = member(name) else { return nil }
        guard let text = value.string else {
            fault(name, "must be a string")
            return nil
        }
        guard length.contains(text.unicodeScalars.count) else {
            fault(name, "must have \(length.lowerBound) to \(length.upperBound) characters")
            return nil
        }
        return text
    }

    /// The string, or an empty one beside a fault.
    mutating func string(_ name: String, length: ClosedRange<Int>) -> String {
        if member(name) == nil { fault(name, "is required") }
        return optionalString(name, length: length) ?? ""
    }

    mutating func optionalInt(_ name: String, in range: ClosedRange<Int>) -> Int? {
        guard let value = member(name) else { return nil }
        guard let number = value.int, range.contains(Int(number)) else {
            fault(name, "must be an integer from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return Int(number)
    }

    /// The boolean, or false beside a fault.
    mutating func bool(_ name: String) -> Bool {
        guard let value = member(name)?.bool else {
            fault(name, "must be true or false")
            return false
        }
        return value
    }

    mutating func optionalBool(_ name: String) -> Bool? { member(name) == nil ? nil : bool(name) }

    mutating func optionalTime(_ name: String) -> Timestamp? {
        guard let text = optionalString(name, length: 1...40) else { return nil }
        guard let time = Timestamp(rfc3339: text) else {
            fault(name, "must be a time in UTC like 2026-11-20T17:14:10Z")
            return nil
        }
        return time
    }

    mutating func optionalStrings(_ name: String, maximumCount: Int) -> [String]? {
        guard let value = member(name) else { return nil }
        guard let items = value.array, items.count <= maximumCount, items.allSatisfy({ $0.string != nil }) else {
            fault(name, "must be an array of at most \(maximumCount) strings")
            return nil
        }
        return items.compactMap(\.string)
    }

    mutating func optionalObject(_ name: String) -> JSONValue? {
        guard let value = member(name) else { return nil }
        guard value.object != nil else {
            fault(name, "must be an object")
            return nil
        }
        return value
    }

    /// The object, or an empty one beside a fault.
    mutating func object(_ name: String) -> JSONValue {
        if member(name) == nil { fault(name, "is required") }
        return optionalObject(name) ?? [:]
    }

    mutating func optionalID<Entity>(_ name: String) -> Identifier<Entity>? {
        guard let value = member(name) else { return nil }
        guard let id = value.string.flatMap({ Identifier<Entity>($0) }) else {
            fault(name, "must be a UUID")
            return nil
        }
        return id
    }

    /// Reads an object inside this one, when it is there.
    mutating func nested<Value>(_ name: String, _ read: (inout RequestFields) -> Value) -> Value? {
        guard let object = optionalObject(name)?.object else { return nil }
        var fields = RequestFields(members: object, prefix: "\(prefix)\(name).")
        let value = read(&fields)
        fields.noteUnknown()
        faults += fields.faults.prefix(Self.maximumFaults - faults.count)
        return value
    }

    /// Reads an array of objects.
    mutating func objects<Value>(_ name: String, count: ClosedRange<Int>, _ read: (inout RequestFields) -> Value) -> [Value] {
        guard let items = member(name)?.array, count.contains(items.count), items.allSatisfy({ $0.object != nil }) else {
            fault(name, "must be an array of \(count.lowerBound) to \(count.upperBound) objects")
            return []
        }
        return items.enumerated().map { place, item in
            var fields = RequestFields(members: item.object ?? [:], prefix: "\(prefix)\(name)[\(place)].")
            let value = read(&fields)
            fields.noteUnknown()
            faults += fields.faults.prefix(Self.maximumFaults - faults.count)
            return value
        }
    }

    private mutating func noteUnknown() {
        let unknown = members.keys.filter { !known.contains($0) }.sorted()
        for name in unknown.prefix(Self.maximumFaults) {
            fault(name, "is not known here; known: \(known.sorted().joined(separator: ", "))")
        }
    }

    /// Ends the reading.
    ///
    /// - Throws: `Problem` with `invalid_request` and every fault.
    mutating func finish() throws(Problem) {
        noteUnknown()
        guard faults.isEmpty else {
            let first = faults[0]
            throw Problem(.invalidRequest, "\(first.field) \(first.message).", faults: faults)
        }
    }
}
