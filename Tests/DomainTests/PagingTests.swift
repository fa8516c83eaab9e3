import Domain
import Foundation
import Testing

private let digits = "0192f3a17b2c7def8123456789abcdef"

/// What is no cursor of ours, though some of it comes close.
private let garbage: [String] = [
    "", "c1.", "c1", digits, "c2.\(digits)", "C1.\(digits)", "c1 \(digits)", "c1.\(digits)0", " c1.\(digits)",
    "c1.\(digits.dropLast())", "c1.\(digits.dropLast()) ", "c1.\(digits.dropLast())g", "c1..\(digits.dropFirst())",
    "c1.0192f3a1-7b2c-7def-8123-456789abcdef", "c1.0192f3a1-7b2c-7def-8123-45678901",
]

private func ids(_ count: Int) -> [UUID] {
    (0..<count).map { UUID.version7(at: Timestamp(microseconds: 1_795_194_850_000_000 + Int64($0))) }
}

@Suite("Page cursors")
struct PageCursorTests {
    @Test("A cursor is a mark of its form and the 32 digits of an id")
    func text() throws {
        let id = try #require(UUID(uuidString: "0192F3A1-7B2C-7DEF-8123-456789ABCDEF"))
        #expect(PageCursor(after: id).text == "c1." + digits)
    }

    @Test("A cursor's text reads as the same cursor")
    func roundTrip() {
        for id in ids(100) + [UUID(), UUID()] {
            let cursor = PageCursor(after: id)
            #expect(PageCursor(text: cursor.text) == cursor)
        }
    }

    @Test("Another text is no cursor", arguments: garbage)
    func refusesGarbage(text: String) {
        #expect(PageCursor(text: text) == nil)
    }

    @Test(
        "Signs, spaces and prefixes are no digits of a cursor",
        arguments: ["+1", "-1", " 1", "0x"])
    func refusesLooseDigits(pair: String) {
        #expect(PageCursor(text: "c1." + String(repeating: pair, count: 16)) == nil)
    }

    @Test("A cursor of 32 bytes that are no ASCII is refused, and does not end the process")
    func refusesOtherLetters() async {
        await #expect(processExitsWith: .success) {
            #expect(PageCursor(text: "c1." + String(repeating: "\u{1F600}", count: 8)) == nil)
        }
    }
}

@Suite("Pages")
struct PageTests {
    @Test("One row more than the limit gives a full page and a cursor after its last item")
    func oneMore() {
        let rows = ids(4)
        let page = Page(fetched: rows, limit: 3) { $0 }
        #expect(page.items == Array(rows.prefix(3)))
        #expect(page.next == PageCursor(after: rows[2]))
    }

    @Test("As many rows as the limit, or fewer, are the last page", arguments: 0...3)
    func lastPage(count: Int) {
        let rows = ids(count)
        let page = Page(fetched: rows, limit: 3) { $0 }
        #expect(page.items == rows)
        #expect(page.next == nil)
    }

    @Test("The cursor comes from the item's id, not from its place")
    func cursorOfItem() {
        let rows = ids(2).enumerated().map { (name: "row \($0.offset)", id: $0.element) }
        let page = Page(fetched: rows, limit: 1) { $0.id }
        #expect(page.next == PageCursor(after: rows[0].id))
    }

    @Test(
        "A page asks for 1 to 100 items",
        arguments: [(-5, 1), (0, 1), (1, 1), (20, 20), (100, 100), (101, 100), (Int.max, 100)])
    func clampsLimit(asked: Int, expected: Int) {
        #expect(PageRequest(limit: asked).limit == expected)
    }

    @Test("A page asks for 20 items from the start unless told otherwise")
    func defaults() {
        let request = PageRequest()
        #expect(request.limit == 20)
        #expect(request.cursor == nil)
    }
}
