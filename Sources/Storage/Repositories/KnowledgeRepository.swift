import Automation
import Domain
import Foundation
import Knowledge
import Queue

/// Documents, chunks and their full-text index.
public struct KnowledgeRepository: KnowledgeStore {
    /// The kind of the job that indexes a document.
    public static let indexJob = JobKind(rawValue: "index_document")
    private static let maximumIndexAttempts = 5

    private let engine: any SQLEngine
    private let ambient: Ambient

    public init(engine: any SQLEngine, ambient: Ambient = .system) {
        self.engine = engine
        self.ambient = ambient
    }

    public func add(tenant: TenantID, _ document: NewDocument) async throws {
        let now = ambient.now()
        let job = NewJob(
            id: JobID(document.id.uuid), kind: Self.indexJob, subject: document.id.uuid,
            maximumAttempts: Self.maximumIndexAttempts)
        _ = try await engine.write(
            Batch(
                .tenant(tenant),
                [
                    SQLStatement(
                        """
                        INSERT INTO documents (
                            tenant_id, id, title, collection, metadata, media_type, byte_count, status, created_at, updated_at
                        ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'pending', ?8, ?8)
                        ON CONFLICT (tenant_id, id) DO NOTHING
                        """,
                        [
                            .id(tenant), .id(document.id), .text(document.title), .text(document.collection),
                            .json(document.metadata.text), .text(document.mediaType.rawValue),
                            .int(document.content.count), .time(now),
                        ]),
                    SQLStatement(
                        """
                        INSERT INTO document_contents (tenant_id, document_id, content) VALUES (?1, ?2, ?3)
                        ON CONFLICT (tenant_id, document_id) DO NOTHING
                        """,
                        [.id(tenant), .id(document.id), .bytes(document.content)]),
                ] + JobRepository.inserts(tenant: tenant, [job]),
                isRepeatable: true))
    }

    private static let columns = """
        id, title, collection, metadata, media_type, byte_count, status, failure, chunk_count, created_at, updated_at
        """

    private static func document(_ row: SQLRow) -> Document {
        Document(
            id: row.id(0), title: row.text(1), collection: row.text(2), metadata: row.json(3), mediaType: row.value(4),
            byteCount: Int(row.int(5)), status: row.value(6), failure: row.optionalText(7), chunkCount: Int(row.int(8)),
            createdAt: row.time(9), updatedAt: row.time(10))
    }

    public func document(tenant: TenantID, _ id: DocumentID) async throws -> Document? {
        let answers = try await engine.read(
            Batch(
                .tenant(tenant),
                [
                    SQLStatement(
                        "SELECT \(Self.columns) FROM documents WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
                ]))
        return answers[0].rows.first.map(Self.document)
    }

    public func documents(tenant: TenantID, collection: String?, page: PageRequest) async throws -> Page<Document> {
        let select = SQLStatement.page(
            of: "documents", columns: Self.columns, tenant, page, where: collection.map { [("collection", .text($0))] } ?? [])
        let answers = try await engine.read(Batch(.tenant(tenant), [select]))
        return Page(fetched: answers[0].rows.map(Self.document), limit: page.limit) { $0.id.uuid }
    }

    public func content(tenant: TenantID, _ id: DocumentID) async throws -> NewDocument? {
        let answers = try await engine.read(
            Batch(
                .tenant(tenant),
                [
                    SQLStatement(
                        """
                        SELECT d.title, d.collection, d.metadata, d.media_type, c.content FROM documents d
                        JOIN document_contents c ON c.tenant_id = d.tenant_id AND c.document_id = d.id
                        WHERE d.tenant_id = ?1 AND d.id = ?2
                        """,
                        [.id(tenant), .id(id)])
                ]))
        return answers[0].rows.first.map { row in
            NewDocument(
                id: id, title: row.text(0), collection: row.text(1), metadata: row.json(2), mediaType: row.value(3),
                content: row.bytes(4))
        }
    }

    /// The document comes first: of two that index it at the same time, the second then waits, and sees the first one's
    /// chunks.
    public func finishIndexing(tenant: TenantID, _ id: DocumentID, chunks: [Chunk]) async throws {
        let inserts = chunks.map { chunk in
            SQLStatement(
                """
                INSERT INTO chunks (tenant_id, id, document_id, ordinal, title, heading, text)
                SELECT ?1, ?2, ?3, ?4, title, ?5, ?6 FROM documents WHERE tenant_id = ?1 AND id = ?3
                """,
                [.id(tenant), .id(chunk.id), .id(id), .int(chunk.ordinal), .text(chunk.heading), .text(chunk.text)])
        }
        let ready = SQLStatement(
            """
            UPDATE documents SET status = 'ready', failure = NULL, chunk_count = ?3, updated_at = ?4
            WHERE tenant_id = ?1 AND id = ?2
            """,
            [.id(tenant), .id(id), .int(chunks.count), .time(ambient.now())])
        _ = try await engine.write(
            Batch(
                .tenant(tenant), [ready, Self.deleteChunks(tenant, id)] + inserts + [event(tenant, id, "indexed", nil)],
                isRepeatable: true))
    }

    public func failIndexing(tenant: TenantID, _ id: DocumentID, reason: String) async throws {
        let failed = SQLStatement(
            """
            UPDATE documents SET status = 'failed', failure = ?3, chunk_count = 0, updated_at = ?4
            WHERE tenant_id = ?1 AND id = ?2
            """,
            [.id(tenant), .id(id), .text(reason), .time(ambient.now())])
        _ = try await engine.write(
            Batch(
                .tenant(tenant), [failed, Self.deleteChunks(tenant, id), event(tenant, id, "failed", reason)],
                isRepeatable: true))
    }

    /// What other servers are told of a document that is still there.
    private func event(_ tenant: TenantID, _ id: DocumentID, _ what: String, _ reason: String?) -> SQLStatement {
        OutgoingEvent(
            id: EventID(ambient.makeID()), type: "document.\(what)",
            data: ["documentId": .string("\(id)"), "error": JSONValue(reason)], time: ambient.now()
        ).insert(
            tenant: tenant, where: "EXISTS (SELECT 1 FROM documents WHERE tenant_id = ?1 AND id = ?6)", [.id(id)])
    }

    private static func deleteChunks(_ tenant: TenantID, _ id: DocumentID) -> SQLStatement {
        SQLStatement("DELETE FROM chunks WHERE tenant_id = ?1 AND document_id = ?2", [.id(tenant), .id(id)])
    }

    public func delete(tenant: TenantID, _ id: DocumentID) async throws -> Bool {
        // Its chunks go with it.
        let delete = SQLStatement("DELETE FROM documents WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
        return try await engine.write(Batch(.tenant(tenant), [delete], isRepeatable: true))[0].changes == 1
    }

    public func search(
        tenant: TenantID, terms: SearchTerms, collection: String?, limit: Int
    ) async throws -> [SearchHit] {
        let query = engine.dialect.fullTextQuery(tenant: tenant, words: terms.words)
        let answers = try await engine.read(
            Batch(
                .tenant(tenant),
                [
                    SQLStatement(
                        engine.dialect.searchChunks, [.id(tenant), .text(query), .text(collection), .int(limit)])
                ]))
        return answers[0].rows.map { row in
            SearchHit(
                document: row.id(0), chunk: row.id(1), title: row.text(2), heading: row.text(3), text: row.text(4),
                score: row.double(5))
        }
    }
}
