import Accounts
import Crypto
import Domain
import Foundation
import TestSupport
import Testing

private let pem = TokenService.makeKey()

private func makeService(
    _ keys: [SigningKey] = [SigningKey(id: "key-1", pem: pem)], clock: ManualClock = ManualClock()
) async throws -> TokenService {
    try await TokenService(keys: keys, now: { clock.now })
}

private func makeMembership(version: Int64 = 7) -> Membership {
    Membership(tenant: TenantID(UUID()), user: UserID(UUID()), role: .member, version: version)
}

private func base64URL(_ bytes: Data) -> String {
    bytes.base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
        .replacingOccurrences(of: "=", with: "")
}

private func decoded(_ text: String) -> Data? {
    let plain = text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    return Data(base64Encoded: plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4))
}

private func parts(_ token: String) -> [String] {
    token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
}

private func json(_ part: String) throws -> JSONValue {
    let bytes = try #require(decoded(part))
    return try JSONValue(parsing: bytes)
}

private func unsigned(_ header: JSONValue, _ claims: JSONValue) -> String {
    base64URL(Data(header.text.utf8)) + "." + base64URL(Data(claims.text.utf8))
}

/// Signs whatever claims with a key, as nobody but its owner can.
private func sign(_ claims: JSONValue, header: JSONValue = ["alg": "ES256", "typ": "JWT", "kid": "key-1"]) throws -> String {
    let input = unsigned(header, claims)
    let signature = try P256.Signing.PrivateKey(pemRepresentation: pem).signature(for: Data(input.utf8))
    return input + "." + base64URL(signature.rawRepresentation)
}

/// Good claims at the clock's time, with these changed, or left out where they are null.
private func claims(_ changes: [String: JSONValue] = [:], clock: ManualClock = ManualClock()) -> JSONValue {
    let seconds = clock.now.microseconds / 1_000_000
    var members: [String: JSONValue] = [
        "iss": "sba", "aud": ["sba-api"], "sub": .string("\(UserID(UUID()))"), "iat": .int(seconds),
        "exp": .int(seconds + 900), "tid": .string("\(TenantID(UUID()))"), "mv": 1,
        "sid": .string("\(SignInID(UUID()))"),
    ]
    for (name, value) in changes { members[name] = value }
    return .object(members.filter { $0.value != .null })
}

private let wrongClaims: [[String: JSONValue]] = [
    ["iss": "other"], ["iss": ""], ["iss": .null], ["aud": ["other"]], ["aud": "other"], ["aud": .null], ["sub": "someone"],
    ["sub": .null], ["tid": "somewhere"], ["tid": .null], ["mv": "1"], ["mv": .null], ["sid": "x"], ["sid": .null],
    ["exp": .null], ["exp": "soon"],
    ["iat": .null],
]

private let garbage = [
    "", ".", "..", "...", "a.b.c", "eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9.e30", "eyJhbGciOiJFUzI1NiJ9.e30.",
    "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "Bearer x", "\u{1F511}.\u{1F511}.\u{1F511}", "null", "{}",
]

extension TokenService {
    fileprivate func issue(_ membership: Membership) async throws -> String {
        try await issue(membership, signIn: SignInID(UUID()))
    }
}

@Suite("Access tokens")
struct TokenServiceTests {
    private func refusal(_ token: String, by service: TokenService) async throws -> ErrorCode {
        let problem = try await #require(throws: Problem.self) { try await service.verify(token) }
        return problem.code
    }

    @Test("A token says whose it is")
    func roundTrip() async throws {
        let service = try await makeService()
        let membership = makeMembership()
        let verified = try await service.verify(try await service.issue(membership))
        #expect(verified.tenant == membership.tenant)
        #expect(verified.user == membership.user)
        #expect(verified.membershipVersion == 7)
    }

    @Test("A token names its algorithm, key, issuer and audience, and lives 15 minutes")
    func contents() async throws {
        let clock = ManualClock()
        let token = parts(try await makeService(clock: clock).issue(makeMembership()))
        try #require(token.count == 3)
        let header = try json(token[0])
        let claims = try json(token[1])
        #expect(header["alg"] == "ES256")
        #expect(header["kid"] == "key-1")
        #expect(claims["iss"] == "sba")
        let audience = claims["aud"]?.string ?? claims["aud"]?.array?.first?.string
        #expect(audience == "sba-api")
        #expect(claims["iat"]?.double == Double(clock.now.microseconds / 1_000_000))
        #expect(claims["exp"]?.double == Double(clock.now.microseconds / 1_000_000 + 900))
    }

    @Test("A token is good for 15 minutes less a moment, and has expired then")
    func expiry() async throws {
        let clock = ManualClock()
        let service = try await makeService(clock: clock)
        let membership = makeMembership()
        let token = try await service.issue(membership)
        clock.advance(by: .seconds(15 * 60) - .milliseconds(1))
        let verified = try await service.verify(token)
        #expect(verified.user == membership.user)
        clock.advance(by: .milliseconds(1))
        let code = try await refusal(token, by: service)
        #expect(code == .tokenExpired)
    }

    @Test("A forged token is invalid and not merely expired, however old")
    func forgedAndExpired() async throws {
        let clock = ManualClock()
        let service = try await makeService(clock: clock)
        let token = parts(try await service.issue(makeMembership()))
        clock.advance(by: .seconds(3600))
        let code = try await refusal("\(token[0]).\(token[1]).\(String(repeating: "A", count: 86))", by: service)
        #expect(code == .tokenInvalid)
    }

