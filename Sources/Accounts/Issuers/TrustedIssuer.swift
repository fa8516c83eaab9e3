import Domain

/// Somebody else who signs tokens that are good here: a Supabase project, or any issuer of OpenID Connect.
public struct TrustedIssuer: Hashable, Sendable {
    /// What its tokens are checked by.
    public enum Keys: Hashable, Sendable {
        /// A secret that both know (HS256).
        case secret(String)
        /// A JWK set at an address (RFC 7517).
        case set(url: String)
    }

    /// The one algorithm that its tokens may be signed by (RFC 7518).
    public enum Algorithm: String, CaseIterable, Sendable {
        case hs256 = "HS256"
        case rs256 = "RS256"
        case es256 = "ES256"
    }

    /// Its `iss`, to the letter.
    public let issuer: String
    /// What `aud` has to hold.
    public let audience: String
    public let algorithm: Algorithm
    public let keys: Keys
    /// The claims that say the tenant's id and the role, as paths: `app_metadata.tenant_id`.
    public let tenantClaim: String
    public let roleClaim: String
    /// The role of whoever has no such claim; nobody is let in without a role.
    public let defaultRole: Role?
    /// Whether an address in a token is its holder's, also without `email_verified`.
    public let verifiesAddresses: Bool

    public init(
        issuer: String, audience: String, algorithm: Algorithm, keys: Keys, tenantClaim: String, roleClaim: String,
        defaultRole: Role?, verifiesAddresses: Bool = false
    ) {
        self.issuer = issuer
        self.audience = audience
        self.algorithm = algorithm
        self.keys = keys
        self.tenantClaim = tenantClaim
        self.roleClaim = roleClaim
        self.defaultRole = defaultRole
        self.verifiesAddresses = verifiesAddresses
    }

    /// Reads a list: `[{"issuer", "audience", "algorithm", "jwksUrl", "tenantClaim", "roleClaim", "defaultRole"}]`.
    ///
    /// - Throws: `Problem` with `invalid_request`, naming the place and what is wrong there.
    public static func list(declaredBy file: [UInt8]) throws(Problem) -> [TrustedIssuer] {
        guard let items = (try? JSONValue(parsing: file))?["issuers"]?.array else {
            throw Problem(.invalidRequest, "The issuers file must be a JSON object with an array 'issuers'.")
        }
        var issuers: [TrustedIssuer] = []
        for (index, item) in items.enumerated() { issuers.append(try one(item, at: "issuers[\(index)]")) }
        guard Set(issuers.map(\.issuer)).count == issuers.count else {
            throw Problem(.invalidRequest, "The issuers file names an issuer twice.")
        }
        return issuers
    }

    private static let members: Set<String> = [
        "issuer", "audience", "algorithm", "jwksUrl", "tenantClaim", "roleClaim", "defaultRole",
    ]

    private static func one(_ item: JSONValue, at place: String) throws(Problem) -> TrustedIssuer {
        guard let issuer = item["issuer"]?.string, let audience = item["audience"]?.string,
            let url = item["jwksUrl"]?.string, url.hasPrefix("https://") || url.hasPrefix("http://")
        else { throw Problem(.invalidRequest, "\(place) needs issuer, audience and jwksUrl (http or https).") }
        if let unknown = item.object?.keys.sorted().first(where: { !members.contains($0) }) {
            let known = members.sorted().joined(separator: ", ")
            throw Problem(.invalidRequest, "\(place) has an unknown member '\(unknown)'. Known: \(known).")
        }
        guard let algorithm = Algorithm(rawValue: item["algorithm"]?.string ?? "RS256"), algorithm != .hs256 else {
            throw Problem(.invalidRequest, "\(place).algorithm must be RS256 or ES256.")
        }
        let role = item["defaultRole"]?.string
        guard role == nil || role.flatMap(Role.init(rawValue:)) != nil else {
            throw Problem(.invalidRequest, "\(place).defaultRole must be owner, admin, member or viewer.")
        }
        return TrustedIssuer(
            issuer: issuer, audience: audience, algorithm: algorithm, keys: .set(url: url),
            tenantClaim: item["tenantClaim"]?.string ?? "tenant_id", roleClaim: item["roleClaim"]?.string ?? "role",
            defaultRole: role.flatMap(Role.init(rawValue:)))
    }

    /// A Supabase project: its HS256 secret, or the keys that it publishes.
    public static func supabase(url: String, secret: String?) -> TrustedIssuer {
        let base = (url.hasSuffix("/") ? String(url.dropLast()) : url) + "/auth/v1"
        return TrustedIssuer(
            issuer: base, audience: "authenticated", algorithm: secret == nil ? .es256 : .hs256,
            keys: secret.map { .secret($0) } ?? .set(url: base + "/.well-known/jwks.json"),
            tenantClaim: "app_metadata.tenant_id", roleClaim: "app_metadata.role", defaultRole: nil,
            verifiesAddresses: true)
    }
}

/// Whom a token of another issuer speaks of.
public struct ExternalIdentity: Hashable, Sendable {
    public let subject: String
    public let email: String?
    public let tenant: TenantID?
    public let role: Role?
}
