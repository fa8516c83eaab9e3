import Domain
import Foundation
import Knowledge
import Storage
import TestSupport
import Testing

/// What `KnowledgeStore` promises, on every engine.
@Suite("KnowledgeStore")
struct KnowledgeStoreConformanceTests {
    private func add(
        _ database: TestDatabase, _ tenant: TenantID, _ text: String, collection: String = "default"
    ) async throws -> DocumentID {
        let document = NewDocument(
            id: DocumentID(database.ambient.makeID()), title: "Handbook", collection: collection,
            metadata: ["source": "test"], mediaType: .markdown, content: Array(text.utf8))
        try await database.knowledge.add(tenant: tenant, document)
        try await DocumentIndexer(store: database.knowledge).index(tenant: tenant, document.id)
        return document.id
    }

    private func find(
        _ database: TestDatabase, _ tenant: TenantID, _ query: String, collection: String? = nil, limit: Int = 10
    ) async throws -> [SearchHit] {
        try await KnowledgeSearch(store: database.knowledge)
            .keyword(tenant: tenant, query: query, collection: collection, limit: limit)
    }

    @Test("an indexed document is found by its words, with its place", arguments: TestEngine.allCases)
    func search(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let id = try await add(
                database, tenant, "# Leave\n\n## Vacation\n\nEveryone has thirty days of vacation.\n\n## Illness\n\nCall in.")
            let hit = try #require(try await find(database, tenant, "How many vacation days?").first)
            #expect(hit.document == id)
            #expect(hit.heading == "Leave › Vacation")
            #expect(hit.text.contains("thirty days"))
            #expect(hit.score > 0)
            let document = try #require(try await database.knowledge.document(tenant: tenant, id))
            #expect(document.status == .ready)
            #expect(document.chunkCount == 2)
            #expect(document.metadata == ["source": "test"])
        }
    }

    @Test("another tenant's documents are never found, read or deleted", arguments: TestEngine.allCases)
    func tenancy(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let owner = try await database.makePrincipal().tenant
            let stranger = try await database.makePrincipal().tenant
            let id = try await add(database, owner, "The secret recipe needs saffron.")
            #expect(try await find(database, stranger, "saffron").isEmpty)
            #expect(try await find(database, stranger, "\(owner) saffron").isEmpty)
            #expect(try await database.knowledge.document(tenant: stranger, id) == nil)
            #expect(try await database.knowledge.content(tenant: stranger, id) == nil)
            #expect(try await database.knowledge.documents(tenant: stranger, collection: nil, page: .init()).items.isEmpty)
            #expect(try await database.knowledge.delete(tenant: stranger, id) == false)
            try await database.knowledge.finishIndexing(tenant: stranger, id, chunks: [])
            #expect(try await find(database, owner, "saffron").count == 1)
        }
    }

    @Test("a document that is indexed twice at once has its chunks once", arguments: TestEngine.allCases)
    func twice(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let id = try await add(database, tenant, "Vacation.")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    let chunks = (0..<20).map { Chunk(id: ChunkID(UUID()), ordinal: $0, heading: "", text: "Vacation \($0).") }
                    group.addTask { try await database.knowledge.finishIndexing(tenant: tenant, id, chunks: chunks) }
                }
                try await group.waitForAll()
            }
            let hits = try await find(database, tenant, "vacation", limit: 100)
            #expect(hits.count == 20)
        }
    }

    @Test("a deleted document is found no more", arguments: TestEngine.allCases)
    func deletion(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let id = try await add(database, tenant, "A pelican flew by.")
            #expect(try await database.knowledge.delete(tenant: tenant, id))
            #expect(try await find(database, tenant, "pelican").isEmpty)
            #expect(try await database.knowledge.delete(tenant: tenant, id) == false)
            let late = Chunk(id: ChunkID(UUID()), ordinal: 0, heading: "", text: "A pelican again.")
            try await database.knowledge.finishIndexing(tenant: tenant, id, chunks: [late])
            #expect(try await find(database, tenant, "pelican").isEmpty)
        }
    }

    @Test("indexing again replaces the chunks", arguments: TestEngine.allCases)
    func reindexing(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let id = try await add(database, tenant, "One heron stood there.")
            try await DocumentIndexer(store: database.knowledge).index(tenant: tenant, id)
            #expect(try await find(database, tenant, "heron").count == 1)
        }
    }

    @Test("a document that is no text fails and says why", arguments: TestEngine.allCases)
    func unreadable(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let document = NewDocument(
                id: DocumentID(UUID()), title: "Broken", mediaType: .plain, content: [0xFF, 0xFE, 0x41])
            try await database.knowledge.add(tenant: tenant, document)
            try await DocumentIndexer(store: database.knowledge).index(tenant: tenant, document.id)
            let stored = try #require(try await database.knowledge.document(tenant: tenant, document.id))
            #expect(stored.status == .failed)
            #expect(stored.failure?.contains("UTF-8") == true)
        }
    }

    @Test("collections part what is searched and listed", arguments: TestEngine.allCases)
    func collections(engine: TestEngine) async throws {
        try await TestDatabase.with(engine) { database in
            let tenant = try await database.makePrincipal().tenant
            let here = try await add(database, tenant, "The harbour opens at six.", collection: "harbour")
            _ = try await add(database, tenant, "The harbour closes at nine.", collection: "other")
            #expect(try await find(database, tenant, "harbour", collection: "harbour").map(\.document) == [here])
            #expect(try await find(database, tenant, "harbour").count == 2)
            let listed = try await database.knowledge.documents(tenant: tenant, collection: "harbour", page: .init())
            #expect(listed.items.map(\.id) == [here])
        }
    }

    @Test(
        "no query is a syntax error",
        arguments: ["\"", "AND", "tenant:x", "a OR", "NEAR(", "*", "(((", "-", "{title}: x", "col\"umn", "'; DROP TABLE chunks"])
    func hostileQueries(query: String) async throws {
        try await TestDatabase.with { database in
            let tenant = try await database.makePrincipal().tenant
            _ = try await add(database, tenant, "Nothing to see.")
            _ = try await find(database, tenant, query)
            #expect(try await find(database, tenant, "see nothing").count == 1)
        }
    }
}
