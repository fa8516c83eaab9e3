import Domain

extension AccountService {
    /// How long a password may be set by the token in a mail.
    static let resetLifetime: Duration = .seconds(3600)

    /// Sets another password; every other sign-in of the user ends.
    ///
    /// - Throws: `Problem` with `invalid_credentials` when the current one is wrong, `rate_limited` or `overloaded`.
    public func changePassword(
        _ principal: Principal, from current: String, to new: String, requester: Requester
    ) async throws {
        guard case .signIn(let id) = principal.credential else { throw Self.onlyPeople }
        try await check(current, of: principal, requester)
        try await store.setPassword(
            try await hasher.hash(new), of: principal.user, keeping: id,
            audit: entry(.passwordChanged, in: principal.tenant, by: requester, target: "user/\(principal.user)"))
    }

    /// - Throws: `Problem` with `invalid_credentials`, `rate_limited` or `overloaded`.
    func check(_ password: String, of principal: Principal, _ requester: Requester) async throws {
        guard let user = try await store.user(principal.user) else { throw TokenService.invalid }
        try await limit(account: user.email, requester)
        let stored = try await store.user(email: user.email)?.passwordHash
        guard try await hasher.verify(password, against: stored) else {
            throw Problem(.invalidCredentials, "The current password is wrong.")
        }
        try await pardon(account: user.email)
    }

    /// No answer comes before this: how long it took to look for the account and to write to it tells nothing.
    private static let forgottenTime: Duration = .milliseconds(250)

    /// Sends a token that sets a new password to the address, if it is an account's. Nobody learns whether it is.
    ///
    /// - Throws: `Problem` with `rate_limited`.
    public func forgotPassword(email: String, requester: Requester) async throws {
        let end = ContinuousClock.now + Self.forgottenTime
        try await limit(account: email, requester)
        // Whoever another issuer vouches for has no password here, and gets none.
        if let (user, hash) = try await store.user(email: Self.normalized(email)), !hash.isEmpty {
            // What goes wrong for an account must not tell that there is one: who gets no mail asks again. The mailer tells
            // its log, and a database that is away is told by health and by every other request.
            try? await sendReset(to: user, requester)
        }
        try await Task.sleep(until: end, clock: .continuous)
    }

    private func sendReset(to user: User, _ requester: Requester) async throws {
        let token = OpaqueToken(.passwordReset)
        try await store.addPasswordReset(
            tokenHash: token.hash, user: user.id, expiresAt: ambient.now().adding(Self.resetLifetime),
            audit: entry(
                .passwordResetRequested, in: try await store.memberships(of: user.id).first?.tenant, by: requester,
                target: "user/\(user.id)"))
        try await mailer.send(
            Mail(
                to: user.email, subject: "Set a new password",
                text: """
                    Somebody, perhaps you, asked to set a new password for your account at \(publicURL).
                    This token lets you do it, once and within an hour:

                    \(token.text)

                    If it was not you, do nothing: your password stays as it is.
                    """))
    }

    /// Sets a new password by the token of a mail. Every sign-in of the user ends.
    ///
    /// - Throws: `Problem` with `reset_invalid`, `rate_limited` or `overloaded`.
    public func resetPassword(token text: String, to new: String, requester: Requester) async throws {
        try await limit(account: nil, requester)
        guard let token = OpaqueToken(text, .passwordReset),
            let user = try await store.passwordReset(tokenHash: token.hash, at: ambient.now())
        else { throw Problem(.resetInvalid, "The token is unknown, used up or too old. Ask for another.") }
        var requester = requester
        requester.user = user
        try await store.resetPassword(
            tokenHash: token.hash, user: user, to: try await hasher.hash(new),
            audit: entry(
                .passwordReset, in: try await store.memberships(of: user).first?.tenant, by: requester,
                target: "user/\(user)"))
    }
}
