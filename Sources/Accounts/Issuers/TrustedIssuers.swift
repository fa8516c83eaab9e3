import Domain
import Foundation
import JWTKit

/// Fetches what an issuer publishes.
public protocol KeySetSource: Sendable {
    /// The document at the address, at most `maximumBytes` long.
    func keySet(at url: String, maximumBytes: Int) async throws -> [UInt8]
}

/// Verifies tokens of other issuers. Keys are fetched when they are needed and kept for a while.
public actor TrustedIssuers {
    private static let maximumCharacters = 8192
    private static let maximumKeySetBytes = 256 * 1024
    /// How long fetched keys are used before they are fetched again: a key that was withdrawn is good no longer than this.
    private static let keysAge: Duration = .seconds(600)
    /// A key that is not known is looked for at most this often: tokens with made-up keys must not make us ask all the time.
    private static let fetchInterval: Duration = .seconds(30)
    /// While none were ever had: somebody waits for them.
    private static let firstFetchInterval: Duration = .seconds(2)
    /// How long known keys stay good while their issuer cannot be asked.
    private static let maximumKeysAge: Duration = .seconds(24 * 3600)
    /// Clocks differ.
    private static let leeway: Duration = .seconds(30)

    private struct Fetched {
        let collection: JWTKeyCollection
        let ids: Set<String>
        let at: Timestamp
    }

    private nonisolated let issuers: [String: TrustedIssuer]
    private let source: (any KeySetSource)?
    private var fetched: [String: Fetched] = [:]
    private var asked: [String: Timestamp] = [:]

    /// - Parameter source: needed when an issuer publishes its keys.
    public init(_ issuers: [TrustedIssuer], source: (any KeySetSource)? = nil) {
        self.issuers = Dictionary(issuers.map { ($0.issuer, $0) }, uniquingKeysWith: { first, _ in first })
        self.source = source
    }

    /// Which of the issuers a token says it comes from. Nothing is checked yet.
    nonisolated func issuer(of token: String) -> TrustedIssuer? {
        guard !issuers.isEmpty, let name = Self.parts(token)?.claims["iss"]?.string else { return nil }
        return issuers[name]
    }

    private static func parts(_ token: String) -> (header: JSONValue, claims: JSONValue)? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard token.utf8.count <= maximumCharacters, parts.count == 3, let header = json(parts[0]),
            let claims = json(parts[1])
        else { return nil }
        return (header, claims)
    }

    private static func json(_ part: Substring) -> JSONValue? {
        let plain = part.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        let padded = plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4)
        return Data(base64Encoded: padded).flatMap { try? JSONValue(parsing: $0) }
    }

    /// Only the signature is the library's to check; the claims are checked below.
    private struct Claims: JWTPayload {
        func verify(using algorithm: some JWTAlgorithm) throws {}
    }

    /// Checks signature, algorithm, issuer, audience and times.
    ///
    /// - Throws: `Problem` with `token_invalid` or `token_expired`; `storage_unavailable` when the issuer's keys cannot be had.
    func verify(_ token: String, by issuer: TrustedIssuer, now: Timestamp) async throws -> ExternalIdentity {
        guard let (header, claims) = Self.parts(token), header["alg"]?.string == issuer.algorithm.rawValue else {
            throw Self.invalid
        }
        let collection = try await collection(for: issuer, kid: header["kid"]?.string, now: now)
        do {
            _ = try await collection.verify(token, as: Claims.self)
        } catch {
            throw Self.invalid
        }
        let audiences = claims["aud"]?.array?.compactMap(\.string) ?? [claims["aud"]?.string].compactMap { $0 }
        guard claims["iss"]?.string == issuer.issuer, audiences.contains(issuer.audience),
            let subject = claims["sub"]?.string, (1...255).contains(subject.utf8.count),
            let expiry = Self.time(claims["exp"])
        else { throw Self.invalid }
        guard expiry.adding(Self.leeway) > now else {
            throw Problem(.tokenExpired, "The access token has expired. Get another from its issuer.")
        }
        if let start = Self.time(claims["nbf"]), start > now.adding(Self.leeway) { throw Self.invalid }
        let role = Self.claim(issuer.roleClaim, in: claims)?.string
        // An address that nobody has verified may be anybody's.
        let isVerified = issuer.verifiesAddresses || claims["email_verified"]?.bool == true
        let email = claims["email"]?.string.flatMap { isVerified && AccountService.isEmail($0) ? $0.lowercased() : nil }
        return ExternalIdentity(
            subject: subject, email: email,
            tenant: Self.claim(issuer.tenantClaim, in: claims)?.string.flatMap { TenantID($0) },
            role: role == nil ? issuer.defaultRole : role.flatMap(Role.init(rawValue:)))
    }

    private static let invalid = Problem(.tokenInvalid, "The access token is not good for this server.")

    private static func time(_ value: JSONValue?) -> Timestamp? {
        guard let seconds = value?.double, abs(seconds) < 1e11 else { return nil }
        return Timestamp(microseconds: Int64(seconds * 1_000_000))
    }

    private static func claim(_ path: String, in claims: JSONValue) -> JSONValue? {
        path.split(separator: ".").reduce(claims) { value, member in value?[String(member)] }
    }

    // MARK: Keys

    private func collection(for issuer: TrustedIssuer, kid: String?, now: Timestamp) async throws -> JWTKeyCollection {
        switch issuer.keys {
        case .secret(let secret):
            if let known = fetched[issuer.issuer] { return known.collection }
            let collection = await JWTKeyCollection().add(
                hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
            fetched[issuer.issuer] = Fetched(collection: collection, ids: [], at: now)
            return collection
        case .set(let url):
            if let known = fetched[issuer.issuer], now.duration(since: known.at) < Self.keysAge,
                kid.map({ known.ids.contains($0) }) ?? true || !mayAsk(issuer, now)
            {
                return known.collection
            }
            return try await fetch(issuer, url, now: now)
        }
    }

    private func mayAsk(_ issuer: TrustedIssuer, _ now: Timestamp) -> Bool {
        let interval = fetched[issuer.issuer] == nil ? Self.firstFetchInterval : Self.fetchInterval
        return asked[issuer.issuer].map { now.duration(since: $0) >= interval } ?? true
    }

    /// Fetches the keys; while they cannot be had, those from before stay.
    private func fetch(_ issuer: TrustedIssuer, _ url: String, now: Timestamp) async throws -> JWTKeyCollection {
        let known = fetched[issuer.issuer].flatMap { now.duration(since: $0.at) < Self.maximumKeysAge ? $0 : nil }
        let unavailable = Problem(
            .storageUnavailable, "The keys of the token's issuer cannot be had. Try again shortly.", retryAfter: .seconds(5))
        guard mayAsk(issuer, now) else {
            guard let known else { throw unavailable }
            return known.collection
        }
        asked[issuer.issuer] = now
        do {
            let bytes = try await source?.keySet(at: url, maximumBytes: Self.maximumKeySetBytes) ?? []
            let set = try JSONDecoder().decode(JWKS.self, from: Data(bytes))
            let collection = try await JWTKeyCollection().add(jwks: set)
            let made = Fetched(collection: collection, ids: Set(set.keys.compactMap { $0.keyIdentifier?.string }), at: now)
            fetched[issuer.issuer] = made
            return collection
        } catch {
            guard let known else { throw unavailable }
            return known.collection
        }
    }
}
