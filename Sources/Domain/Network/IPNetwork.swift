import Foundation

/// An address of IPv4 or IPv6, without a zone.
public struct IPAddress: Hashable, Sendable {
    /// In network order: four, or sixteen.
    public let bytes: [UInt8]

    /// Reads what inet_pton(3) reads: `10.0.0.7` but not `10.7` or `010.0.0.7`, `fd00::7` but neither `[fd00::7]` nor
    /// `fe80::1%eth0`. `nil` for anything else.
    public init?(_ text: String) {
        var bytes = [UInt8](repeating: 0, count: 16)
        // C would read no further than to a NUL.
        guard !text.utf8.contains(0) else { return nil }
        if inet_pton(AF_INET, text, &bytes) == 1 {
            self.init(bytes: Array(bytes.prefix(4)))
        } else if inet_pton(AF_INET6, text, &bytes) == 1 {
            self.init(bytes: bytes)
        } else {
            return nil
        }
    }

    /// An IPv4 address that is mapped into IPv6 (RFC 4291, 2.5.5.2), `::ffff:10.0.0.7`, becomes `10.0.0.7`.
    ///
    /// - Parameter bytes: in network order. `nil` when they are neither four nor sixteen.
    public init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        let isMapped = bytes.count == 16 && bytes.prefix(12).elementsEqual(Self.mappedPrefix)
        self.bytes = isMapped ? Array(bytes.suffix(4)) : bytes
    }

    private static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]

    /// `10.0.0.7` or `fd00::7`, in the form of RFC 5952.
    public var text: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Whether it is anything but the address of one host that the whole Internet reaches, by IANA's registries of
    /// special-purpose addresses (RFC 6890): private, loopback, link-local, shared, multicast, reserved, for documentation,
    /// or one that carries another address. What the registries do not know yet counts as inward.
    public var isInward: Bool {
        // All that is given to hosts of the Internet is 2000::/3 (RFC 4291, 2.4).
        bytes.count == 16 && bytes[0] >> 5 != 1 || Self.special.contains { $0.contains(self) }
    }

    /// iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry, that one within 2000::/3.
    private static let special = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    ].compactMap { IPNetwork($0) }

    /// The address with all but its first bits cleared.
    fileprivate func prefix(_ bits: Int) -> [UInt8] {
        bytes.enumerated().map { index, byte in byte & ~(0xFF >> UInt8(min(max(bits - index * 8, 0), 8))) }
    }
}

/// The addresses that begin with the same bits.
public struct IPNetwork: Hashable, Sendable {
    private let prefix: [UInt8]
    private let bits: Int

    /// Reads an address, which is a network of one, or a network: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. What an address says
    /// after the bits that count is passed over. `nil` for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = IPAddress(String(parts[0])) else { return nil }
        let length = address.bytes.count * 8
        guard let bits = parts.count == 2 ? Int(parts[1]) : length, (0...length).contains(bits) else { return nil }
        prefix = address.prefix(bits)
        self.bits = bits
    }

    /// An IPv4 network holds no IPv6 address, nor the other way.
    public func contains(_ address: IPAddress) -> Bool { address.prefix(bits) == prefix }
}
