import Crypto
import Domain
import Foundation

/// A secret that means nothing by itself: 256 random bits, of which only a hash is stored.
///
/// Guessing one is hopeless, so a fast hash does: SHA-256, as 64 hexadecimal digits.
public struct OpaqueToken: Sendable {
    public enum Kind: String, CaseIterable, Sendable {
        case apiKey = "sba"
        case refresh = "sbr"
        case invitation = "sbi"
        case passwordReset = "sbp"
    }

    private static let bytes = 32
    /// Characters of an API key that may be shown again: enough to tell keys apart, too few to guess the rest.
    private static let visibleCharacters = 12
    /// A longer text is no token of ours.
    private static let maximumCharacters = 128

    /// `sba_` and 43 characters of base64url; the letters tell what it is for.
    public let text: String

    /// A new one.
    public init(_ kind: Kind) {
        let secret = SymmetricKey(size: .init(bitCount: Self.bytes * 8)).withUnsafeBytes { Data($0) }
        text = "\(kind.rawValue)_\(secret.base64URL)"
    }

    /// What a client sent, if it can be one of this kind.
    public init?(_ text: String, _ kind: Kind) {
        guard text.utf8.count <= Self.maximumCharacters, text.hasPrefix(kind.rawValue + "_") else { return nil }
        self.text = text
    }

    /// What is stored and searched for.
    public var hash: String { SHA256.hash(data: Data(text.utf8)).hexadecimal }

    /// The start of the text, to tell tokens apart.
    public var prefix: String { String(text.prefix(Self.visibleCharacters)) }
}

extension Sequence<UInt8> {
    /// Two lowercase digits a byte.
    var hexadecimal: String { map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
}

extension Data {
    /// Base64 for URLs without padding (RFC 4648, section 5).
    var base64URL: String {
        base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }
}
