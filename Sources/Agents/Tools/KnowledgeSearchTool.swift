import Domain
import Knowledge
import Models

/// Finds passages in the tenant's documents and numbers them, so that an answer can cite them.
public struct KnowledgeSearchTool: Tool {
    /// Passages a model is given unless it asks for another number.
    private static let defaultLimit = 5
    private static let maximumLimit = 10

    public let definition: ToolDefinition
    private let search: KnowledgeSearch

    public init(search: KnowledgeSearch) throws(Problem) {
        self.search = search
        definition = ToolDefinition(
            name: ExtractiveChatModel.searchTool,
            description: "Searches the company's own documents. Cite what you use as [1], [2] by its citation number.",
            parameters: try JSONSchema([
                "type": "object", "required": ["query"], "additionalProperties": false,
                "properties": [
                    "query": ["type": "string", "minLength": 1, "maxLength": .int(Int64(SearchTerms.maximumQueryCharacters))],
                    "limit": ["type": "integer", "minimum": 1, "maximum": .int(Int64(Self.maximumLimit))],
                ],
            ]),
            timeout: .seconds(10), isIdempotent: true, scope: "knowledge:read")
    }

    public func call(_ arguments: JSONValue, context: ToolContext) async throws -> ToolOutput {
        let hits = try await search.keyword(
            tenant: context.principal.tenant, query: arguments["query"]?.string ?? "", collection: context.collection,
            limit: arguments["limit"]?.double.map { Int($0) } ?? Self.defaultLimit)
        let passages = hits.enumerated().map { offset, hit -> [String: JSONValue] in
            [
                "citation": .int(Int64(offset + 1)), "documentId": .string("\(hit.document)"),
                "chunkId": .string("\(hit.chunk)"), "title": .string(hit.title), "heading": .string(hit.heading),
                "text": .string(hit.text),
            ]
        }
        let list = JSONValue.array(passages.map { .object($0) })
        return ToolOutput(content: JSONValue.object(["passages": list]).text, citations: list)
    }
}
