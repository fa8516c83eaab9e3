import Foundation

/// One page of a list, and where the next begins.
public struct Page<Item: Sendable>: Sendable {
    public let items: [Item]
    /// The last item's id when more may follow, else `nil`.
    public let next: PageCursor?

    /// Builds a page from one row more than was asked for, which tells whether another page follows.
    public init(fetched items: [Item], limit: Int, id: (Item) -> UUID) {
        self.items = Array(items.prefix(limit))
        next = items.count > limit ? self.items.last.map { PageCursor(after: id($0)) } : nil
    }

    private init(items: [Item], next: PageCursor?) {
        self.items = items
        self.next = next
    }

    /// The same page of other items.
    public func map<Other: Sendable>(_ transform: (Item) -> Other) -> Page<Other> {
        Page<Other>(items: items.map(transform), next: next)
    }
}

/// A position in a list that is ordered by UUIDv7, newest first. Opaque to clients.
public struct PageCursor: Hashable, Sendable {
    public let after: UUID

    public init(after: UUID) { self.after = after }

    private static let prefix = "c1."

    /// The cursor as clients see it.
    public var text: String { Self.prefix + Identifier<Void>(after).description.filter { $0 != "-" } }

    /// Reads a cursor that `text` made; `nil` for anything else.
    public init?(text: String) {
        var hyphenated = text.dropFirst(Self.prefix.count)
        guard text.hasPrefix(Self.prefix), hyphenated.count == 32, hyphenated.allSatisfy(\.isASCII) else { return nil }
        for offset in [20, 16, 12, 8] {
            hyphenated.insert("-", at: hyphenated.index(hyphenated.startIndex, offsetBy: offset))
        }
        guard let id = Identifier<Void>(hyphenated) else { return nil }
        after = id.uuid
    }
}

/// What part of a list is wanted.
public struct PageRequest: Hashable, Sendable {
    /// A page holds at most this many items: more would hold a connection for too long.
    public static let maximumLimit = 100
    public static let defaultLimit = 20

    public let limit: Int
    public let cursor: PageCursor?

    public init(limit: Int = defaultLimit, cursor: PageCursor? = nil) {
        self.limit = min(max(1, limit), Self.maximumLimit)
        self.cursor = cursor
    }
}
