import Crypto
import Domain
import Foundation

/// Seals what must not rest in the clear (NIST SP 800-38D, AES-256-GCM) under one master key.
///
/// A sealed value is `v1.<key id>.<base64>`; the row it belongs to is authenticated with it, so that a value moved to
/// another row does not open.
public struct SecretSealer: Sendable {
    public static let minimumKeyCharacters = 32

    private struct Key: Sendable {
        let id: String
        let key: SymmetricKey

        init(_ secret: String) {
            key = HKDF<SHA256>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: Data(secret.utf8)), info: Data("sba sealed secrets v1".utf8),
                outputByteCount: 32)
            let digest = key.withUnsafeBytes { SHA256.hash(data: Data($0)) }
            id = digest.prefix(4).hexadecimal
        }
    }

    private let current: Key
    private let previous: Key?

    /// - Parameters:
    ///   - secret: the master secret, at least `minimumKeyCharacters` long; the key is derived by HKDF-SHA256.
    ///   - previous: the one before it, whose sealed values still open, until they are sealed anew.
    public init(secret: String, previous: String? = nil) {
        current = Key(secret)
        self.previous = previous.map { Key($0) }
    }

    /// A new random master secret: 64 hexadecimal digits.
    public static func makeSecret() -> String {
        SymmetricKey(size: .bits256).withUnsafeBytes { $0.hexadecimal }
    }

    /// Seals `plain` for the row `row` (`table/id`).
    public func seal(_ plain: String, row: String) throws -> String {
        let box = try AES.GCM.seal(Data(plain.utf8), using: current.key, authenticating: Data(row.utf8))
        // The combined form exists for every box with a nonce of the standard length, which `seal` makes.
        return "v1.\(current.id).\((box.combined ?? Data()).base64EncodedString())"
    }

    /// Opens what `seal` made for the same row.
    ///
    /// - Throws: `Problem` with `internal_error` when it was sealed under another key, for another row, or was changed.
    public func open(_ sealed: String, row: String) throws(Problem) -> String {
        let parts = sealed.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "v1", let combined = Data(base64Encoded: String(parts[2])),
            combined.base64EncodedString() == parts[2]
        else {
            throw Problem(.internalError, "The sealed value of \(row) is damaged.")
        }
        guard let key = [current, previous].compactMap({ $0 }).first(where: { $0.id == parts[1] }) else {
            throw Problem(
                .internalError,
                "The sealed value of \(row) was made under another SBA_SECRET_KEY. Start with the key it was made under, or name it in SBA_SECRET_KEY_PREVIOUS."
            )
        }
        guard let box = try? AES.GCM.SealedBox(combined: combined),
            let plain = try? AES.GCM.open(box, using: key.key, authenticating: Data(row.utf8))
        else {
            throw Problem(.internalError, "The sealed value of \(row) does not open.")
        }
        return String(decoding: plain, as: UTF8.self)
    }
}
