import Foundation
import HTTPTypes
import NIOCore

/// Proxies whose word about the client is taken: `X-Forwarded-For` and `X-Forwarded-Proto` of anybody else are not read.
public struct TrustedProxies: Sendable {
    /// Hops that are looked back; more is no chain of proxies.
    private static let maximumHops = 10

    private struct Network: Sendable {
        let bytes: [UInt8]
        let bits: Int

        func contains(_ address: [UInt8]) -> Bool {
            guard address.count == bytes.count else { return false }
            return (0..<bits).allSatisfy { bit in
                (address[bit / 8] ^ bytes[bit / 8]) & (0x80 >> UInt8(bit % 8)) == 0
            }
        }
    }

    private let networks: [Network]

    public static let none = TrustedProxies(networks: [])

    private init(networks: [Network]) { self.networks = networks }

    /// - Parameter texts: addresses and networks: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. `nil` when one is none.
    public init?(_ texts: [String]) {
        var networks: [Network] = []
        for text in texts {
            let parts = text.split(separator: "/", maxSplits: 1)
            guard let bytes = parts.first.flatMap({ Self.bytes(String($0)) }) else { return nil }
            let bits = parts.count == 2 ? Int(parts[1]) : bytes.count * 8
            guard let bits, (0...(bytes.count * 8)).contains(bits) else { return nil }
            networks.append(Network(bytes: bytes, bits: bits))
        }
        self.networks = networks
    }

    private static func bytes(_ address: String) -> [UInt8]? {
        guard let parsed = try? SocketAddress(ipAddress: address, port: 0) else { return nil }
        switch parsed {
        case .v4(let v4):
            var raw = v4.address.sin_addr
            return withUnsafeBytes(of: &raw) { Array($0) }
        case .v6(let v6):
            var raw = v6.address.sin6_addr
            let bytes = withUnsafeBytes(of: &raw) { Array($0) }
            // ::ffff:10.0.0.7 is 10.0.0.7.
            return bytes.prefix(12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF] ? Array(bytes.suffix(4)) : bytes
        case .unixDomainSocket: return nil
        }
    }

    private func isTrusted(_ address: String) -> Bool {
        guard let bytes = Self.bytes(address) else { return false }
        return networks.contains { $0.contains(bytes) }
    }

    /// The client's address: the last one in the chain that no trusted proxy has.
    func client(of peer: String?, _ headers: HTTPFields) -> String? {
        guard let peer, !networks.isEmpty, isTrusted(peer) else { return peer }
        let chain = headers[values: .forwardedFor].flatMap { $0.split(separator: ",") }
            .map { $0.trimmingCharacters(in: .whitespaces) }
        for hop in chain.reversed().prefix(Self.maximumHops) {
            guard Self.bytes(hop) != nil else { return peer }
            if !isTrusted(hop) { return hop }
        }
        return chain.first ?? peer
    }

    /// Whether a trusted proxy says that the client came by TLS.
    func isSecure(_ peer: String?, _ headers: HTTPFields) -> Bool {
        guard let peer, isTrusted(peer) else { return false }
        return headers[.forwardedProto]?.lowercased() == "https"
    }
}

extension HTTPField.Name {
    // The names are constants of the right form.
    static let forwardedFor = HTTPField.Name("X-Forwarded-For").unsafelyUnwrapped
    static let forwardedProto = HTTPField.Name("X-Forwarded-Proto").unsafelyUnwrapped
}
