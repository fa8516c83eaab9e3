import Domain
import Foundation

/// A typed parameter. Nulls carry their type, which some engines need.
public enum SQLValue: Hashable, Sendable {
    case uuid(UUID?)
    case int(Int64?)
    case text(String?)
    /// JSON text.
    case json(String?)
    case bool(Bool?)
    case bytes([UInt8]?)

    public static func id<Entity>(_ id: Identifier<Entity>) -> SQLValue { .uuid(id.uuid) }
    public static func id<Entity>(_ id: Identifier<Entity>?) -> SQLValue { .uuid(id?.uuid) }
    /// No value of the same type.
    var null: SQLValue {
        switch self {
        case .uuid: .uuid(nil)
        case .int: .int(nil)
        case .text: .text(nil)
        case .json: .json(nil)
        case .bool: .bool(nil)
        case .bytes: .bytes(nil)
        }
    }

    public static func time(_ time: Timestamp) -> SQLValue { .int(time.microseconds) }
    public static func int(_ number: Int) -> SQLValue { .int(Int64(number)) }
}

/// A value that an engine answered.
public enum SQLCell: Hashable, Sendable {
    case null
    case int(Int64)
    case double(Double)
    case text(String)
    case bytes([UInt8])
}

/// One row of an answer, its columns by position. A column that is not what the query promises is a programmer's error.
public struct SQLRow: Sendable {
    let cells: [SQLCell]

    public init(cells: [SQLCell]) { self.cells = cells }

    public func optionalInt(_ column: Int) -> Int64? {
        switch cells[column] {
        case .int(let number): return number
        case .null: return nil
        default: preconditionFailure("Column \(column) is no integer: \(cells[column])")
        }
    }

    public func optionalText(_ column: Int) -> String? {
        switch cells[column] {
        case .text(let text): return text
        case .null: return nil
        default: preconditionFailure("Column \(column) is no text: \(cells[column])")
        }
    }

    public func optionalUUID(_ column: Int) -> UUID? {
        switch cells[column] {
        case .bytes(let bytes) where bytes.count == 16:
            return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
        case .null: return nil
        default: preconditionFailure("Column \(column) is no UUID: \(cells[column])")
        }
    }

    public func int(_ column: Int) -> Int64 { required(optionalInt(column), column) }
    public func text(_ column: Int) -> String { required(optionalText(column), column) }
    public func uuid(_ column: Int) -> UUID { required(optionalUUID(column), column) }

    public func double(_ column: Int) -> Double {
        switch cells[column] {
        case .double(let number): return number
        case .int(let number): return Double(number)
        default: preconditionFailure("Column \(column) is no number: \(cells[column])")
        }
    }

    public func bytes(_ column: Int) -> [UInt8] {
        guard case .bytes(let bytes) = cells[column] else {
            preconditionFailure("Column \(column) holds no bytes: \(cells[column])")
        }
        return bytes
    }

    public func bool(_ column: Int) -> Bool { int(column) != 0 }
    public func time(_ column: Int) -> Timestamp { Timestamp(microseconds: int(column)) }
    public func optionalTime(_ column: Int) -> Timestamp? { optionalInt(column).map(Timestamp.init(microseconds:)) }
    public func id<Entity>(_ column: Int) -> Identifier<Entity> { Identifier(uuid(column)) }

    /// The case whose raw value the column holds.
    public func value<Value: RawRepresentable<String>>(_ column: Int, as type: Value.Type = Value.self) -> Value {
        required(Value(rawValue: text(column)), column)
    }

    public func json(_ column: Int) -> JSONValue { required(try? JSONValue(parsing: text(column)), column) }

    private func required<Value>(_ value: Value?, _ column: Int) -> Value {
        guard let value else { preconditionFailure("Column \(column) does not hold what the schema promises.") }
        return value
    }
}

/// What one statement answered.
public struct ResultSet: Sendable {
    public let rows: [SQLRow]
    /// Rows inserted, updated or deleted.
    public let changes: Int

    public init(rows: [SQLRow], changes: Int) {
        self.rows = rows
        self.changes = changes
    }
}
