import Accounts
import Domain
import HTTPTypes
import Hummingbird

/// Signing up, signing in, and who one is.
struct AuthRoutes {
    let accounts: AccountService

    var routes: [APIRoute] {
        [
            APIRoute(.post, "/api/auth/register", .open) { request, _ in
                var fields = try RequestFields(await request.json())
                let (email, password) = credentials(&fields, minimumPassword: PasswordHasher.passwordLength.lowerBound)
                let name = fields.string("tenantName", length: 1...100)
                try fields.finish()
                return .json(
                    json(try await accounts.register(email: email, password: password, tenantName: name)),
                    status: .created)
            },
            APIRoute(.post, "/api/auth/login", .open) { request, _ in
                var fields = try RequestFields(await request.json())
                let (email, password) = credentials(&fields, minimumPassword: 1)
                try fields.finish()
                return .json(json(try await accounts.login(email: email, password: password)))
            },
            APIRoute(.get, "/api/auth/me", .signedIn) { _, context in
                let principal = try context.principal()
                let (user, tenant, role) = try await accounts.identity(of: principal)
                return .json([
                    "user": user.json, "tenant": tenant.json(role: role),
                    "scopes": .array(principal.scopes.map { .string($0) }),
                ])
            },
            APIRoute(.get, "/.well-known/jwks.json", .open) { _, _ in
                var response = Response.json(accounts.jwks)
                response.headers[.cacheControl] = "public, max-age=300"
                return response
            },
        ]
    }

    private func credentials(
        _ fields: inout RequestFields, minimumPassword: Int
    ) -> (email: String, password: String) {
        let email = fields.string("email", length: 3...254)
        if !email.isEmpty, !AccountService.isEmail(email) { fields.fault("email", "must be an email address") }
        let longest = PasswordHasher.passwordLength.upperBound
        return (email, fields.string("password", length: minimumPassword...longest))
    }

    private func json(_ signIn: SignIn) -> JSONValue {
        [
            "accessToken": .string(signIn.accessToken), "tokenType": "Bearer",
            "expiresIn": .int(TokenService.lifetime.components.seconds), "user": signIn.user.json,
            "tenant": signIn.tenant.json(role: signIn.role),
        ]
    }
}
