import Domain
import Foundation

/// Looks up the addresses of host names, as the system does.
public enum HostLookup {
    /// Lookups that wait for slow name servers must not hold up the others.
    private static let maximumRunning = 8
    private static let maximumWaiting = 256
    /// Who waited longer has gone.
    private static let maximumWait = HTTPTimeouts().connect

    private static let threads = ThreadPool<Void>(
        name: "host-lookup", threads: maximumRunning, maximumWaiting: maximumWaiting, make: {})

    /// All addresses of a host by getaddrinfo(3), the one to try first in front (RFC 6724). A lookup that was begun goes on
    /// when the task is cancelled; the task does not wait for it.
    ///
    /// - Throws: `HTTPFailure.notConnected`, `HTTPFailure.timedOut`, or `CancellationError`.
    public static func addresses(of host: String) async throws -> [IPAddress] {
        let start = ContinuousClock.now
        let (answers, continuation) = AsyncThrowingStream<[IPAddress], any Error>.makeStream()
        threads.submit { thread in
            continuation.yield(
                with: Result {
                    do { try thread.get() } catch { throw HTTPFailure.notConnected("too many hosts are looked up at once") }
                    guard .now - start <= maximumWait else { throw HTTPFailure.timedOut(.connect) }
                    return try find(host)
                })
        }
        for try await addresses in answers { return addresses }
        throw CancellationError()
    }

    private static func find(_ host: String) throws(HTTPFailure) -> [IPAddress] {
        var hints = addrinfo()
        // One entry an address, not one for each kind of socket.
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &first) == 0 else {
            throw HTTPFailure.notConnected("the host \(host) cannot be found")
        }
        defer { freeaddrinfo(first) }
        return sequence(first: first, next: { $0?.pointee.ai_next }).compactMap { $0.flatMap { address($0.pointee) } }
    }

    private static func address(_ info: addrinfo) -> IPAddress? {
        guard let socket = UnsafeRawPointer(info.ai_addr) else { return nil }
        switch info.ai_family {
        case AF_INET: return withUnsafeBytes(of: socket.load(as: sockaddr_in.self).sin_addr) { IPAddress(bytes: Array($0)) }
        case AF_INET6: return withUnsafeBytes(of: socket.load(as: sockaddr_in6.self).sin6_addr) { IPAddress(bytes: Array($0)) }
        default: return nil
        }
    }
}
