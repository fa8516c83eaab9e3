import CLibPQ
import Domain
import Foundation

/// A connection of libpq, closed when nobody holds it any more. Whoever holds it sees to it that one thread uses it at a time.
final class PostgresHandle: Sendable {
    /// The address of libpq's own structure.
    private let address: UInt

    /// Opens a connection outside of pipeline mode. Blocks until it is open.
    ///
    /// - Throws: `notConnected`.
    init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        var parameters = [
            ("connect_timeout", "\(PostgresConfiguration.connectTimeout.components.seconds)"), ("dbname", configuration.url),
            ("fallback_application_name", "sba"), ("client_encoding", "UTF8"),
            ("tcp_user_timeout", "\(Int(configuration.networkGrace.milliseconds))"),
            // A connection that only listens notices a dead peer too.
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
        ]
        if configuration.pooler == .none {
            let milliseconds = Int(configuration.statementTimeout.milliseconds)
            let plans = configuration.plansOnce ? " -c plan_cache_mode=force_generic_plan -c enable_seqscan=off" : ""
            parameters.append(("options", "-c statement_timeout=\(milliseconds)\(plans)"))
        }
        let keys = parameters.map { strdup($0.0) }
        let values = parameters.map { strdup($0.1) }
        defer { for text in keys + values { free(text) } }
        let opened = (keys + [nil]).map { UnsafePointer($0) }.withUnsafeBufferPointer { keys in
            (values + [nil]).map { UnsafePointer($0) }.withUnsafeBufferPointer { values in
                PQconnectdbParams(keys.baseAddress, values.baseAddress, 1)
            }
        }
        guard let opened else { throw .notConnected("out of memory") }
        address = UInt(bitPattern: opened)
        guard PQstatus(opened) == CONNECTION_OK else { throw .notConnected(message) }
        // Notices are for people at a terminal.
        PQsetNoticeProcessor(opened, { _, _ in }, nil)
    }

    deinit { PQfinish(pointer) }

    /// As libpq's functions take it.
    var pointer: OpaquePointer? { OpaquePointer(bitPattern: address) }

    var socket: Int32 { PQsocket(pointer) }

    /// What libpq says of the last thing that failed.
    var message: String { String(cString: PQerrorMessage(pointer)).trimmingCharacters(in: .whitespacesAndNewlines) }

    /// Opens a connection that sends without blocking, and takes several commands before it is answered. Blocks until it is
    /// open.
    ///
    /// - Throws: `notConnected`.
    static func inPipeline(_ configuration: PostgresConfiguration) throws(PostgresError) -> PostgresHandle {
        let handle = try PostgresHandle(configuration)
        guard PQenterPipelineMode(handle.pointer) == 1, PQsetnonblocking(handle.pointer, 1) == 0 else {
            throw .notConnected("the connection does not take pipelines")
        }
        return handle
    }

    /// Reads what the server has said; answers false when the connection is lost.
    func consume() -> Bool {
        repeat {
            guard PQconsumeInput(pointer) == 1 else { return false }
        } while holdsBack
        return true
    }

    /// Whether there is more to read, though the socket does not tell: libpq had room for half a record of TLS only.
    /// PostgreSQL sends none so long, but poolers do.
    var holdsBack: Bool { PQsslStruct(pointer, "OpenSSL").map { SSL_pending($0) > 0 } ?? false }

    /// Has the kernel gather what is sent until it is told that all is there: libpq sends at every Sync. Does nothing to a
    /// connection that is none of TCP.
    func gather(_ isOn: Bool) {
        var value: Int32 = isOn ? 1 : 0
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_CORK, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}

/// Asks the server to break off what one connection is doing.
final class PostgresCancel: Sendable {
    /// The address of libpq's own structure; 0 when there is none.
    private let address: UInt

    /// To be made where the connection is used; sent from anywhere.
    init(_ handle: PostgresHandle) { address = UInt(bitPattern: PQgetCancel(handle.pointer)) }

    deinit { PQfreeCancel(OpaquePointer(bitPattern: address)) }

    /// Blocks until the server has been told, on a connection of its own. It ignores what comes before the statement does.
    func send() {
        var message = [CChar](repeating: 0, count: 256)
        PQcancel(OpaquePointer(bitPattern: address), &message, Int32(message.count))
    }
}
