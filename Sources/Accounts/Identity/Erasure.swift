import Domain

/// One row of an export: which table it stands in, and its columns.
public struct ExportedRow: Sendable {
    public let table: String
    public let columns: [String: JSONValue]

    public init(table: String, columns: [String: JSONValue]) {
        self.table = table
        self.columns = columns
    }

    public var json: JSONValue { ["table": .string(table), "row": .object(columns)] }
}

/// Where in an export one is.
public struct ExportPlace: Hashable, Sendable {
    /// The table's place in the order of the export.
    public let table: Int
    /// The key of the last row that was handed over, column by column.
    public let after: [String]?

    public init(table: Int, after: [String]? = nil) {
        self.table = table
        self.after = after
    }

    public static let start = ExportPlace(table: 0)
}

/// Takes everything of a tenant or of a person out of the database, or hands it over.
///
/// Erasing is one transaction with its audit row, which stays and names nobody. What is left in the files of the database
/// afterwards is overwritten by `scrub`, as far as this process can.
public protocol ErasureStore: Sendable {
    /// - Throws: `Problem` with `not_found`.
    func erase(tenant: TenantID, audit: AuditEntry) async throws

    /// The account, what the person signed in with, and the sessions and runs that they began. Audit rows and usage stay and
    /// no longer name them.
    ///
    /// - Throws: `Problem` with `not_found`, or `last_owner` when a tenant would have nobody left who owns it.
    func erase(user: UserID, audit: AuditEntry) async throws

    /// Overwrites what deleted rows have left in the files.
    func scrub() async throws

    /// Notes that a tenant is exported.
    func beginExport(tenant: TenantID, audit: AuditEntry) async throws

    /// Rows of a tenant from a place on, table by table, and where it goes on; `nil` at the end.
    func exportPage(tenant: TenantID, from place: ExportPlace) async throws -> (rows: [ExportedRow], next: ExportPlace?)

    /// Notes that a person is given what is there about them.
    func beginExport(user: UserID, audit: AuditEntry) async throws

    /// The same for the rows about a person: of the account, and of what they did in the tenants that they belong to.
    func exportPage(user: UserID, from place: ExportPlace) async throws -> (rows: [ExportedRow], next: ExportPlace?)
}

/// Erases and exports tenants and people.
public struct ErasureService: Sendable {
    private let store: any ErasureStore
    private let accounts: AccountService

    public init(store: any ErasureStore, accounts: AccountService) {
        self.store = store
        self.accounts = accounts
    }

    /// Erases a tenant and all it owns, for good.
    ///
    /// - Parameter confirmation: the tenant's name, so that nobody erases one by mistake.
    /// - Throws: `Problem` with `not_found` or `confirmation_wrong`.
    public func erase(tenant id: TenantID, confirmation: String?, requester: Requester) async throws {
        let tenant = try await accounts.tenant(id)
        guard confirmation == tenant.name else {
            throw Problem(
                .confirmationWrong, "This erases the tenant and all it owns. Send its name as ?confirm= to go on.")
        }
        var members: [User] = []
        var place: PageCursor?
        repeat {
            let page = try await accounts.store.members(
                tenant: id, page: PageRequest(limit: PageRequest.maximumLimit, cursor: place))
            members += page.items.map(\.user)
            place = page.next
        } while place != nil
        // The person who asked is not named: the fact stays when they too are gone.
        try await store.erase(
            tenant: id,
            audit: accounts.entry(
                .tenantErased, in: nil, by: Requester(requestID: requester.requestID), target: "tenant/\(id)"))
        try await store.scrub()
        try await accounts.mailer.forget(tenant: id)
        for member in members where try await accounts.store.user(member.id) == nil {
            try await accounts.mailer.forget(address: member.email)
        }
    }

    /// Erases the principal's own account.
    ///
    /// - Throws: `Problem` with `invalid_credentials` or `last_owner`.
    public func eraseOwnAccount(_ principal: Principal, password: String, requester: Requester) async throws {
        guard case .signIn = principal.credential else { throw AccountService.onlyPeople }
        try await accounts.check(password, of: principal, requester)
        try await erase(user: principal.user, requester: requester)
    }

    /// - Throws: `Problem` with `not_found` or `last_owner`.
    public func erase(user: UserID, requester: Requester) async throws {
        guard let email = try await accounts.store.user(user)?.email else {
            throw Problem(.notFound, "There is no such user.")
        }
        try await store.erase(
            user: user,
            audit: accounts.entry(
                .userErased, in: nil, by: Requester(requestID: requester.requestID), target: "user/\(user)"))
        try await store.scrub()
        try await accounts.mailer.forget(address: email)
    }

    public func beginExport(tenant: TenantID, requester: Requester) async throws {
        try await store.beginExport(
            tenant: tenant, audit: accounts.entry(.tenantExported, in: tenant, by: requester, target: "tenant/\(tenant)"))
    }

    /// Rows of a tenant from a place on, and where it goes on; `nil` at the end.
    public func exportPage(
        tenant: TenantID, from place: ExportPlace
    ) async throws -> (rows: [ExportedRow], next: ExportPlace?) {
        try await store.exportPage(tenant: tenant, from: place)
    }

    public func beginExport(ofOwnAccount principal: Principal, requester: Requester) async throws {
        try await store.beginExport(
            user: principal.user,
            audit: accounts.entry(
                .userExported, in: principal.tenant, by: requester, target: "user/\(principal.user)"))
    }

    /// Rows about a person from a place on, and where it goes on; `nil` at the end.
    public func exportPage(
        user: UserID, from place: ExportPlace
    ) async throws -> (rows: [ExportedRow], next: ExportPlace?) {
        try await store.exportPage(user: user, from: place)
    }
}