    @Test("A token whose claims were changed is invalid")
    func changedClaims() async throws {
        let service = try await makeService()
        let token = parts(try await service.issue(makeMembership()))
        let other = parts(try await service.issue(makeMembership()))
        let code = try await refusal("\(token[0]).\(other[1]).\(token[2])", by: service)
        #expect(code == .tokenInvalid)
    }

    @Test("A token whose signature was changed anywhere is invalid")
    func changedSignature() async throws {
        let service = try await makeService()
        let token = parts(try await service.issue(makeMembership()))
        let signature = try #require(decoded(token[2]))
        #expect(signature.count == 64)
        for index in signature.indices {
            var changed = signature
            changed[index] ^= 0x10
            let code = try await refusal("\(token[0]).\(token[1]).\(base64URL(changed))", by: service)
            #expect(code == .tokenInvalid, "byte \(index)")
        }
    }

    @Test(
        "A token without a signature is invalid, whatever algorithm it names",
        arguments: ["none", "None", "ES256", "HS256", ""])
    func unsignedToken(algorithm: String) async throws {
        let service = try await makeService()
        for header: JSONValue in [["alg": .string(algorithm), "kid": "key-1"], ["alg": .string(algorithm)]] {
            let code = try await refusal(unsigned(header, claims()) + ".", by: service)
            #expect(code == .tokenInvalid)
        }
    }

    @Test("A token that is signed by the public key as a shared secret is invalid")
    func confusedAlgorithm() async throws {
        let service = try await makeService()
        let key = try P256.Signing.PrivateKey(pemRepresentation: pem).publicKey
        let input = unsigned(["alg": "HS256", "kid": "key-1"], claims())
        for secret in [key.rawRepresentation, key.x963Representation, Data(key.pemRepresentation.utf8)] {
            let code = HMAC<SHA256>.authenticationCode(for: Data(input.utf8), using: SymmetricKey(data: secret))
            let refused = try await refusal(input + "." + base64URL(Data(code)), by: service)
            #expect(refused == .tokenInvalid)
        }
    }

    @Test("A token of another key is invalid, under its own name or under ours", arguments: ["key-1", "key-2"])
    func otherKey(id: String) async throws {
        let stranger = try await makeService([SigningKey(id: id, pem: TokenService.makeKey())])
        let code = try await refusal(try await stranger.issue(makeMembership()), by: try await makeService())
        #expect(code == .tokenInvalid)
    }

    @Test("After a change of keys the first one signs, and tokens of the older are still good")
    func rotation() async throws {
        let membership = makeMembership()
        let old = try await makeService().issue(membership)
        let service = try await makeService([
            SigningKey(id: "key-2", pem: TokenService.makeKey()), SigningKey(id: "key-1", pem: pem),
        ])
        let verified = try await service.verify(old)
        #expect(verified.user == membership.user)
        let header = try json(parts(try await service.issue(membership))[0])
        #expect(header["kid"] == "key-2")
    }

    @Test("Claims as we write them are accepted when they are signed by our key")
    func ownClaims() async throws {
        let clock = ManualClock()
        let verified = try await makeService(clock: clock).verify(try sign(claims(["mv": 3], clock: clock)))
        #expect(verified.membershipVersion == 3)
    }

    @Test("Another issuer, another audience, or a claim that is missing or wrong makes a token invalid", arguments: wrongClaims)
    func refusesClaims(changes: [String: JSONValue]) async throws {
        let clock = ManualClock()
        let token = try sign(claims(changes, clock: clock))
        let code = try await refusal(token, by: try await makeService(clock: clock))
        #expect(code == .tokenInvalid)
    }

    @Test("What is no token is invalid", arguments: garbage)
    func refusesGarbage(text: String) async throws {
        let code = try await refusal(text, by: try await makeService())
        #expect(code == .tokenInvalid)
    }

    @Test("A text of more than 2048 bytes is not looked at, though it were signed")
    func tooLong() async throws {
        let clock = ManualClock()
        let service = try await makeService(clock: clock)
        let token = try sign(claims(["note": .string(String(repeating: "x", count: 2048))], clock: clock))
        let code = try await refusal(token, by: service)
        #expect(code == .tokenInvalid)
    }

    @Test("The key set publishes every key under its id, and nothing private")
    func keySet() async throws {
        let service = try await makeService([
            SigningKey(id: "key-1", pem: pem), SigningKey(id: "key-2", pem: TokenService.makeKey()),
        ])
        let keys = try #require(service.jwks["keys"]?.array)
        #expect(keys.compactMap { $0["kid"]?.string } == ["key-1", "key-2"])
        for key in keys {
            let members = try #require(key.object)
            let names = members.keys.sorted()
            #expect(names == ["alg", "crv", "kid", "kty", "use", "x", "y"])
            #expect(key["kty"] == "EC")
            #expect(key["crv"] == "P-256")
            #expect(key["alg"] == "ES256")
            #expect(key["use"] == "sig")
            for coordinate in ["x", "y"] {
                let text = try #require(key[coordinate]?.string)
                #expect(text.utf8.count == 43)
                #expect(decoded(text)?.count == 32)
                #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") })
            }
        }
    }

    @Test("Whoever reads the key set can verify a token")
    func verifiesElsewhere() async throws {
        let service = try await makeService()
        let token = parts(try await service.issue(makeMembership()))
        let key = try #require(service.jwks["keys"]?.array?.first)
        let x = try #require(decoded(key["x"]?.string ?? ""))
        let y = try #require(decoded(key["y"]?.string ?? ""))
        let signature = try P256.Signing.ECDSASignature(rawRepresentation: try #require(decoded(token[2])))
        let publicKey = try P256.Signing.PublicKey(rawRepresentation: x + y)
        #expect(publicKey.isValidSignature(signature, for: Data("\(token[0]).\(token[1])".utf8)))
    }
}
