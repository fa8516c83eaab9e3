import Domain

/// A text that agents may answer from.
public struct Document: Hashable, Sendable {
    public enum Status: String, Sendable {
        /// Stored; its index is not made yet.
        case pending
        case ready
        case failed
    }

    public let id: DocumentID
    public let title: String
    /// The name of the collection it belongs to.
    public let collection: String
    /// Whatever the uploader wants to find again: a JSON object.
    public let metadata: JSONValue
    public let mediaType: MediaType
    public let byteCount: Int
    public let status: Status
    /// Why `status` is `failed`.
    public let failure: String?
    public let chunkCount: Int
    public let createdAt: Timestamp
    public let updatedAt: Timestamp

    public init(
        id: DocumentID, title: String, collection: String, metadata: JSONValue, mediaType: MediaType, byteCount: Int,
        status: Status, failure: String?, chunkCount: Int, createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.id = id
        self.title = title
        self.collection = collection
        self.metadata = metadata
        self.mediaType = mediaType
        self.byteCount = byteCount
        self.status = status
        self.failure = failure
        self.chunkCount = chunkCount
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

/// The formats that can be read.
public enum MediaType: String, CaseIterable, Sendable {
    case plain = "text/plain"
    case markdown = "text/markdown"
    case html = "text/html"

    /// The format of a declared content type or, when that says nothing, of a file name.
    public init?(contentType: String?, fileName: String?) {
        let type = contentType?.split(separator: ";").first.map { $0.trimmingSpaces.lowercased() }
        let parts = fileName?.split(separator: ".", omittingEmptySubsequences: false) ?? []
        let suffix = parts.count > 1 ? parts.last?.lowercased() : nil
        switch (type, suffix) {
        case ("text/markdown", _), ("text/x-markdown", _): self = .markdown
        case ("text/html", _), ("application/xhtml+xml", _): self = .html
        case ("text/plain", "md"), ("text/plain", "markdown"), (nil, "md"), (nil, "markdown"),
            ("application/octet-stream", "md"), ("application/octet-stream", "markdown"):
            self = .markdown
        case (nil, "html"), (nil, "htm"), ("application/octet-stream", "html"), ("application/octet-stream", "htm"):
            self = .html
        case ("text/plain", _), (nil, "txt"), ("application/octet-stream", "txt"): self = .plain
        default: return nil
        }
    }
}

/// A document on its way in.
public struct NewDocument: Sendable {
    /// A document holds at most this: larger ones are split by whoever uploads, so that indexing stays bounded.
    public static let maximumBytes = 8 << 20
    public static let maximumTitleCharacters = 300
    public static let defaultCollection = "default"

    public let id: DocumentID
    public let title: String
    public let collection: String
    public let metadata: JSONValue
    public let mediaType: MediaType
    /// UTF-8 text.
    public let content: [UInt8]

    public init(
        id: DocumentID, title: String, collection: String = defaultCollection, metadata: JSONValue = [:],
        mediaType: MediaType, content: [UInt8]
    ) {
        self.id = id
        self.title = title
        self.collection = collection
        self.metadata = metadata
        self.mediaType = mediaType
        self.content = content
    }

    /// Lowercase letters, digits, `-` and `_`, 1 to 64 characters, starting with a letter or digit.
    public static func isCollectionName(_ name: String) -> Bool {
        let allowed = name.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (48...57).contains(byte) || byte == 45 || byte == 95
        }
        return allowed && (1...64).contains(name.utf8.count) && !name.hasPrefix("-") && !name.hasPrefix("_")
    }
}

extension Substring {
    var trimmingSpaces: Substring {
        var trimmed = self.drop { $0 == " " || $0 == "\t" }
        while let last = trimmed.last, last == " " || last == "\t" { trimmed.removeLast() }
        return trimmed
    }
}
