import Domain

/// What signing in answers.
public struct SignIn: Sendable {
    public let user: User
    public let tenant: Tenant
    public let role: Role
    public let accessToken: String
    /// Good for one refresh.
    public let refreshToken: String
}

/// A refresh token as it rests in the database.
public struct RefreshToken: Hashable, Sendable {
    /// How long one may lie unused.
    public static let lifetime: Duration = .seconds(30 * 24 * 3600)

    public let hash: String
    public let signIn: SignInID
    public let user: UserID
    /// The tenant that the sign-in is for at the moment.
    public let tenant: TenantID
    public let isUsed: Bool
    public let expiresAt: Timestamp

    public init(
        hash: String, signIn: SignInID, user: UserID, tenant: TenantID, isUsed: Bool = false, expiresAt: Timestamp
    ) {
        self.hash = hash
        self.signIn = signIn
        self.user = user
        self.tenant = tenant
        self.isUsed = isUsed
        self.expiresAt = expiresAt
    }
}

/// A refresh token was used a second time: one of the two users has stolen it.
public struct RefreshTokenReused: Error, Hashable, Sendable {
    public init() {}
}
