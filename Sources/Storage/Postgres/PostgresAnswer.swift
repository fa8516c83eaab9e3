import CLibPQ
import Glibc

/// What the server answered to one statement, as libpq holds it: read on the thread that wants it, not on the one that drives
/// the connections.
final class PostgresAnswer: Sendable {
    /// The address of libpq's own structure.
    private let address: UInt

    /// Takes the result over.
    init(_ result: OpaquePointer) { address = UInt(bitPattern: result) }

    deinit { PQclear(result) }

    private var result: OpaquePointer? { OpaquePointer(bitPattern: address) }

    /// The rows, and how many the statement met.
    var resultSet: ResultSet {
        guard PQresultStatus(result) == PGRES_TUPLES_OK else {
            return ResultSet(rows: [], changes: Int(String(cString: PQcmdTuples(result))) ?? 0)
        }
        let rows = rows
        return ResultSet(rows: rows, changes: rows.count)
    }

    /// Whether this answers only that a count was met, which a statement without rows of its own was to be checked for.
    var isBareCheck: Bool {
        guard PQnfields(result) == 1, let name = PQfname(result, 0) else { return false }
        return strcmp(name, PostgresStatement.check) == 0
    }

    var rows: [SQLRow] {
        let columns = PQnfields(result)
        let types = (0..<columns).map { PQftype(result, $0) }
        return (0..<PQntuples(result)).map { row in
            SQLRow(
                cells: (0..<columns).map { column in
                    guard PQgetisnull(result, row, column) == 0 else { return .null }
                    let bytes = UnsafeRawBufferPointer(
                        start: PQgetvalue(result, row, column), count: Int(PQgetlength(result, row, column)))
                    return Self.cell(bytes, types[Int(column)])
                })
        }
    }

    /// Reads one value of PostgreSQL's binary form.
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
