import Foundation
import Glibc

/// A bare TCP connection, to send what no HTTP client would.
final class RawConnection {
    struct Failed: Error {}

    private let descriptor: Int32

    /// - Parameters:
    ///   - url: `http://127.0.0.1:PORT`.
    ///   - timeout: how long one read may take, in seconds.
    init(url: String, timeout: Int = 30) throws {
        guard let port = url.split(separator: ":").last.flatMap({ UInt16($0) }) else { throw Failed() }
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var limit = timeval(tv_sec: timeout, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failed() }
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// No more will be sent; the answer can still be read.
    func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// What comes until the other side closes, or until `isEnough`.
    func read(until isEnough: (String) -> Bool = { _ in false }) -> String {
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            received += buffer[..<count]
            if isEnough(String(decoding: received, as: UTF8.self)) { break }
        }
        return String(decoding: received, as: UTF8.self)
    }

    deinit { close(descriptor) }
}
