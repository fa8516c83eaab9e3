import Accounts
import Domain
import Foundation
import Testing

private let secret = "0123456789abcdef0123456789abcdef"
private let row = "signing_keys/1"

private let damaged = [
    "", "v1", "v1..", "v1.00000000", "plain text", "v1.00000000.!!!", "v1.00000000.AAAA", "v2.00000000.AAAA", "....",
]

@Suite("Sealed secrets")
struct SecretSealerTests {
    private let sealer = SecretSealer(secret: secret)

    @Test(
        "What was sealed opens, for the same row",
        arguments: ["", "secret", "\u{1F511} ", "a.b.c", String(repeating: "x", count: 10_000)])
    func roundTrip(plain: String) throws {
        let sealed = try sealer.seal(plain, row: row)
        let opened = try sealer.open(sealed, row: row)
        #expect(opened == plain)
    }

    @Test("A sealed value names its version and key, and does not show what it holds")
    func form() throws {
        let parts = try sealer.seal("secret", row: row).split(separator: ".").map(String.init)
        #expect(parts.count == 3)
        #expect(parts[0] == "v1")
        #expect(parts[1].utf8.count == 8)
        let bytes = try #require(Data(base64Encoded: parts[2]))
        #expect(bytes.count == 12 + 6 + 16)
        #expect(bytes.range(of: Data("secret".utf8)) == nil)
    }

    @Test("The same value is never sealed alike")
    func freshNonce() throws {
        let sealed = try (0..<100).map { _ in try sealer.seal("secret", row: row) }
        #expect(Set(sealed).count == 100)
    }

    @Test("Whoever has the secret opens it: after a restart, too")
    func sameSecret() throws {
        let sealed = try sealer.seal("secret", row: row)
        let opened = try SecretSealer(secret: secret).open(sealed, row: row)
        #expect(opened == "secret")
    }

    @Test("Moved to another row it does not open", arguments: ["signing_keys/2", "signing_keys/", "", "Signing_keys/1"])
    func otherRow(other: String) throws {
        let sealed = try sealer.seal("secret", row: row)
        let problem = try #require(throws: Problem.self) { try sealer.open(sealed, row: other) }
        #expect(problem.code == .internalError)
    }

    @Test("Under another secret it does not open, and the message names the variable")
    func otherSecret() throws {
        let sealed = try sealer.seal("secret", row: row)
        let other = SecretSealer(secret: secret + "0")
        let problem = try #require(throws: Problem.self) { try other.open(sealed, row: row) }
        #expect(problem.code == .internalError)
        #expect(problem.detail.contains("SBA_SECRET_KEY"))
    }

    @Test("With any byte changed it does not open")
    func changedByte() throws {
        let parts = try sealer.seal("secret", row: row).split(separator: ".").map(String.init)
        let bytes = try #require(Data(base64Encoded: parts[2]))
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 1
            let sealed = "\(parts[0]).\(parts[1]).\(changed.base64EncodedString())"
            #expect(throws: Problem.self, "byte \(index)") { try sealer.open(sealed, row: row) }
        }
    }

    @Test("With anything added it does not open", arguments: [".", "..", "=", "A", " ", "\n"])
    func addedText(more: String) throws {
        let sealed = try sealer.seal("secret", row: row)
        #expect(throws: Problem.self) { try sealer.open(sealed + more, row: row) }
        #expect(throws: Problem.self) { try sealer.open(more + sealed, row: row) }
    }

    @Test("Under the name of this key, what another key sealed does not open")
    func otherKeyRenamed() throws {
        let ours = try sealer.seal("secret", row: row).split(separator: ".").map(String.init)
        let theirs = try SecretSealer(secret: secret + "0").seal("secret", row: row).split(separator: ".").map(String.init)
        #expect(throws: Problem.self) { try sealer.open("v1.\(ours[1]).\(theirs[2])", row: row) }
    }

    @Test("What was never sealed does not open", arguments: damaged)
    func neverSealed(text: String) throws {
        let problem = try #require(throws: Problem.self) { try sealer.open(text, row: row) }
        #expect(problem.code == .internalError)
        #expect(problem.detail.contains(row))
    }

    @Test("A new secret is 64 hexadecimal digits, long enough, and new")
    func newSecret() {
        let secrets = (0..<50).map { _ in SecretSealer.makeSecret() }
        #expect(secrets.allSatisfy { $0.utf8.count == 64 && $0.allSatisfy { "0123456789abcdef".contains($0) } })
        #expect(secrets.allSatisfy { $0.count >= SecretSealer.minimumKeyCharacters })
        #expect(Set(secrets).count == 50)
    }
}
