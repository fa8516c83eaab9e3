import Domain

/// Finds the passages of a tenant's documents that answer a question.
public struct KnowledgeSearch: Sendable {
    public static let maximumLimit = 50

    private let store: any KnowledgeStore

    public init(store: any KnowledgeStore) { self.store = store }

    /// Searches by words (BM25). `limit` is held between 1 and `maximumLimit`.
    public func keyword(tenant: TenantID, query: String, collection: String?, limit: Int) async throws -> [SearchHit] {
        let terms = SearchTerms(query)
        guard !terms.words.isEmpty else { return [] }
        let limit = min(max(1, limit), Self.maximumLimit)
        return try await store.search(tenant: tenant, terms: terms, collection: collection, limit: limit)
    }
}
