import Accounts
import Domain

/// A tenant that is there for a trial, with one member of each role.
struct TrialTenant {
    /// Where what a tenant has can be read by its id.
    static let places = [
        "runs": "/api/agent/runs/", "documents": "/api/knowledge/documents/", "users": "/api/users/", "tenants": "/api/tenants/",
        "schedules": "/api/schedules/", "webhooks": "/api/webhooks/",
    ]

    let id: String
    let name: String
    var tokens: [Role: String] = [:]
    /// One of each resource, by its name in paths.
    private(set) var ids: [String: String] = [:]
    private let client: APIClient

    /// - Parameter client: signed in as an operator, who becomes an owner too.
    static func make(_ name: String, _ client: APIClient) async throws -> TrialTenant {
        let made = try await client.send("POST", "/api/tenants", body: ["name": .string(name)])
        var tenant = TrialTenant(id: made["id"]?.string ?? "", name: name, client: client)
        let result = await Result { try await tenant.addMembers() }
        do { try result.get() } catch {
            try await tenant.erase(client)
            throw error
        }
        return tenant
    }

    private init(id: String, name: String, client: APIClient) {
        (self.id, self.name, self.client) = (id, name, client)
        ids["tenants"] = id
    }

    private mutating func addMembers() async throws {
        for role in Role.allCases {
            let invitation = try await client.exchange(
                "POST", "/api/invitations", headers: [("X-Tenant-Id", id)],
                body: ["email": .string("\(name)-\(role.rawValue)@example.invalid"), "role": .string(role.rawValue)]
            ).json(201)
            let signIn = try await client.exchange(
                "POST", "/api/auth/invitations/accept", token: "",
                body: ["token": invitation["token"] ?? .null, "password": .string(SecretSealer.makeSecret())]
            ).json(200)
            tokens[role] = signIn["accessToken"]?.string
            if role == .member { ids["users"] = signIn["user"]?["id"]?.string }
        }
    }

    /// The tenant with one of each resource, which is made.
    func filled(with marker: String) async throws -> TrialTenant {
        var filled = self
        let bodies: [(resource: String, path: String, status: Int, body: JSONValue)] = [
            ("runs", "/api/agent/runs", 202, ["prompt": .string(marker), "options": ["tools": []]]),
            ("documents", "/api/knowledge/documents", 202, ["title": .string(marker), "text": .string(marker)]),
            ("api-keys", "/api/api-keys", 201, ["name": .string(marker), "scopes": ["runs:read"]]),
            ("invitations", "/api/invitations", 201, ["email": .string("\(marker)@example.invalid"), "role": "viewer"]),
            (
                "schedules", "/api/schedules", 201,
                ["name": .string(marker), "cron": "@yearly", "run": ["prompt": .string(marker)]]
            ),
            ("webhooks", "/api/webhooks", 201, ["url": .string("https://\(marker).invalid/"), "events": ["webhook.test"]]),
        ]
        let owner = tokens[.owner] ?? ""
        for (resource, path, status, body) in bodies {
            let made = try await client.exchange("POST", path, token: owner, body: body).json(status)
            filled.ids[resource] = made["id"]?.string
        }
        let delivery = try await client.exchange(
            "POST", "/api/webhooks/\(filled.ids["webhooks"] ?? "")/test", token: owner
        ).json(202)
        filled.ids["deliveries"] = delivery["id"]?.string
        _ = try await client.exchange(
            "PUT", "/api/meta-events/schemas/\(marker)", token: owner, body: ["schema": ["type": "object"]]
        ).json(200)
        _ = try await client.exchange(
            "POST", "/api/meta-events", token: owner, body: ["events": [["type": .string(marker), "data": [:]]]]
        ).json(202)
        return filled
    }

    /// What tells of this tenant wherever it stands.
    func traces(_ marker: String) -> [String] { [marker, name] + ids.values }

    /// Erases the tenant, and its members with it.
    func erase(_ client: APIClient) async throws {
        _ = try await client.send("DELETE", "/api/platform/tenants/\(id)?confirm=\(APIClient.escaped(name))")
    }
}
