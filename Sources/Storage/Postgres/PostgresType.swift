import CLibPQ
import Foundation

/// The types that parameters have, by their object ids (`pg_type.oid`).
enum PostgresType: Oid {
    case bool = 16
    case bytes = 17
    case int = 20
    case text = 25
    case json = 114
    case uuid = 2950

    init(_ value: SQLValue) {
        self =
            switch value {
            case .uuid: .uuid
            case .int: .int
            case .text: .text
            case .json: .json
            case .bool: .bool
            case .bytes: .bytes
            }
    }
}

/// The parameters of one statement in PostgreSQL's binary form, one after another.
struct PostgresParameters {
    private var bytes: [UInt8] = []
    /// Where each begins; `nil` is NULL.
    private var places: [Int?] = []
    private var lengths: [Int32] = []

    init(_ values: [SQLValue]) {
        places.reserveCapacity(values.count)
        lengths.reserveCapacity(values.count)
        for value in values { append(value) }
        // So that an empty text at the end has an address too.
        bytes.append(0)
    }

    private mutating func append(_ value: SQLValue) {
        let start = bytes.count
        let isNull: Bool
        switch value {
        case .uuid(let id):
            isNull = id == nil
            if let id { withUnsafeBytes(of: id.uuid) { bytes.append(contentsOf: $0) } }
        case .int(let number):
            isNull = number == nil
            if let number { withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) } }
        case .text(let text), .json(let text):
            isNull = text == nil
            if let text { bytes.append(contentsOf: text.utf8) }
        case .bool(let flag):
            isNull = flag == nil
            if let flag { bytes.append(flag ? 1 : 0) }
        case .bytes(let content):
            isNull = content == nil
            if let content { bytes.append(contentsOf: content) }
        }
        places.append(isNull ? nil : start)
        lengths.append(Int32(bytes.count - start))
    }

    /// Lends the parameters as libpq takes them: values, lengths, formats.
    func withPointers<Result>(
        _ body: (Int32, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> Result
    ) -> Result {
        let count = places.count
        return bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: count) { values in
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { formats in
                    let base = bytes.bindMemory(to: CChar.self).baseAddress
                    for (index, place) in places.enumerated() {
                        values.initializeElement(at: index, to: place.flatMap { base?.advanced(by: $0) })
                    }
                    formats.initialize(repeating: 1)
                    return body(Int32(count), values.baseAddress, lengths, formats.baseAddress)
                }
            }
        }
    }
}
