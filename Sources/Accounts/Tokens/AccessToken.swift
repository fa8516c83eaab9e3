import Domain
import Foundation
import JWTKit
import Synchronization

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
    /// The sign-in, which can be ended before the token expires.
    var sid: String

    /// The times are checked against the service's own clock.
    func verify(using algorithm: some JWTAlgorithm) throws {}
}

/// A key that access tokens are signed with.
public struct SigningKey: Hashable, Sendable {
    public let id: String
    /// The private key in PEM.
    public let pem: String
    /// From when on it signs.
    public let activeAt: Timestamp
    /// From when on nothing it has signed is good.
    public let retiredAt: Timestamp?

    public init(
        id: String, pem: String, activeAt: Timestamp = Timestamp(microseconds: 0), retiredAt: Timestamp? = nil
    ) {
        self.id = id
        self.pem = pem
        self.activeAt = activeAt
        self.retiredAt = retiredAt
    }
}

/// Issues and verifies access tokens: JWTs signed by ES256 (RFC 7518), at most 15 minutes, for one tenant.
public final class TokenService: Sendable {
    public static let lifetime: Duration = .seconds(15 * 60)
    public static let issuer = "sba"
    public static let audience = "sba-api"
    /// A longer text is no token of ours.
    private static let maximumCharacters = 2048

    /// The keys as they are at one time.
    private struct Ring: Sendable {
        let keys: [SigningKey]
        let collection: JWTKeyCollection
        let jwks: JSONValue
    }

    private let ring: Mutex<Ring>
    private let now: @Sendable () -> Timestamp
    private let cache = VerifiedTokens()

    /// - Parameter keys: all verify until they retire; of those that are active, the newest signs.
    public init(keys: [SigningKey], now: @escaping @Sendable () -> Timestamp) async throws {
        self.now = now
        ring = Mutex(try await Self.makeRing(keys))
    }

    /// Works with these keys from now on.
    public func use(_ keys: [SigningKey]) async throws {
        guard ring.withLock({ $0.keys != keys }) else { return }
        let made = try await Self.makeRing(keys)
        ring.withLock { $0 = made }
    }

    /// The public keys as a JWK set (RFC 7517), for whoever verifies tokens elsewhere; those too that do not sign yet.
    public var jwks: JSONValue { ring.withLock { $0.jwks } }

    private static func makeRing(_ keys: [SigningKey]) async throws -> Ring {
        let collection = JWTKeyCollection()
        var published: [JSONValue] = []
        for key in keys {
            let secret = try ES256PrivateKey(pem: key.pem)
            await collection.add(ecdsa: secret, kid: JWKIdentifier(string: key.id))
            guard let point = secret.publicKey.parameters else { continue }
            published.append([
                "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": .string(key.id),
                "x": .string(base64URL(point.x)), "y": .string(base64URL(point.y)),
            ])
        }
        return Ring(keys: keys, collection: collection, jwks: ["keys": .array(published)])
    }

    /// A new private key in PEM.
    public static func makeKey() -> String { ES256PrivateKey().pemRepresentation }

    private static func base64URL(_ text: String) -> String {
        text.replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }

    public func issue(_ membership: Membership, signIn: SignInID) async throws -> String {
        let now = now()
        let (collection, signing) = ring.withLock { ring in
            (ring.collection, ring.keys.filter { $0.activeAt <= now }.max { $0.activeAt < $1.activeAt } ?? ring.keys.first)
        }
        // Whole seconds: not every verifier takes fractions.
        let time = Double(now.microseconds / 1_000_000)
        let claims = AccessClaims(
            iss: .init(value: Self.issuer), aud: .init(value: [Self.audience]),
            sub: .init(value: "\(membership.user)"),
            exp: .init(value: Date(timeIntervalSince1970: time + Double(Self.lifetime.components.seconds))),
            iat: .init(value: Date(timeIntervalSince1970: time)), tid: "\(membership.tenant)", mv: membership.version,
            sid: "\(signIn)")
        return try await collection.sign(claims, kid: JWKIdentifier(string: signing?.id ?? ""))
    }

    /// What a good token says: whose it is. Whether the membership and the sign-in still stand is for the caller to check.
    public struct Verified: Hashable, Sendable {
        public let tenant: TenantID
        public let user: UserID
        public let membershipVersion: Int64
        public let signIn: SignInID
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
        let collection = ring.withLock { $0.collection }
        let claims: AccessClaims
        do {
            claims = try await collection.verify(token, as: AccessClaims.self)
        } catch {
            throw Self.invalid
        }
        guard claims.iss.value == Self.issuer, claims.aud.value.contains(Self.audience),
            let tenant = TenantID(claims.tid), let user = UserID(claims.sub.value), let signIn = SignInID(claims.sid)
        else { throw Self.invalid }
        let expiry = Timestamp(microseconds: Int64(claims.exp.value.timeIntervalSince1970 * 1_000_000))
        return (
            Verified(tenant: tenant, user: user, membershipVersion: claims.mv, signIn: signIn), expiry
        )
    }

    static let invalid = Problem(.tokenInvalid, "The access token is not one of this server. Sign in again.")
}
