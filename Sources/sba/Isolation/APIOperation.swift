import Accounts
import Domain

/// One operation as the server's own contract describes it.
struct APIOperation: Sendable {
    let method: String
    let path: String
    /// `open`, `signed-in`, `person` or a scope.
    let permission: String
    /// A body that the contract gives as an example.
    let example: JSONValue?

    /// Reads every operation of an OpenAPI document.
    static func all(of document: JSONValue) -> [APIOperation] {
        (document["paths"]?.object ?? [:]).sorted { $0.key < $1.key }.flatMap { path, item in
            ["get", "post", "put", "patch", "delete"].compactMap { method in
                guard let operation = item[method], operation.object != nil else { return nil }
                let content = operation["requestBody"]?["content"]?["application/json"]
                let examples = content?["examples"]?.object?.sorted { $0.key < $1.key }
                return APIOperation(
                    method: method.uppercased(), path: path, permission: operation["x-permission"]?.string ?? "missing",
                    example: content?["example"] ?? examples?.first?.value["value"])
            }
        }
    }

    var name: String { "\(method) \(path)" }
    var isOpen: Bool { permission == "open" }
    var hasID: Bool { path.contains("{id}") }
    var concernsPlatform: Bool { permission.hasPrefix("platform:") }

    /// The resource that `{id}` is of: `runs`, `users`.
    var resource: String {
        path.split(separator: "/").prefix { $0 != "{id}" }.last.map(String.init) ?? ""
    }

    /// - Parameter delivery: one of the webhook `id`.
    func path(id: String, delivery: String? = nil) -> String {
        path.replacing("{id}", with: id).replacing("{delivery}", with: delivery ?? id).replacing("{type}", with: "no.type")
    }

    /// Whether a role may use it, as far as that depends on the role.
    func isAllowed(to role: Role) -> Bool {
        let nobody = Identifier<Void>(Ambient.system.makeID()).uuid
        let principal = Principal(tenant: TenantID(nobody), user: UserID(nobody), scopes: role.scopes)
        return ["open", "signed-in", "person"].contains(permission) || principal.may(permission)
    }
}
