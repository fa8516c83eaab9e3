import AsyncHTTPClient
import Domain
import Foundation

/// Outgoing HTTP to addresses that strangers name: it leads to no inward address (SSRF, CWE-918) but to those of networks
/// that are allowed.
///
/// All addresses of a host are checked, and the connection is made to the first of them: what the name leads to a moment
/// later (DNS rebinding) makes no difference. No connection outlives its exchange, for the next one is checked anew.
public struct OutwardHTTP: OutgoingHTTP {
    private let allowed: [IPNetwork]
    private let resolve: @Sendable (String) async throws -> [IPAddress]

    /// - Parameters:
    ///   - allowed: networks that may be reached although they are inward, and without TLS.
    ///   - resolve: all addresses of a host name, the one to connect to in front. Ends when its task is cancelled, and throws
    ///     what `exchange` may throw.
    public init(
        allowed: [IPNetwork], resolve: @escaping @Sendable (String) async throws -> [IPAddress] = HostLookup.addresses
    ) {
        self.allowed = allowed
        self.resolve = resolve
    }

    /// As the port says; what is refused is `HTTPFailure.notConnected`. Looking up the host counts as connecting.
    public func exchange(
        _ request: OutgoingRequest, timeouts: HTTPTimeouts,
        receive: @escaping @Sendable (OutgoingResponseHead, [UInt8]) async throws -> Void
    ) async throws -> OutgoingResponseHead {
        let start = ContinuousClock.now
        let destination = try Destination(request)
        let address = try await address(of: destination, within: min(timeouts.connect, timeouts.total))
        var rest = timeouts
        rest.total -= .now - start
        // A literal is no name: the client connects to it, and looks for it in the certificate, as it is.
        let names = destination.literal == nil ? [destination.host: address] : [:]
        let client = HTTPClientTransport.makeClient(connect: timeouts.connect, connections: 1, addresses: names)
        let result = await Result {
            try await HTTPClientTransport(client: client).exchange(request, timeouts: rest, receive: receive)
        }
        // What came of the exchange is known; how its connection closes changes nothing about it.
        try? await client.shutdown()
        return try result.get()
    }

    /// ASCII without blanks.
    private static let visible = UInt8(ascii: "!")...UInt8(ascii: "~")

    /// Why nothing would ever be sent to an address, whatever its name leads to; `nil` when something may.
    public func fault(url: String) -> String? {
        guard !url.contains("#"), url.utf8.allSatisfy(Self.visible.contains) else {
            return "must have no fragment, no blank, and no characters that are not ASCII"
        }
        do throws(HTTPFailure) {
            let destination = try Destination(OutgoingRequest(url: url, headers: [], body: []))
            let isAllowed = destination.literal.map { literal in allowed.contains { $0.contains(literal) } }
            if isAllowed != true, destination.literal?.isInward == true { return "must be no inward address" }
            if !destination.isSecure, isAllowed == false || allowed.isEmpty { return "must begin with https://" }
            return nil
        } catch {
            guard case .notConnected(let reason) = error else { return "must be a URL" }
            return "cannot be asked: \(reason)"
        }
    }

    /// The address to connect to, once all addresses of the host are checked.
    private func address(of destination: Destination, within timeout: Duration) async throws -> IPAddress {
        let addresses =
            if let literal = destination.literal { [literal] } else { try await lookUp(destination.host, within: timeout) }
        for address in addresses where !allowed.contains(where: { $0.contains(address) }) {
            if address.isInward {
                throw HTTPFailure.notConnected("\(destination.host) is an inward address, which is not allowed here")
            }
            if !destination.isSecure { throw HTTPFailure.notConnected("\(destination.host) must be asked by https") }
        }
        guard let first = addresses.first else { throw HTTPFailure.notConnected("\(destination.host) has no address") }
        return first
    }

    private func lookUp(_ host: String, within timeout: Duration) async throws -> [IPAddress] {
        try await withThrowingTaskGroup(of: [IPAddress].self) { group in
            group.addTask { try await resolve(host) }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw HTTPFailure.timedOut(.connect)
            }
            defer { group.cancelAll() }
            guard let addresses = try await group.next() else { throw CancellationError() }
            return addresses
        }
    }
}

/// Where a request goes. The URL is read as AsyncHTTPClient reads it, by the same parser, and is refused where another
/// reader could take its host for a different one.
private struct Destination {
    private static let ports = 1...65535
    /// RFC 1035, 2.3.4.
    private static let maximumNameLength = 253

    let host: String
    /// The host, when it is an address.
    let literal: IPAddress?
    let isSecure: Bool

    init(_ request: OutgoingRequest) throws(HTTPFailure) {
        guard let url = URL(string: request.url), let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
            let host = url.host
        else { throw .notConnected("the address is not a URL of https") }
        guard url.user == nil, url.password == nil else { throw .notConnected("the address names a user") }
        // The client would end the process with the number of a port that is none.
        guard url.port.map(Self.ports.contains) ?? true else { throw .notConnected("the address names no port") }
        literal = IPAddress(host)
        guard host == url.host(percentEncoded: true), literal != nil || Self.isName(host) else {
            throw .notConnected("the address names no host")
        }
        guard !request.headers.contains(where: { $0.name.lowercased() == "host" }) else {
            throw .notConnected("the header Host follows from the address")
        }
        self.host = host
        isSecure = scheme == "https"
    }

    /// Labels of letters, digits, hyphens and underscores, and the last one begins with a letter: so it is none of the many
    /// forms of a number that the system takes for an address (`127.1`, `0x7f000001`), and it has no dot at its end, which
    /// certificates do not have.
    private static func isName(_ host: String) -> Bool {
        host.utf8.count <= maximumNameLength && host.wholeMatch(of: #/(?:[A-Za-z0-9_-]+\.)*[A-Za-z][A-Za-z0-9_-]*/#) != nil
    }
}
