import Knowledge
import Testing

private let queries: [(String, [String])] = [
    ("What is the refund policy?", ["refund", "policy"]),
    ("Refund refund REFUND", ["refund"]),
    ("policy of refunds, then policy", ["policy", "refunds"]),
    ("Who is it?", ["who", "is", "it"]),
    ("don't", ["don", "t"]),
    ("user@example.com e-mail", ["user", "example", "com", "e", "mail"]),
    ("\u{DC}berweisung f\u{FC}r 2024", ["\u{FC}berweisung", "f\u{FC}r", "2024"]),
    ("\"quoted\" OR NEAR(x y)* -z ^col:w", ["quoted", "near", "x", "y", "z", "col", "w"]),
    ("", []),
    ("?! \u{2026} -- \u{1F600}\n\t", []),
]

@Suite("Search terms")
struct SearchTermsTests {
    @Test("The words of a question are kept in order, once, in lowercase, without the common ones", arguments: queries)
    func words(query: String, expected: [String]) {
        #expect(SearchTerms(query).words == expected)
    }

    @Test("At most 16 words are kept, and common ones do not count")
    func maximumTerms() {
        let query = (0..<40).map { "the word\($0) of" }.joined(separator: " ")
        #expect(SearchTerms(query).words == (0..<16).map { "word\($0)" })
    }

    @Test("What stands beyond 1000 characters is not read")
    func maximumCharacters() {
        let padding = String(repeating: "-", count: 990)
        #expect(SearchTerms("alpha\(padding) zebra").words == ["alpha", "zebr"])
        #expect(SearchTerms("alpha\(padding)\(padding) zebra").words == ["alpha"])
    }
}
