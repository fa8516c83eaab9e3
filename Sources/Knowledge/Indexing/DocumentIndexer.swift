import Domain

/// Turns a stored document into searchable chunks.
public struct DocumentIndexer: Sendable {
    private let store: any KnowledgeStore
    private let chunker: Chunker
    /// Reading a large document takes seconds: not on the threads that serve requests.
    private let threads = ThreadPool<Void>(name: "indexer", threads: 1, maximumWaiting: maximumWaiting, make: {})
    private static let maximumWaiting = 1000

    public init(store: any KnowledgeStore, chunker: Chunker = Chunker()) {
        self.store = store
        self.chunker = chunker
    }

    /// Indexes the document; repeating it replaces the chunks. A document that cannot be read becomes `failed`, which is
    /// a finished job; only trouble with the store is thrown.
    public func index(tenant: TenantID, _ id: DocumentID) async throws {
        guard let document = try await store.content(tenant: tenant, id) else { return }
        let chunks: [Chunk]
        do {
            chunks = try await threads.run { [chunker] _ in
                try chunker.chunks(of: Extractor.blocks(of: document.content, mediaType: document.mediaType))
            }
        } catch let problem as Problem {
            try await store.failIndexing(tenant: tenant, id, reason: problem.detail)
            return
        }
        try Task.checkCancellation()
        try await store.finishIndexing(tenant: tenant, id, chunks: chunks)
    }

    /// The document could not be indexed, for a reason that is not its own.
    public func giveUp(tenant: TenantID, _ id: DocumentID) async throws {
        try await store.failIndexing(
            tenant: tenant, id, reason: "Indexing failed too often, or an operator gave it up. Upload the document again.")
    }
}
