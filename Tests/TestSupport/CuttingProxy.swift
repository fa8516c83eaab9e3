import Foundation
import Glibc
import Synchronization

/// Stands between a client and PostgreSQL on loopback, and cuts connections where it hurts most.
public final class CuttingProxy: Sendable {
    /// When the next connection that sends a Sync is cut.
    public enum Cut: Sendable {
        /// The server never gets it: the transaction is not committed.
        case beforeSync
        /// The server has answered, and the client does not hear of it: the transaction is committed.
        case afterSync
    }

    private let listener: Int32
    private let server: UInt16
    public let port: UInt16
    private let next = Mutex<Cut?>(nil)
    private let cuts = Mutex(0)
    private let sockets = Mutex<Set<Int32>>([])

    /// - Parameter server: PostgreSQL's port.
    public init(server: UInt16) throws {
        self.server = server
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 64) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw SBAProcess.NotStarted(description: "the proxy cannot listen") }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in accept() }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// Cuts at the next Sync.
    public func cut(_ cut: Cut) { next.withLock { $0 = cut } }

    /// How many connections were cut.
    public var cutCount: Int { cuts.withLock { $0 } }

    /// Ends the proxy and every connection through it.
    public func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
        for socket in sockets.withLock({ $0 }) { shutdown(socket, Int32(SHUT_RDWR)) }
    }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else { return }
            let upstream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.loopback(server)
            let isConnected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(upstream, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            guard isConnected else {
                Glibc.close(client)
                Glibc.close(upstream)
                continue
            }
            sockets.withLock { _ = $0.insert(client) }
            Thread.detachNewThread { [self] in pass(client, upstream) }
        }
    }

    /// Passes bytes both ways on one thread, so that it knows what was said before what.
    private func pass(_ client: Int32, _ upstream: Int32) {
        defer {
            sockets.withLock { _ = $0.remove(client) }
            Glibc.close(client)
            Glibc.close(upstream)
        }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var descriptors = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0), pollfd(fd: upstream, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&descriptors, 2, -1) > 0 else { return }
            if descriptors[0].revents != 0 {
                let count = recv(client, &buffer, buffer.count, 0)
                guard count > 0 else { return }
                let cut = Self.endsWithSync(buffer[..<count]) ? takeCut() : nil
                if cut == .beforeSync { return }
                guard send(upstream, buffer, count, Int32(MSG_NOSIGNAL)) == count else { return }
                if cut == .afterSync {
                    // Whatever it answers is the answer to the Sync, once it has come.
                    _ = recv(upstream, &buffer, buffer.count, 0)
                    return
                }
            }
            if descriptors[1].revents != 0 {
                let count = recv(upstream, &buffer, buffer.count, 0)
                guard count > 0, send(client, buffer, count, Int32(MSG_NOSIGNAL)) == count else { return }
            }
        }
    }

    private func takeCut() -> Cut? {
        let cut = next.withLock { next in
            defer { next = nil }
            return next
        }
        if cut != nil { cuts.withLock { $0 += 1 } }
        return cut
    }

    /// A Sync is the message `S` of four bytes, its length.
    private static func endsWithSync(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.suffix(5).elementsEqual([UInt8(ascii: "S"), 0, 0, 0, 4])
    }
}
