import Accounts
import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// Signing up, signing in and out, passwords, and who one is.
struct AuthRoutes {
    let accounts: AccountService
    let erasure: ErasureService

    var routes: [APIRoute] { signing + passwords + own }

    private var signing: [APIRoute] {
        [
            APIRoute(.post, "/api/auth/register", .open) { request, context in
                var fields = try RequestFields(await request.json())
                let (email, password) = credentials(&fields, minimumPassword: PasswordHasher.passwordLength.lowerBound)
                let name = fields.string("tenantName", length: Tenant.nameCharacters)
                try fields.finish()
                let signIn = try await accounts.register(
                    email: email, password: password, tenantName: name, requester: context.requester)
                return .json(signIn.json, status: .created)
            },
            APIRoute(.post, "/api/auth/login", .open) { request, context in
                var fields = try RequestFields(await request.json())
                let (email, password) = credentials(&fields, minimumPassword: 1)
                try fields.finish()
                let signIn = try await accounts.login(
                    email: email, password: password, tenant: try request.tenant(), requester: context.requester)
                return .json(signIn.json)
            },
            APIRoute(.post, "/api/auth/refresh", .open) { request, context in
                var fields = try RequestFields(await request.json())
                let token = fields.string("refreshToken", length: Self.tokenCharacters)
                try fields.finish()
                let signIn = try await accounts.refresh(
                    token: token, tenant: try request.tenant(), requester: context.requester)
                return .json(signIn.json)
            },
            APIRoute(.post, "/api/auth/logout", .person) { _, context in
                try await accounts.logout(try context.principal(), requester: context.requester)
                return .noContent
            },
            APIRoute(.post, "/api/auth/logout/everywhere", .person) { _, context in
                try await accounts.logoutEverywhere(try context.principal(), requester: context.requester)
                return .noContent
            },
            APIRoute(.post, "/api/auth/invitations/accept", .open) { request, context in
                var fields = try RequestFields(await request.json())
                let token = fields.string("token", length: Self.tokenCharacters)
                let password = fields.string("password", length: 1...PasswordHasher.passwordLength.upperBound)
                try fields.finish()
                let signIn = try await accounts.acceptInvitation(
                    token: token, password: password, requester: context.requester)
                return .json(signIn.json)
            },
            APIRoute(.get, "/.well-known/jwks.json", .open) { _, _ in
                var response = Response.json(accounts.jwks)
                response.headers[.cacheControl] = "public, max-age=300"
                return response
            },
        ]
    }

    private var passwords: [APIRoute] {
        [
            APIRoute(.post, "/api/auth/password", .person) { request, context in
                var fields = try RequestFields(await request.json())
                let current = fields.string("currentPassword", length: 1...PasswordHasher.passwordLength.upperBound)
                let new = fields.string("newPassword", length: PasswordHasher.passwordLength)
                try fields.finish()
                try await accounts.changePassword(
                    try context.principal(), from: current, to: new, requester: context.requester)
                return .noContent
            },
            APIRoute(.post, "/api/auth/password/forgot", .open) { request, context in
                var fields = try RequestFields(await request.json())
                let email = self.email(&fields)
                try fields.finish()
                try await accounts.forgotPassword(email: email, requester: context.requester)
                return .json(["status": "accepted"], status: .accepted)
            },
            APIRoute(.post, "/api/auth/password/reset", .open) { request, context in
                var fields = try RequestFields(await request.json())
                let token = fields.string("token", length: Self.tokenCharacters)
                let new = fields.string("newPassword", length: PasswordHasher.passwordLength)
                try fields.finish()
                try await accounts.resetPassword(token: token, to: new, requester: context.requester)
                return .noContent
            },
        ]
    }

    private var own: [APIRoute] {
        [
            APIRoute(.get, "/api/auth/me", .signedIn) { _, context in
                let principal = try context.principal()
                let (user, tenant, role, tenants) = try await accounts.identity(of: principal)
                return .json([
                    "user": user.json, "tenant": tenant.json(role: role),
                    "scopes": .array(principal.scopes.map { .string($0) }),
                    "tenants": .array(tenants.map { $0.tenant.json(role: $0.role) }),
                ])
            },
            APIRoute(.get, "/api/auth/me/export", .person) { _, context in
                let principal = try context.principal()
                try await erasure.beginExport(ofOwnAccount: principal, requester: context.requester)
                return Response(
                    status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-store"],
                    body: ResponseBody { writer in
                        var place: ExportPlace? = .start
                        var separator = "{\"items\":["
                        while let from = place {
                            let (rows, next) = try await erasure.exportPage(user: principal.user, from: from)
                            for row in rows {
                                try await writer.write(ByteBuffer(string: separator + row.json.text))
                                separator = ","
                            }
                            place = next
                        }
                        try await writer.write(ByteBuffer(string: separator == "," ? "]}" : separator + "]}"))
                        try await writer.finish(nil)
                    })
            },
            APIRoute(.post, "/api/auth/me/erase", .person) { request, context in
                var fields = try RequestFields(await request.json())
                let password = fields.string("password", length: 1...PasswordHasher.passwordLength.upperBound)
                try fields.finish()
                try await erasure.eraseOwnAccount(
                    try context.principal(), password: password, requester: context.requester)
                return .noContent
            },
        ]
    }

    /// A token of ours is 47 characters long; what is longer is looked at no further.
    private static let tokenCharacters = 1...128

    private func email(_ fields: inout RequestFields) -> String {
        let email = fields.string("email", length: 3...254)
        if !email.isEmpty, !AccountService.isEmail(email) { fields.fault("email", "must be an email address") }
        return email
    }

    private func credentials(
        _ fields: inout RequestFields, minimumPassword: Int
    ) -> (email: String, password: String) {
        let longest = PasswordHasher.passwordLength.upperBound
        return (email(&fields), fields.string("password", length: minimumPassword...longest))
    }
}

extension SignIn {
    fileprivate var json: JSONValue {
        [
            "accessToken": .string(accessToken), "refreshToken": .string(refreshToken), "tokenType": "Bearer",
            "expiresIn": .int(TokenService.lifetime.components.seconds), "user": user.json,
            "tenant": tenant.json(role: role),
        ]
    }
}
