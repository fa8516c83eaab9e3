import Accounts
import Domain
import HTTPTypes
import Hummingbird

/// What operators do, who run the platform for all tenants.
struct PlatformRoutes {
    let accounts: AccountService
    let erasure: ErasureService

    var routes: [APIRoute] { tenants + users + signingKeys }

    private var tenants: [APIRoute] {
        [
            APIRoute(.get, "/api/platform/tenants", .scope("platform:read")) { request, context in
                let page = try await accounts.tenants(page: try request.page(), requester: context.requester)
                return .json(page.json(\.summary))
            },
            APIRoute(.delete, "/api/platform/tenants/{id}", .scope("platform:write")) { request, context in
                try await erasure.erase(
                    tenant: try context.id(), confirmation: request.query("confirm"), requester: context.requester)
                return .noContent
            },
        ]
    }

    private var users: [APIRoute] {
        [
            APIRoute(.get, "/api/platform/users", .scope("platform:read")) { request, context in
                let page = try await accounts.users(
                    email: request.query("email"), page: try request.page(), requester: context.requester)
                return .json(page.json(\.json))
            },
            APIRoute(.patch, "/api/platform/users/{id}", .scope("platform:write")) { request, context in
                let user: UserID = try context.id()
                var fields = try RequestFields(await request.json())
                let isOperator = fields.bool("operator")
                try fields.finish()
                if user == (try context.principal().user), !isOperator {
                    throw Problem(.forbidden, "Nobody takes this from themselves: let another operator do it.")
                }
                return .json(
                    try await accounts.setOperator(user, isOperator, requester: context.requester).json)
            },
            APIRoute(.delete, "/api/platform/users/{id}", .scope("platform:write")) { _, context in
                try await erasure.erase(user: try context.id(), requester: context.requester)
                return .noContent
            },
        ]
    }

    private var signingKeys: [APIRoute] {
        [
            APIRoute(.post, "/api/platform/signing-keys", .scope("platform:write")) { _, context in
                let keys = try await accounts.rotateSigningKey(requester: context.requester)
                return .json(
                    [
                        "items": .array(
                            keys.map { key in
                                [
                                    "id": .string(key.id), "activeAt": JSONValue(key.activeAt),
                                    "retiredAt": JSONValue(key.retiredAt),
                                ]
                            })
                    ], status: .created)
            }
        ]
    }
}
