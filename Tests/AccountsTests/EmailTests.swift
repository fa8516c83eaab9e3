import Accounts
import Testing

private let addresses: [String] = [
    "a@b.c", "ada.lovelace+x@example.co.uk", "o'brien@example.com", "1@2.3", "a@xn--bcher-kva.example",
    "\u{FC}@b\u{FC}cher.example", "A@EXAMPLE.COM", String(repeating: "a", count: 242) + "@example.com",
]

private let others: [String] = [
    "", "a", "@", "a@", "@b.c", "a@b", "a.b", "a@b@c.d", "a@@b.c", "a@.c", "a@b.", "a@b..c", "a@.", "a@b.c.", " a@b.c", "a@b.c ",
    "a b@c.d", "a@b .c", "a\t@b.c", "a@b.c\n", "a@b.c\r\n", "a\u{0}@b.c", "a\u{A0}@b.c", "a@b\u{2003}.c", "a@b\u{2028}.c",
    String(repeating: "a", count: 243) + "@example.com", String(repeating: "\u{FC}", count: 122) + "@example.com",
]

@Suite("Email addresses")
struct EmailTests {
    @Test("A name, one @ and a host with a dot are an address", arguments: addresses)
    func accepts(text: String) {
        #expect(AccountService.isEmail(text))
    }

    @Test("Another text is none", arguments: others)
    func refuses(text: String) {
        #expect(!AccountService.isEmail(text))
    }
}
