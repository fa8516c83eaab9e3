import Domain

/// A piece of a document: what is indexed, found and cited.
public struct Chunk: Hashable, Sendable {
    public let id: ChunkID
    /// The position in the document, from 0.
    public let ordinal: Int
    /// The headings above it, joined by ` › `; empty before the first.
    public let heading: String
    public let text: String

    public init(id: ChunkID, ordinal: Int, heading: String, text: String) {
        self.id = id
        self.ordinal = ordinal
        self.heading = heading
        self.text = text
    }
}

/// A chunk that a search found.
public struct SearchHit: Hashable, Sendable {
    public let document: DocumentID
    public let chunk: ChunkID
    public let title: String
    public let heading: String
    public let text: String
    /// Larger is better; comparable within one search only.
    public let score: Double

    public init(document: DocumentID, chunk: ChunkID, title: String, heading: String, text: String, score: Double) {
        self.document = document
        self.chunk = chunk
        self.title = title
        self.heading = heading
        self.text = text
        self.score = score
    }
}

/// Holds documents, their chunks and the full-text index over them.
///
/// Every call is atomic and sees one tenant only. A chunk is found from the moment `finishIndexing` returns, and never
/// after `delete` returned.
public protocol KnowledgeStore: Sendable {
    /// Stores the document as `pending`, together with the job that will index it. Repeating it with the same id
    /// changes nothing.
    func add(tenant: TenantID, _ document: NewDocument) async throws

    func document(tenant: TenantID, _ id: DocumentID) async throws -> Document?

    /// Newest first.
    func documents(tenant: TenantID, collection: String?, page: PageRequest) async throws -> Page<Document>

    /// The document with its text, or `nil` when there is none.
    func content(tenant: TenantID, _ id: DocumentID) async throws -> NewDocument?

    /// Replaces the document's chunks and makes it `ready`. Does nothing when the document was deleted meanwhile.
    func finishIndexing(tenant: TenantID, _ id: DocumentID, chunks: [Chunk]) async throws

    /// Marks the document `failed` and removes its chunks. Does nothing when the document was deleted meanwhile.
    func failIndexing(tenant: TenantID, _ id: DocumentID, reason: String) async throws

    /// Removes the document and its chunks; answers whether it existed.
    func delete(tenant: TenantID, _ id: DocumentID) async throws -> Bool

    /// The best chunks of ready documents by full text, best first.
    func search(tenant: TenantID, terms: SearchTerms, collection: String?, limit: Int) async throws -> [SearchHit]
}
