import Domain
import Foundation
import JWTKit

/// The claims of an access token (RFC 9068, as far as they apply).
struct AccessClaims: JWTPayload {
    var iss: IssuerClaim
    var aud: AudienceClaim
    var sub: SubjectClaim
    var exp: ExpirationClaim
    var iat: IssuedAtClaim
    /// The tenant.
    var tid: String
    /// The version of the membership that the token was issued for.
    var mv: Int64

    /// The times are checked against the service's own clock.
    func verify(using algorithm: some JWTAlgorithm) throws {}
}

/// Issues and verifies access tokens: JWTs signed by ES256 (RFC 7518), at most 15 minutes, for one tenant.
public struct TokenService: Sendable {
    public static let lifetime: Duration = .seconds(15 * 60)
    public static let issuer = "sba"
    public static let audience = "sba-api"
    /// A longer text is no token of ours.
    private static let maximumCharacters = 2048

    private let keys: JWTKeyCollection
    private let signingKey: JWKIdentifier
    private let now: @Sendable () -> Timestamp
    private let cache = VerifiedTokens()
    /// The public keys as a JWK set (RFC 7517), for whoever verifies tokens elsewhere.
    public let jwks: JSONValue

    /// - Parameters:
    ///   - keys: private keys in PEM under their ids; the first signs, all verify.
    public init(keys pems: [(id: String, pem: String)], now: @escaping @Sendable () -> Timestamp) async throws {
        keys = JWTKeyCollection()
        self.now = now
        signingKey = JWKIdentifier(string: pems.first?.id ?? "")
        var published: [JSONValue] = []
        for (id, pem) in pems {
            let key = try ES256PrivateKey(pem: pem)
            await keys.add(ecdsa: key, kid: JWKIdentifier(string: id))
            guard let point = key.publicKey.parameters else { continue }
            published.append([
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": .string(id),
                "x": .string(Self.base64URL(point.x)), "y": .string(Self.base64URL(point.y)),
            ])
        }
        jwks = ["keys": .array(published)]
    }

    /// A new private key in PEM.
    public static func makeKey() -> String { ES256PrivateKey().pemRepresentation }

    private static func base64URL(_ text: String) -> String {
        text.replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }

    public func issue(_ membership: Membership) async throws -> String {
        // Whole seconds: not every verifier takes fractions.
        let time = Double(now().microseconds / 1_000_000)
        let claims = AccessClaims(
            iss: .init(value: Self.issuer), aud: .init(value: [Self.audience]),
            sub: .init(value: "\(membership.user)"),
            exp: .init(value: Date(timeIntervalSince1970: time + Double(Self.lifetime.components.seconds))),
            iat: .init(value: Date(timeIntervalSince1970: time)), tid: "\(membership.tenant)", mv: membership.version)
        return try await keys.sign(claims, kid: signingKey)
    }

    /// What a good token says: whose it is. Whether the membership still stands is for the caller to check.
    public struct Verified: Hashable, Sendable {
        public let tenant: TenantID
        public let user: UserID
        public let membershipVersion: Int64
    }

    /// Checks signature, algorithm, issuer, audience and time. A signature that was found good is not computed again.
    ///
    /// - Throws: `Problem` with `token_expired` or `token_invalid`.
    public func verify(_ token: String) async throws -> Verified {
        guard token.utf8.count <= Self.maximumCharacters else { throw Self.invalid }
        let (verified, expiry) = try await cache.value(for: token) { try await verifySignature(token) }
        guard expiry > now() else { throw Problem(.tokenExpired, "The access token has expired. Sign in again.") }
        return verified
    }

    private func verifySignature(_ token: String) async throws -> (Verified, expiry: Timestamp) {
        let claims: AccessClaims
        do {
            claims = try await keys.verify(token, as: AccessClaims.self)
        } catch {
            throw Self.invalid
        }
        guard claims.iss.value == Self.issuer, claims.aud.value.contains(Self.audience),
            let tenant = TenantID(claims.tid), let user = UserID(claims.sub.value)
        else { throw Self.invalid }
        let expiry = Timestamp(microseconds: Int64(claims.exp.value.timeIntervalSince1970 * 1_000_000))
        return (Verified(tenant: tenant, user: user, membershipVersion: claims.mv), expiry)
    }

    static let invalid = Problem(.tokenInvalid, "The access token is not one of this server. Sign in again.")
}
