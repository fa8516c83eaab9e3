import Domain
import Foundation
import HTTPTypes

/// Proxies whose word about the client is taken: `X-Forwarded-For` and `X-Forwarded-Proto` of anybody else are not read.
public struct TrustedProxies: Sendable {
    /// Hops that are looked back; more is no chain of proxies.
    private static let maximumHops = 10

    private let networks: [IPNetwork]

    public static let none = TrustedProxies(networks: [])

    private init(networks: [IPNetwork]) { self.networks = networks }

    /// - Parameter texts: addresses and networks: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. `nil` when one is none.
    public init?(_ texts: [String]) {
        networks = texts.compactMap { IPNetwork($0) }
        guard networks.count == texts.count else { return nil }
    }

    private func isTrusted(_ text: String) -> Bool {
        guard let address = IPAddress(text) else { return false }
        return networks.contains { $0.contains(address) }
    }

    /// The client's address: the last one in the chain that no trusted proxy has.
    func client(of peer: String?, _ headers: HTTPFields) -> String? {
        guard let peer, !networks.isEmpty, isTrusted(peer) else { return peer }
        let chain = headers[values: .forwardedFor].flatMap { $0.split(separator: ",") }
            .map { $0.trimmingCharacters(in: .whitespaces) }
        for hop in chain.reversed().prefix(Self.maximumHops) {
            guard IPAddress(hop) != nil else { return peer }
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
