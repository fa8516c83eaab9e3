import Domain
import Testing

/// What a principal was granted, what it wants to do, and whether it may.
struct ScopeCase: Sendable, CustomTestStringConvertible {
    let granted: [String]
    let wanted: String
    let isAllowed: Bool

    init(_ granted: [String], _ wanted: String, _ isAllowed: Bool) {
        self.granted = granted
        self.wanted = wanted
        self.isAllowed = isAllowed
    }

    var testDescription: String { "\(wanted) with \(granted)" }
}

private let scopeCases = [
    ScopeCase([], "runs:read", false),
    ScopeCase(["*"], "runs:read", true),
    ScopeCase(["*"], "anything:at-all", true),
    ScopeCase(["runs:read"], "runs:read", true),
    ScopeCase(["runs:read"], "runs:write", false),
    ScopeCase(["runs:read"], "runs:reader", false),
    ScopeCase(["runs:reader"], "runs:read", false),
    ScopeCase(["runs:read"], "knowledge:read", false),
    ScopeCase(["runs:*"], "runs:read", true),
    ScopeCase(["runs:*"], "runs:write", true),
    ScopeCase(["runs:*"], "runs", false),
    ScopeCase(["runs:*"], "knowledge:read", false),
    ScopeCase(["run:*"], "runs:read", false),
    ScopeCase(["runs:*"], "run:read", false),
    ScopeCase(["runs*"], "runs:read", false),
    ScopeCase(["*:read"], "runs:read", false),
    ScopeCase(["**"], "runs:read", false),
    ScopeCase(["RUNS:*", "Runs:Read"], "runs:read", false),
    ScopeCase(["runs:read", "knowledge:*"], "knowledge:write", true),
    ScopeCase(["runs:read", "knowledge:*"], "runs:write", false),
    ScopeCase([""], "runs:read", false),
]

private let text = "0192f3a1-7b2c-7def-8123-456789abcdef"

private let notIdentifiers: [String] = [
    "", "0192f3a1", "0192f3a17b2c7def8123456789abcdef", "{\(text)}", "\(text) ", " \(text)", "\(text.dropLast())g",
    "\(text.dropLast()) ", "\(text.dropLast(2))\u{E9}", "0192f3a17-b2c-7def-8123-456789abcdef",
    "0192f3a1_7b2c_7def_8123_456789abcdef",
]

@Suite("Principals")
struct PrincipalTests {
    @Test("A principal may do what its scopes hold, and nothing else", arguments: scopeCases)
    func scopes(scopeCase: ScopeCase) throws {
        let principal = Principal(
            tenant: try #require(TenantID(text)), user: try #require(UserID(text)), scopes: scopeCase.granted)
        #expect(principal.may(scopeCase.wanted) == scopeCase.isAllowed)
    }
}

@Suite("Identifiers")
struct IdentifierTests {
    @Test("An identifier is written as it is read, in lowercase")
    func roundTrip() throws {
        let id = try #require(RunID(text))
        #expect("\(id)" == text)
        #expect(RunID(text.uppercased()) == id)
    }

    @Test("Another text is no identifier", arguments: notIdentifiers)
    func refuses(text: String) {
        #expect(RunID(text) == nil)
    }

    @Test(
        "Signs, spaces and prefixes are no digits of an identifier",
        arguments: [
            "+1+1+1+1-+1+1-+1+1-+1+1-+1+1+1+1+1+1", " 1 1 1 1- 1 1- 1 1- 1 1- 1 1 1 1 1 1",
            "0x0x0x0x-0x0x-0x0x-0x0x-0x0x0x0x0x0x", "0192f3a1-7b2c-7def-8123- 56789abcdef",
        ])
    func refusesLooseDigits(text: String) {
        #expect(RunID(text) == nil)
    }
}
