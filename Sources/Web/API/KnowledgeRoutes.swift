import Domain
import Foundation
import HTTPTypes
import Hummingbird
import Knowledge

/// Documents in, passages out.
struct KnowledgeRoutes {
    let store: any KnowledgeStore
    let search: KnowledgeSearch
    let ambient: Ambient
    /// Tells the workers that a document waits to be indexed.
    let jobs: Signal

    var routes: [APIRoute] {
        [
            APIRoute(.post, "/api/knowledge/documents", .scope("knowledge:write")) { try await add($0, $1) },
            APIRoute(.get, "/api/knowledge/documents", .scope("knowledge:read")) { request, context in
                let collection = request.query("collection")
                if let collection, !NewDocument.isCollectionName(collection) {
                    throw Problem(.invalidRequest, "collection must be the name of a collection.")
                }
                let page = try await store.documents(
                    tenant: try context.principal().tenant, collection: collection, page: try request.page())
                return .json(page.json(\.json))
            },
            APIRoute(.get, "/api/knowledge/documents/{id}", .scope("knowledge:read")) { _, context in
                let found = try await store.document(tenant: try context.principal().tenant, try context.id())
                guard let found else { throw Problem.notFound("document") }
                return .json(found.json)
            },
            APIRoute(.delete, "/api/knowledge/documents/{id}", .scope("knowledge:write")) { _, context in
                guard try await store.delete(tenant: try context.principal().tenant, try context.id()) else {
                    throw Problem.notFound("document")
                }
                return .noContent
            },
            APIRoute(.post, "/api/knowledge/search", .scope("knowledge:read")) { try await find($0, $1) },
        ]
    }

    private func add(_ request: Request, _ context: APIContext) async throws -> Response {
        let tenant = try context.principal().tenant
        let id = DocumentID(ambient.makeID())
        let document =
            if request.mediaType == "multipart/form-data" {
                try await formDocument(request, id)
            } else {
                try await jsonDocument(request, id)
            }
        try await store.add(tenant: tenant, document)
        jobs.notify()
        guard let stored = try await store.document(tenant: tenant, id) else { throw Problem.notFound("document") }
        var response = Response.json(stored.json, status: .accepted)
        response.headers[.location] = "/api/knowledge/documents/\(id)"
        return response
    }

    private func jsonDocument(_ request: Request, _ id: DocumentID) async throws -> NewDocument {
        var fields = try RequestFields(await request.json(upTo: RequestBounds.documentBytes))
        let title = fields.string("title", length: 1...NewDocument.maximumTitleCharacters)
        let text = fields.string("text", length: 1...NewDocument.maximumBytes)
        let collection = fields.optionalString("collection", length: 1...64)
        let metadata = fields.optionalObject("metadata")
        let type = fields.optionalString("mediaType", length: 1...100)
        let mediaType = type.map { MediaType(rawValue: $0) } ?? .markdown
        if mediaType == nil { fields.fault("mediaType", "must be one of \(Self.mediaTypes)") }
        check(collection: collection, bytes: text.utf8.count, of: "text", &fields)
        try fields.finish()
        return NewDocument(
            id: id, title: title, collection: collection ?? NewDocument.defaultCollection, metadata: metadata ?? [:],
            mediaType: mediaType ?? .plain, content: Array(text.utf8))
    }

    private static let mediaTypes = MediaType.allCases.map(\.rawValue).joined(separator: ", ")

    private func check(collection: String?, bytes: Int, of part: String, _ fields: inout RequestFields) {
        if let collection, !NewDocument.isCollectionName(collection) {
            fields.fault("collection", "must be 1 to 64 of a-z, 0-9, - and _, starting with a letter or digit")
        }
        if bytes > NewDocument.maximumBytes {
            fields.fault(part, "may have at most \(NewDocument.maximumBytes) bytes")
        }
    }

    /// A form with a part `file`, and perhaps `title`, `collection` and `metadata` (JSON).
    private func formDocument(_ request: Request, _ id: DocumentID) async throws -> NewDocument {
        let contentType = request.headers[.contentType] ?? ""
        let body = try await request.collect(upTo: RequestBounds.documentBytes)
        let form = try MultipartForm(contentType: contentType, body: Array(body.readableBytesView))
        guard let file = form["file"] else {
            throw Problem(.invalidRequest, "The form needs a part named 'file' with the document.")
        }
        guard let mediaType = MediaType(contentType: file.contentType, fileName: file.fileName) else {
            throw Problem(.unsupportedMediaType, "The file must be one of \(Self.mediaTypes).")
        }
        var members: [String: JSONValue] = [:]
        for part in form.parts where part.name != "file" {
            guard let text = String(validating: part.content, as: UTF8.self), !text.contains("\0") else {
                throw Problem(.invalidRequest, "The part '\(part.name.prefix(64))' is not text in UTF-8.")
            }
            members[part.name] = part.name == "metadata" ? try? JSONValue(parsing: text) : .string(text)
            if members[part.name] == nil { throw Problem(.invalidRequest, "The part 'metadata' is not JSON.") }
        }
        var fields = try RequestFields(.object(members))
        let title = fields.optionalString("title", length: 1...NewDocument.maximumTitleCharacters)
        let collection = fields.optionalString("collection", length: 1...64)
        let metadata = fields.optionalObject("metadata")
        check(collection: collection, bytes: file.content.count, of: "file", &fields)
        if file.content.isEmpty { fields.fault("file", "is empty") }
        if file.fileName?.contains("\0") == true { fields.fault("file", "has a name with a NUL in it") }
        try fields.finish()
        let name = file.fileName.flatMap { $0.isEmpty ? nil : String($0.prefix(NewDocument.maximumTitleCharacters)) }
        return NewDocument(
            id: id, title: title ?? name ?? "Untitled", collection: collection ?? NewDocument.defaultCollection,
            metadata: metadata ?? [:], mediaType: mediaType, content: file.content)
    }

    private func find(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try RequestFields(await request.json())
        let query = fields.string("query", length: 1...SearchTerms.maximumQueryCharacters)
        let collection = fields.optionalString("collection", length: 1...64)
        let limit = fields.optionalInt("limit", in: 1...KnowledgeSearch.maximumLimit) ?? 10
        let mode = fields.optionalString("mode", length: 1...20) ?? "keyword"
        if mode != "keyword" { fields.fault("mode", "must be keyword: no embedding model is part of this version") }
        try fields.finish()
        let hits = try await search.keyword(
            tenant: try context.principal().tenant, query: query, collection: collection, limit: limit)
        return .json(["items": .array(hits.map(\.json)), "mode": .string(mode), "degraded": false])
    }
}
