import Foundation
import Glibc
import Synchronization

/// A bare TCP server on loopback: keeps what each connection sends first, gives all the same answer, and hangs up.
public final class RawServer: Sendable {
    struct NotStarted: Error {}

    private let listener: Int32
    private let answer: String
    private let received = Mutex<[[UInt8]]>([])
    public let port: UInt16

    public init(answer: String = "HTTP/1.1 204 No Content\r\n\r\n") throws {
        self.answer = answer
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 64) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else { throw NotStarted() }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in accept() }
    }

    /// What each connection sent first, in the order of connecting.
    public var requests: [[UInt8]] { received.withLock { $0 } }

    /// Takes no more connections.
    public func close() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func accept() {
        // Not before the last use, for the next socket may get the same number.
        defer { Glibc.close(listener) }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let client = Glibc.accept(listener, nil, nil)
            guard client >= 0 else { return }
            let count = recv(client, &buffer, buffer.count, 0)
            received.withLock { $0.append(Array(buffer.prefix(max(count, 0)))) }
            _ = send(client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
            Glibc.close(client)
        }
    }
}
