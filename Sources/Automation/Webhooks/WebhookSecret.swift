import Crypto
import Domain
import Foundation

/// What a webhook's messages are signed with (Standard Webhooks 1.0.0, symmetric): HMAC-SHA256 over
/// `id.timestamp.body`.
public struct WebhookSecret: Hashable, Sendable {
    private static let prefix = "whsec_"

    /// `whsec_` and the key in base64.
    public let text: String

    public init(text: String) { self.text = text }

    /// A new random one, of 256 bits.
    public static func make() -> WebhookSecret {
        let key = SymmetricKey(size: .bits256).withUnsafeBytes { Data($0) }
        return WebhookSecret(text: prefix + key.base64EncodedString())
    }

    /// - Parameter timestamp: seconds since 1970.
    public func signature(id: String, timestamp: Int64, body: [UInt8]) -> String {
        let key = SymmetricKey(data: Data(base64Encoded: String(text.dropFirst(Self.prefix.count))) ?? Data())
        let signed = Data("\(id).\(timestamp).".utf8) + body
        return "v1," + Data(HMAC<SHA256>.authenticationCode(for: signed, using: key)).base64EncodedString()
    }
}
