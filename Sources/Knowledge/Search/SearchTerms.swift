/// The words of a query that are worth looking up. A chunk matches when it holds any of them; the more, the better.
public struct SearchTerms: Hashable, Sendable {
    /// Beyond this, each further word costs time and hardly changes the order.
    public static let maximumTerms = 16
    public static let maximumQueryCharacters = 1000

    /// Lowercase, unique, letters and digits only.
    public let words: [String]

    /// Takes the words of a question. Very common ones are left out, unless nothing else is there.
    public init(_ query: String) {
        var seen: Set<String> = []
        let all = query.prefix(Self.maximumQueryCharacters).lowercased()
            .split { !$0.isLetter && !$0.isNumber }
            .map(String.init)
            .filter { seen.insert($0).inserted }
        let meaningful = all.filter { !Self.stopWords.contains($0) }
        words = Array((meaningful.isEmpty ? all : meaningful).prefix(Self.maximumTerms))
    }

    /// English function words: they are in most chunks, so they cost most and say least.
    private static let stopWords: Set<String> = [
        "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by",
        "can", "could", "did", "do", "does", "each", "for", "from", "had", "has", "have", "he", "her", "his", "how",
        "i", "if", "in", "into", "is", "it", "its", "just", "may", "me", "my", "no", "not", "of", "on", "one", "or",
        "our", "out", "she", "should", "so", "some", "such", "than", "that", "the", "their", "them", "then", "there",
        "these", "they", "this", "those", "to", "too", "us", "was", "we", "were", "what", "when", "where", "which",
        "who", "why", "will", "with", "would", "you", "your",
    ]
}
