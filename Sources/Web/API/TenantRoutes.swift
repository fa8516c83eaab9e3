import Accounts
import Domain
import HTTPTypes
import Hummingbird
import NIOCore

/// Tenants, who belongs to them, who is invited, and the keys of their programs.
struct TenantRoutes {
    let accounts: AccountService
    let erasure: ErasureService

    var routes: [APIRoute] { tenants + members + invitations + keys }

    // MARK: Tenants

    private var tenants: [APIRoute] {
        [
            APIRoute(.get, "/api/tenants", .signedIn) { _, context in
                let tenants = try await accounts.identity(of: try context.principal()).tenants
                return .json(["items": .array(tenants.map { $0.tenant.json(role: $0.role) })])
            },
            APIRoute(.post, "/api/tenants", .person) { request, context in
                var fields = try RequestFields(await request.json())
                let name = fields.string("name", length: Tenant.nameCharacters)
                try fields.finish()
                let tenant = try await accounts.createTenant(
                    named: name, try context.principal(), requester: context.requester)
                return .json(tenant.json(role: .owner), status: .created)
            },
            APIRoute(.get, "/api/tenants/{id}", .scope("tenant:read")) { _, context in
                .json(try await accounts.tenant(try own(context).tenant).settings)
            },
            APIRoute(.patch, "/api/tenants/{id}", .scope("tenant:write")) { request, context in
                let principal = try own(context)
                var fields = try RequestFields(await request.json())
                let name = fields.optionalString("name", length: Tenant.nameCharacters)
                let origins = fields.optionalStrings("corsOrigins", maximumCount: Tenant.maximumOrigins)
                for origin in origins ?? [] where !CORSPolicy.isOrigin(origin) {
                    fields.fault("corsOrigins", "holds '\(origin.prefix(80))', which is no origin like https://app.example.com")
                }
                try fields.finish()
                let tenant = try await accounts.changeTenant(
                    principal, name: name, corsOrigins: origins, requester: context.requester)
                return .json(tenant.settings)
            },
            APIRoute(.delete, "/api/tenants/{id}", .scope("tenant:erase")) { request, context in
                try await erasure.erase(
                    tenant: try own(context).tenant, confirmation: request.query("confirm"), requester: context.requester)
                return .noContent
            },
            APIRoute(.get, "/api/tenants/{id}/export", .scope("tenant:export")) { _, context in
                let tenant = try own(context).tenant
                try await erasure.beginExport(tenant: tenant, requester: context.requester)
                return Response(
                    status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"],
                    body: ResponseBody { writer in
                        var place: ExportPlace? = .start
                        while let from = place {
                            let (rows, next) = try await erasure.exportPage(tenant: tenant, from: from)
                            for row in rows { try await writer.write(ByteBuffer(string: row.json.text + "\n")) }
                            place = next
                        }
                        try await writer.finish(nil)
                    })
            },
        ]
    }

    /// The principal, when the path names its own tenant: another one is none.
    private func own(_ context: APIContext) throws(Problem) -> Principal {
        let principal = try context.principal()
        guard try context.id() == principal.tenant else { throw Problem.notFound("tenant") }
        return principal
    }

    // MARK: Members

    private var members: [APIRoute] {
        [
            APIRoute(.get, "/api/users", .scope("members:read")) { request, context in
                let page = try await accounts.members(try context.principal(), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.get, "/api/users/{id}", .scope("members:read")) { _, context in
                .json(try await accounts.member(try context.principal(), try context.id()).json)
            },
            APIRoute(.patch, "/api/users/{id}", .scope("members:write")) { request, context in
                let user: UserID = try context.id()
                var fields = try RequestFields(await request.json())
                let role = self.role(&fields)
                try fields.finish()
                let member = try await accounts.changeRole(
                    try context.principal(), of: user, to: role, requester: context.requester)
                return .json(member.json)
            },
            APIRoute(.delete, "/api/users/{id}", .scope("members:write")) { _, context in
                try await accounts.remove(try context.principal(), try context.id(), requester: context.requester)
                return .noContent
            },
        ]
    }

    /// The role, or one that nobody gets beside a fault.
    private func role(_ fields: inout RequestFields) -> Role {
        let text = fields.string("role", length: 1...20)
        if let role = Role(rawValue: text) { return role }
        if !text.isEmpty { fields.fault("role", "must be one of \(Role.allCases.map(\.rawValue).joined(separator: ", "))") }
        return .viewer
    }

    // MARK: Invitations

    private var invitations: [APIRoute] {
        [
            APIRoute(.get, "/api/invitations", .scope("members:read")) { request, context in
                let page = try await accounts.invitations(try context.principal(), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.post, "/api/invitations", .scope("members:write")) { request, context in
                var fields = try RequestFields(await request.json())
                let email = fields.string("email", length: 3...254)
                if !email.isEmpty, !AccountService.isEmail(email) { fields.fault("email", "must be an email address") }
                let role = self.role(&fields)
                try fields.finish()
                let (invitation, token) = try await accounts.invite(
                    try context.principal(), email: email, role: role, requester: context.requester)
                return .json(invitation.json(token: token), status: .created)
            },
            APIRoute(.delete, "/api/invitations/{id}", .scope("members:write")) { _, context in
                try await accounts.revokeInvitation(
                    try context.principal(), try context.id(), requester: context.requester)
                return .noContent
            },
        ]
    }

    // MARK: API keys

    private var keys: [APIRoute] {
        [
            APIRoute(.get, "/api/api-keys", .scope("keys:read")) { request, context in
                let page = try await accounts.keys(try context.principal(), page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.post, "/api/api-keys", .scope("keys:write")) { request, context in
                var fields = try RequestFields(await request.json())
                let name = fields.string("name", length: APIKey.nameCharacters)
                let scopes = fields.optionalStrings("scopes", maximumCount: Role.keyScopes.count) ?? []
                let known = Role.keyScopes.joined(separator: ", ")
                if scopes.isEmpty || !scopes.allSatisfy(Role.keyScopes.contains) {
                    fields.fault("scopes", "must hold one or more of \(known)")
                }
                let expiry = fields.optionalTime("expiresAt")
                if let expiry, expiry <= accounts.now { fields.fault("expiresAt", "must be in the future") }
                try fields.finish()
                let (key, text) = try await accounts.createKey(
                    try context.principal(), name: name, scopes: Set(scopes).sorted(), expiresAt: expiry,
                    requester: context.requester)
                return .json(key.json(text: text), status: .created)
            },
            APIRoute(.delete, "/api/api-keys/{id}", .scope("keys:write")) { _, context in
                try await accounts.revokeKey(try context.principal(), try context.id(), requester: context.requester)
                return .noContent
            },
        ]
    }
}
