import Domain

/// Lets the audit log be read, which it notes.
public struct AuditService: Sendable {
    private let store: any AuditStore
    private let ambient: Ambient

    public init(store: any AuditStore, ambient: Ambient = .system) {
        self.store = store
        self.ambient = ambient
    }

    /// Rows of the principal's tenant, newest first.
    public func entries(
        _ principal: Principal, _ filter: AuditFilter, page: PageRequest, requester: Requester
    ) async throws -> Page<AuditEntry> {
        try await store.entries(
            tenant: principal.tenant, filter, page: page, reading: reading(principal.tenant, requester))
    }

    /// Rows that concern the platform, newest first.
    public func platformEntries(
        _ filter: AuditFilter, page: PageRequest, requester: Requester
    ) async throws -> Page<AuditEntry> {
        try await store.platformEntries(filter, page: page, reading: reading(nil, requester))
    }

    private func reading(_ tenant: TenantID?, _ requester: Requester) -> AuditEntry {
        AuditEntry(
            id: AuditID(ambient.makeID()), tenant: tenant, requester: requester, action: .auditRead,
            time: ambient.now())
    }
}
