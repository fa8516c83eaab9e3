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
    private var offsets: [Int?] = []
    private var lengths: [Int32] = []

    init(_ values: [SQLValue]) {
        offsets.reserveCapacity(values.count)
        lengths.reserveCapacity(values.count)
        for value in values { append(value) }
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
        offsets.append(isNull ? nil : start)
        lengths.append(Int32(bytes.count - start))
    }

    /// Lends the parameters as libpq takes them: values, lengths, formats.
    func withPointers<Result>(
        _ body: (Int32, UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> Result
    ) -> Result {
        guard !offsets.isEmpty else { return body(0, nil, nil, nil) }
        // One byte more, so that an empty text at the end has an address too.
        return (bytes + [0]).withUnsafeBytes { bytes in
            let base = bytes.bindMemory(to: CChar.self).baseAddress
            let values = offsets.map { offset in offset.flatMap { base?.advanced(by: $0) } }
            let formats = [Int32](repeating: 1, count: values.count)
            return values.withUnsafeBufferPointer { values in
                body(Int32(values.count), values.baseAddress, lengths, formats)
            }
        }
    }
}

/// The rows of a result of libpq, which answers in binary form.
enum PostgresRows {
    static func read(_ result: OpaquePointer) -> [SQLRow] {
        let columns = PQnfields(result)
        let types = (0..<columns).map { PQftype(result, $0) }
        return (0..<PQntuples(result)).map { row in
            SQLRow(
                cells: (0..<columns).map { column in
                    guard PQgetisnull(result, row, column) == 0 else { return .null }
                    let bytes = UnsafeRawBufferPointer(
                        start: PQgetvalue(result, row, column), count: Int(PQgetlength(result, row, column)))
                    return cell(bytes, types[Int(column)])
                })
        }
    }

    private static func cell(_ bytes: UnsafeRawBufferPointer, _ oid: Oid) -> SQLCell {
        switch oid {
        case 16: .int(bytes[0] == 0 ? 0 : 1)
        case 20: .int(Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)))
        case 23: .int(Int64(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))))
        case 701: .double(Double(bitPattern: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))))
        // text, json, name, varchar
        case 25, 114, 19, 1043: .text(String(decoding: bytes, as: UTF8.self))
        // jsonb, behind the version of its form
        case 3802: .text(String(decoding: bytes.dropFirst(), as: UTF8.self))
        // bytea, uuid
        case 17, 2950: .bytes(Array(bytes))
        // void
        case 2278: .null
        default: preconditionFailure("No query of ours answers the type with the object id \(oid).")
        }
    }
}
