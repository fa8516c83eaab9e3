import Accounts
import Crypto
import Domain
import Foundation
import HTTPTypes
import Storage
import Synchronization
import TestSupport
import Testing
import Web

/// Signs tokens as another issuer would, without the library that verifies them.
private enum Signer {
    static func base64URL(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }

    static func hs256(_ claims: JSONValue, secret: String, alg: String = "HS256") -> String {
        let input = base64URL(Data(#"{"alg":"\#(alg)","typ":"JWT"}"#.utf8)) + "." + base64URL(Data(claims.text.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Data(input.utf8), using: SymmetricKey(data: Data(secret.utf8)))
        return input + "." + base64URL(Data(code))
    }

    static func es256(_ claims: JSONValue, _ key: P256.Signing.PrivateKey, kid: String) throws -> String {
        let header = Data(#"{"alg":"ES256","kid":"\#(kid)","typ":"JWT"}"#.utf8)
        let input = base64URL(header) + "." + base64URL(Data(claims.text.utf8))
        return input + "." + base64URL(try key.signature(for: Data(input.utf8)).rawRepresentation)
    }

    static func jwks(_ keys: [String: P256.Signing.PrivateKey]) -> String {
        let items = keys.map { kid, key -> JSONValue in
            let point = key.publicKey.rawRepresentation
            return [
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": .string(kid),
                "x": .string(base64URL(point.prefix(32))), "y": .string(base64URL(point.suffix(32))),
            ]
        }
        return (["keys": .array(items)] as JSONValue).text
    }
}

/// Publishes keys, and counts who asks.
private final class FakeKeySets: KeySetSource {
    private let state = Mutex((text: "", asked: 0, isDown: false))

    var asked: Int { state.withLock { $0.asked } }
    func publish(_ text: String) { state.withLock { $0.text = text } }
    func goDown() { state.withLock { $0.isDown = true } }

    func keySet(at url: String, maximumBytes: Int) async throws -> [UInt8] {
        try state.withLock { state in
            state.asked += 1
            guard !state.isDown else { throw StorageError.unavailable("down") }
            return Array(state.text.utf8)
        }
    }
}

@Suite("Tokens of other issuers")
struct TrustedIssuerTests {
    private static let secret = "a-secret-that-both-sides-know-0123456789"
    private let project = TrustedIssuer.supabase(url: "https://project.supabase.example.com/", secret: secret)
    private let provider = TrustedIssuer(
        issuer: "https://id.example.com", audience: "sba", algorithm: .es256, keys: .set(url: "https://id.example.com/keys"),
        tenantClaim: "org.id", roleClaim: "org.role", defaultRole: .viewer)

    private func claims(_ tenant: TenantID, _ changes: [String: JSONValue] = [:]) -> JSONValue {
        let seconds = Ambient.system.now().microseconds / 1_000_000
        var members: [String: JSONValue] = [
            "iss": "https://project.supabase.example.com/auth/v1", "aud": "authenticated", "sub": "subject-1",
            "email": "Someone@Example.com", "exp": .int(seconds + 600),
            "app_metadata": ["tenant_id": .string("\(tenant)"), "role": "member"],
        ]
        for (name, value) in changes { members[name] = value }
        return .object(members.filter { $0.value != .null })
    }

    @Test("a Supabase project's user is let in with the tenant and the role that the token says")
    func supabase() async throws {
        try await APIBench.with(issuers: [project]) { bench in
            let (_, principal) = try await bench.makeToken()
            func me(_ changes: [String: JSONValue] = [:], secret: String = Self.secret, alg: String = "HS256") async throws
                -> APIBench.Answer
            {
                try await bench.send(
                    .get, "/api/auth/me",
                    token: Signer.hs256(claims(principal.tenant, changes), secret: secret, alg: alg))
            }
            let first = try await me()
            #expect(first.status == 200 && first.json["tenant"]?["role"] == "member")
            #expect(first.json["user"]?["email"] == "someone@example.com")
            let again = try await me()
            #expect(again.json["user"]?["id"] == first.json["user"]?["id"])
            let promoted = try await me(["app_metadata": ["tenant_id": .string("\(principal.tenant)"), "role": "admin"]])
            #expect(promoted.json["tenant"]?["role"] == "admin" && promoted.json["user"]?["id"] == first.json["user"]?["id"])
            let wrong: [([String: JSONValue], Int)] = [
                (["aud": "other"], 401), (["aud": .null], 401), (["sub": .null], 401), (["exp": 1], 401), (["exp": .null], 401),
                (["nbf": 99_999_999_999], 401), (["app_metadata": .null], 403),
                (["app_metadata": ["tenant_id": .string("\(principal.tenant)"), "role": "king"]], 403),
                (["app_metadata": ["role": "member"]], 404),
                (["app_metadata": ["tenant_id": .string("\(UUID())"), "role": "member"]], 404),
            ]
            for (changes, status) in wrong { #expect(try await me(changes).status == status, "\(changes)") }
            #expect(try await me(secret: "another-secret-0123456789-0123456789").status == 401)
            for alg in ["none", "HS512", "ES256", "hs256"] { #expect(try await me(alg: alg).status == 401, "\(alg)") }
            // What is for people who sign in here is not for them.
            let token = Signer.hs256(claims(principal.tenant), secret: Self.secret)
            #expect(try await bench.send(.post, "/api/auth/logout", token: token).status == 403)
            let forgotten = try await bench.send(
                .post, "/api/auth/password/forgot", json: ["email": "someone@example.com"])
            #expect(forgotten.status == 202 && bench.mailer.sent.isEmpty)
        }
    }

    @Test("somebody else's address is not given away by another issuer")
    func addresses() async throws {
        try await APIBench.with(issuers: [project]) { bench in
            let (_, principal) = try await bench.makeToken()
            let known = try #require(try await bench.store.user(principal.user)).email
            let token = Signer.hs256(claims(principal.tenant, ["email": .string(known)]), secret: Self.secret)
            let answer = try await bench.send(.get, "/api/auth/me", token: token)
            #expect(answer.status == 200 && answer.json["user"]?["id"] != .string("\(principal.user)"))
            #expect(answer.json["user"]?["email"]?.string?.hasSuffix("@external.invalid") == true)
        }
    }

    @Test("published keys are fetched when they are needed, kept, and fetched again for a new one, within a bound")
    func keySets() async throws {
        let sets = FakeKeySets()
        try await APIBench.with(issuers: [provider], keySets: sets) { bench in
            let (_, principal) = try await bench.makeToken()
            let (old, new) = (P256.Signing.PrivateKey(), P256.Signing.PrivateKey())
            sets.publish(Signer.jwks(["old": old]))
            func me(_ key: P256.Signing.PrivateKey, _ kid: String) async throws -> APIBench.Answer {
                let token = try Signer.es256(
                    claims(
                        principal.tenant,
                        ["iss": "https://id.example.com", "aud": ["x", "sba"], "org": ["id": .string("\(principal.tenant)")]]),
                    key, kid: kid)
                return try await bench.send(.get, "/api/auth/me", token: token)
            }
            for _ in 0..<3 { #expect(try await me(old, "old").json["tenant"]?["role"] == "viewer") }
            #expect(sets.asked == 1)
            // Made-up keys do not make the server ask all the time.
            for _ in 0..<5 { #expect(try await me(new, "new").status == 401) }
            #expect(sets.asked <= 2)
            sets.goDown()
            #expect(try await me(old, "old").status == 200, "what is known stays good while the issuer is away")
        }
    }

    @Test("while keys were never had nobody is let in, and told to come back")
    func unavailable() async throws {
        let sets = FakeKeySets()
        sets.goDown()
        try await APIBench.with(issuers: [provider], keySets: sets) { bench in
            let token = try Signer.es256(
                claims(TenantID(UUID()), ["iss": "https://id.example.com"]), P256.Signing.PrivateKey(), kid: "k")
            let answer = try await bench.send(.get, "/api/auth/me", token: token)
            #expect(answer.status == 503 && answer.headers[.retryAfter] != nil)
        }
    }

    @Test("a list of issuers says what is wrong with it")
    func declarations() throws {
        let good = #"{"issuers": [{"issuer": "https://a", "audience": "b", "jwksUrl": "https://a/keys", "algorithm": "ES256"}]}"#
        let issuer = try #require(try TrustedIssuer.list(declaredBy: Array(good.utf8)).first)
        #expect(issuer.algorithm == .es256 && issuer.tenantClaim == "tenant_id" && issuer.defaultRole == nil)
        for wrong in [
            "", "[]", #"{"issuers": [{}]}"#, good.replacing("ES256", with: "HS256"), good.replacing("ES256", with: "none"),
            good.replacing("\"audience\"", with: "\"audiance\""), good.replacing("https://a/keys", with: "file:///etc/passwd"),
            good.replacing("}]}", with: #", "defaultRole": "king"}]}"#),
        ] {
            #expect(throws: Problem.self, "\(wrong)") { try TrustedIssuer.list(declaredBy: Array(wrong.utf8)) }
        }
    }
}
