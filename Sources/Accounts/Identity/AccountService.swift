import Crypto
import Domain
import Foundation

/// Who may create accounts.
public enum RegistrationPolicy: String, CaseIterable, Sendable {
    /// The first account only; registration closes by itself once it exists.
    case first
    case open
    case closed
}

/// What signing in answers.
public struct SignIn: Sendable {
    public let user: User
    public let tenant: Tenant
    public let role: Role
    public let accessToken: String
}

/// Registers, signs in and authenticates.
public struct AccountService: Sendable {
    private let store: any AccountStore
    private let hasher: PasswordHasher
    private let tokens: TokenService
    private let policy: RegistrationPolicy
    private let ambient: Ambient

    public init(
        store: any AccountStore, hasher: PasswordHasher, tokens: TokenService, policy: RegistrationPolicy,
        ambient: Ambient = .system
    ) {
        self.store = store
        self.hasher = hasher
        self.tokens = tokens
        self.policy = policy
        self.ambient = ambient
    }

    public var jwks: JSONValue { tokens.jwks }

    /// Makes an account with a tenant of its own, whose owner it is.
    ///
    /// - Throws: `Problem` with `registration_closed`, `email_taken` or `overloaded`.
    public func register(email: String, password: String, tenantName: String) async throws -> SignIn {
        guard policy != .closed else { throw Self.closed }
        if policy == .first, try await !store.isEmpty() { throw Self.closed }
        return try await create(email: email, password: password, tenantName: tenantName, onlyFirst: policy == .first)
    }

    /// Makes the very first account, whatever the policy; answers `nil` when one exists.
    public func createFirst(email: String, password: String, tenantName: String) async throws -> SignIn? {
        guard try await store.isEmpty() else { return nil }
        do {
            return try await create(email: email, password: password, tenantName: tenantName, onlyFirst: true)
        } catch let problem as Problem where problem.code == .registrationClosed {
            // Another process that started at the same time has made it.
            return nil
        }
    }

    private static let closed = Problem(
        .registrationClosed, "This server takes no registrations. Ask whoever runs it for an account.")

    private func create(email: String, password: String, tenantName: String, onlyFirst: Bool) async throws -> SignIn {
        let hash = try await hasher.hash(password)
        let now = ambient.now()
        let user = User(id: UserID(ambient.makeID()), email: Self.normalized(email), createdAt: now)
        let tenant = Tenant(id: TenantID(ambient.makeID()), name: tenantName, createdAt: now)
        try await store.create(user, passwordHash: hash, tenant: tenant, role: .owner, onlyFirst: onlyFirst)
        return try await signIn(user, Membership(tenant: tenant.id, user: user.id, role: .owner, version: 1))
    }

    /// Signs in to the tenant that the user has belonged to for longest.
    ///
    /// - Throws: `Problem` with `invalid_credentials`, the same for an unknown address and a wrong password, or `overloaded`.
    public func login(email: String, password: String) async throws -> SignIn {
        let found = try await store.user(email: Self.normalized(email))
        let isRight = try await hasher.verify(password, against: found?.passwordHash)
        guard let found, isRight, let membership = try await store.memberships(of: found.user.id).first else {
            throw Problem(.invalidCredentials, "The address or the password is wrong.")
        }
        return try await signIn(found.user, membership)
    }

    private func signIn(_ user: User, _ membership: Membership) async throws -> SignIn {
        guard let tenant = try await store.tenant(membership.tenant) else { throw TokenService.invalid }
        return SignIn(
            user: user, tenant: tenant, role: membership.role, accessToken: try await tokens.issue(membership))
    }

    /// Whoever an access token stands for, with the rights that the membership gives now.
    ///
    /// - Throws: `Problem` with `token_invalid` or `token_expired`.
    public func authenticate(token: String) async throws -> Principal {
        let verified = try await tokens.verify(token)
        guard let membership = try await store.membership(tenant: verified.tenant, user: verified.user),
            membership.version == verified.membershipVersion
        else { throw TokenService.invalid }
        return Principal(tenant: verified.tenant, user: verified.user, scopes: membership.role.scopes)
    }

    /// The principal's user, tenant and role.
    public func identity(of principal: Principal) async throws -> (user: User, tenant: Tenant, role: Role) {
        guard let user = try await store.user(principal.user), let tenant = try await store.tenant(principal.tenant),
            let membership = try await store.membership(tenant: principal.tenant, user: principal.user)
        else { throw TokenService.invalid }
        return (user, tenant, membership.role)
    }

    /// Whether the principal is still a member and its scopes, and its role's now, hold `scope`.
    public func isAllowed(_ principal: Principal, scope: String?) async throws -> Bool {
        guard let membership = try await store.membership(tenant: principal.tenant, user: principal.user) else {
            return false
        }
        guard let scope else { return true }
        let now = Principal(tenant: principal.tenant, user: principal.user, scopes: membership.role.scopes)
        return principal.may(scope) && now.may(scope)
    }

    private static func normalized(_ email: String) -> String { email.lowercased() }

    /// A name, one `@`, and a host with a dot; at most 254 characters (RFC 5321), no white space.
    public static func isEmail(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard text.utf8.count <= 254, parts.count == 2, !parts[0].isEmpty,
            !text.contains(where: { $0.isWhitespace || $0.unicodeScalars.contains { $0.value < 33 } })
        else { return false }
        let labels = parts[1].split(separator: ".", omittingEmptySubsequences: false)
        return labels.count >= 2 && labels.allSatisfy { !$0.isEmpty }
    }
}

/// The keys that tokens are signed with, opened; makes the first one.
public enum SigningKeys {
    /// - Throws: `Problem` when a stored key was sealed under another master key.
    public static func load(
        from store: any AccountStore, sealer: SecretSealer, ambient: Ambient
    ) async throws -> [(id: String, pem: String)] {
        if try await store.signingKeys().isEmpty {
            let id = "\(Identifier<Void>(ambient.makeID()))"
            let sealed = try sealer.seal(TokenService.makeKey(), row: row(id))
            try await store.addFirst(SealedSigningKey(id: id, sealed: sealed, createdAt: ambient.now()))
        }
        return try await store.signingKeys().map { key in
            (key.id, try sealer.open(key.sealed, row: row(key.id)))
        }
    }

    private static func row(_ id: String) -> String { "signing_keys/\(id)" }
}
