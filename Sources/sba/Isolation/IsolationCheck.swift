import Accounts
import Domain

/// Tries every operation of a server's contract as somebody who must not: without a token, with each role, and from another
/// tenant. It works in two tenants of its own, which it makes and erases, and touches nothing else.
struct IsolationCheck {
    /// What came of one operation.
    struct Row: Sendable {
        let operation: String
        let permission: String
        /// In the order of `columns`: what was answered, and whether that is right.
        var cells: [(text: String, isRight: Bool)]
    }

    static let columns = ["nobody"] + Role.allCases.map(\.rawValue) + ["other tenant", "X-Tenant-Id"]

    /// A word of the first tenant's documents and prompts that no answer to the other may hold.
    private let marker: String
    private let client: APIClient
    private let mine: TrialTenant
    private let other: TrialTenant

    /// Makes the tenants with members of every role, works, and erases them.
    ///
    /// - Parameter client: signed in as an operator.
    static func run(_ client: APIClient) async throws -> [Row] {
        let run = "\(Identifier<Void>(Ambient.system.makeID()))"
        let marker = "isolation" + run.filter { $0 != "-" }
        let mine = try await TrialTenant.make("isolation-a-\(run)", client)
        let result = await Result {
            let other = try await TrialTenant.make("isolation-b-\(run)", client)
            let result = await Result {
                let mine = try await mine.filled(with: marker)
                return try await IsolationCheck(marker: marker, client: client, mine: mine, other: other).rows()
            }
            try await other.erase(client)
            return try result.get()
        }
        try await mine.erase(client)
        return try result.get()
    }

    private func rows() async throws -> [Row] {
        let document = try await client.send("GET", "/openapi.json")
        var rows: [Row] = []
        for operation in APIOperation.all(of: document) { rows.append(try await row(operation)) }
        rows.append(try await survival())
        return rows
    }

    private func row(_ operation: APIOperation) async throws -> Row {
        var row = Row(operation: operation.name, permission: operation.permission, cells: [])
        row.cells.append(try await asNobody(operation))
        for role in Role.allCases { row.cells.append(try await asRole(operation, role)) }
        row.cells += try await asStranger(operation)
        return row
    }

    private static let notTried = (text: "–", isRight: true)

    /// An id that is nobody's.
    private var noID: String { "\(Identifier<Void>(Ambient.system.makeID()))" }

    private func asNobody(_ operation: APIOperation) async throws -> (text: String, isRight: Bool) {
        guard !operation.isOpen else { return Self.notTried }
        let answer = try await client.exchange(operation.method, operation.path(id: noID), token: "")
        return ("\(answer.status)", answer.status == 401)
    }

    /// With an id that is nobody's and no body, so that whoever may is told what is wrong, and nothing is changed.
    private func asRole(_ operation: APIOperation, _ role: Role) async throws -> (text: String, isRight: Bool) {
        // What is for everybody who is signed in does not depend on the role; some of it would end the sign-in.
        guard !["open", "signed-in", "person"].contains(operation.permission) else { return Self.notTried }
        let answer = try await client.exchange(
            operation.method, operation.path(id: noID), token: mine.tokens[role] ?? "",
            body: operation.method == "GET" || operation.method == "DELETE" ? nil : [:])
        return ("\(answer.status)", (answer.status == 403) != operation.isAllowed(to: role))
    }

    /// As the owner of the other tenant: what is the first one's is not there, by its id or by naming the tenant.
    private func asStranger(_ operation: APIOperation) async throws -> [(text: String, isRight: Bool)] {
        guard !operation.isOpen, operation.permission != "person", !operation.concernsPlatform else {
            return [Self.notTried, Self.notTried]
        }
        let token = other.tokens[.owner] ?? ""
        let elsewhere = try await client.exchange(
            operation.method, operation.path(id: mine.ids[operation.resource] ?? noID, delivery: mine.ids["deliveries"]),
            token: token,
            headers: [("X-Tenant-Id", mine.id)], body: operation.example)
        let named = ("\(elsewhere.status)", elsewhere.status == 404)
        guard operation.hasID else {
            // Only what reads may be done: what is made would be the other tenant's own.
            let reads = operation.method == "GET" || operation.path == "/api/knowledge/search"
            guard reads else { return [Self.notTried, named] }
            let search: JSONValue? = operation.method == "POST" ? ["query": .string(marker)] : nil
            let answer = try await client.exchange(operation.method, operation.path, token: token, body: search)
            let found = mine.traces(marker).filter { answer.text.contains($0) }
            return [("\(answer.status)", answer.status == 200 && found.isEmpty), named]
        }
        guard let id = mine.ids[operation.resource] else { return [("no example", false), named] }
        let answer = try await client.exchange(
            operation.method, operation.path(id: id, delivery: mine.ids["deliveries"]), token: token, body: operation.example)
        return [("\(answer.status)", answer.status == 404), named]
    }

    /// After all of it everything of the first tenant is still there.
    private func survival() async throws -> Row {
        var missing: [String] = []
        for (resource, path) in TrialTenant.places {
            let id = mine.ids[resource] ?? noID
            let answer = try await client.exchange("GET", path + id, token: mine.tokens[.owner] ?? "")
            if answer.status != 200 { missing.append(resource) }
        }
        let cell = (text: missing.isEmpty ? "all there" : "gone: \(missing.joined(separator: " "))", isRight: missing.isEmpty)
        return Row(operation: "afterwards, the first tenant's", permission: "", cells: [cell])
    }
}
