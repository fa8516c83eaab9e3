import Foundation
import Testing

/// Rules of the code that no compiler holds.
@Suite("Source rules")
struct SourceRules {
    /// Which third-party modules a target may import: what a target is there to fence.
    private static let fences: [String: Set<String>] = [
        "Domain": ["Foundation", "Dispatch", "Synchronization"],
        "Queue": ["Foundation", "Synchronization", "Logging", "Metrics", "ServiceLifecycle"],
        "Models": ["Foundation", "Synchronization", "Logging", "AsyncHTTPClient", "NIOCore", "NIOHTTP1", "NIOPosix"],
        "Knowledge": ["Foundation", "CHTMLReader"],
        "Agents": ["Foundation", "Synchronization", "Logging", "Metrics"],
        "Accounts": ["Foundation", "Synchronization", "Crypto", "CryptoExtras", "JWTKit"],
        "Operations": ["Foundation", "Logging", "Metrics"],
        "Automation": ["Foundation", "Synchronization", "Logging", "Metrics", "Crypto"],
        "Coordination": ["Foundation", "Synchronization"],
        "Storage": ["Foundation", "Dispatch", "Synchronization", "Glibc", "DequeModule", "GRDB", "CLibPQ", "Logging", "Metrics"],
        "Telemetry": ["Foundation", "Synchronization", "Logging", "CoreMetrics"],
        "Web": [
            "Foundation", "Synchronization", "Logging", "Metrics", "ServiceLifecycle", "Crypto", "HTTPTypes",
            "Hummingbird", "HummingbirdCore", "HummingbirdHTTP2", "NIOSSL", "NIOCore", "NIOHTTP1", "NIOHTTPTypes",
        ],
    ]

    /// Which targets of ours a target may import.
    private static let directions: [String: Set<String>] = [
        "Domain": [],
        "Queue": ["Domain"],
        "Models": ["Domain"],
        "Knowledge": ["Domain"],
        "Agents": ["Domain", "Queue", "Models", "Knowledge"],
        "Accounts": ["Domain"],
        "Operations": ["Domain", "Queue", "Accounts"],
        "Automation": ["Domain", "Queue", "Models", "Agents", "Accounts"],
        "Coordination": ["Domain"],
        "Storage": ["Domain", "Queue", "Knowledge", "Agents", "Accounts", "Operations", "Automation"],
        "Telemetry": ["Domain"],
        "Web": ["Domain", "Queue", "Models", "Knowledge", "Agents", "Accounts", "Operations", "Automation", "Telemetry"],
    ]

    @Test("a target imports what it fences and what lies inward, nothing else")
    func imports() {
        for file in Repository.files(under: "Sources") where file.target != "sba" {
            guard let fence = Self.fences[file.target], let inward = Self.directions[file.target] else {
                Issue.record("\(file.path): the target is not in the table")
                continue
            }
            for module in file.text.matches(of: #"^(?:@\w+ )?import (?:\w+ )?(\w+)"#) {
                #expect(fence.contains(module) || inward.contains(module), "\(file.path) imports \(module)")
            }
        }
    }

    private static let maximumFileLines = 400
    private static let maximumFunctionLines = 70

    @Test("files and functions fit the mind and the screen")
    func size() {
        for file in Repository.files(under: "Sources") + Repository.files(under: "Tests") {
            let lines = file.lines
            #expect(
                lines.count <= Self.maximumFileLines || file.path.hasPrefix("Tests/"), "\(file.path) has \(lines.count) lines")
            for (start, line) in lines.enumerated() where line.contains("func ") && line.hasSuffix("{") {
                let indent = line.prefix { $0 == " " }
                let end = lines[start...].firstIndex { $0 == indent + "}" } ?? start
                #expect(end - start <= Self.maximumFunctionLines, "\(file.path):\(start + 1) is too long")
            }
        }
    }

    @Test(
        "words that hide a shortcut do not occur",
        arguments: [
            #"\bTODO\b"#, #"\bFIXME\b"#, #"\bXXX\b"#, #"fatalError\("#, #"\bas! "#, #"@unchecked Sendable"#,
            #"nonisolated\(unsafe\)"#, #"Thread\.sleep|usleep\("#, #"catch \{ *\}"#, #"(?<![.\w])Task(?:\.detached)? *\{"#,
            #"(?:class|struct|enum) \w*(?:Utils?|Manager|Helper|Common)\b"#,
        ])
    func banned(pattern: String) {
        for file in Repository.files(under: "Sources") {
            #expect(file.text.matches(of: pattern).isEmpty, "\(file.path) holds \(pattern)")
        }
    }

    @Test("time, randomness and the environment are read in one place each")
    func ambient() {
        let rules: [(pattern: String, allowed: Set<String>)] = [
            (#"(?<![.\w])Date\(\)"#, []), (#"(?<![.\w])UUID\(\)"#, []),
            (#"Double\.random|UInt64\.random"#, ["Sources/Domain/Time/Ambient.swift"]),
            (#"ProcessInfo\.processInfo\.environment|getenv\("#, ["Sources/sba/Terminal/Terminal.swift"]),
            (#"(?<![.\w])print\("#, []),
            // What a browser may know is no setting of the server.
            (#"NEXT_PUBLIC_"#, []),
            (#"try! "#, ["Sources/Telemetry/Logs/Redactor.swift"]),
        ]
        for file in Repository.files(under: "Sources") {
            for rule in rules where !rule.allowed.contains(file.path) {
                let code = file.lines.filter { !$0.drop(while: { $0 == " " }).hasPrefix("//") }.joined(separator: "\n")
                #expect(
                    code.matches(of: rule.pattern).isEmpty || file.path == "Sources/sba/Terminal/Terminal.swift",
                    "\(file.path) holds \(rule.pattern)")
            }
        }
    }

    @Test("every method of a store that touches tenant data takes the tenant first")
    func tenantFirst() {
        // What has no tenant: people, their credentials, the platform, the workers' view of jobs, and counting.
        let exempt: Set<String> = [
            "claim", "renew", "complete", "fail", "release", "rescue", "depths", "commit", "create", "isEmpty", "user",
            "tenant", "memberships", "signingKeys", "addFirst", "rotate", "reseal", "users", "tenants", "setOperator",
            "allowsOrigin", "invitation", "accept", "begin", "refreshToken", "end", "endAll", "setPassword",
            "addPasswordReset", "passwordReset", "resetPassword", "note", "admit", "key", "platformEntries", "erase",
            "beginExport", "exportPage", "scrub", "register", "queues", "changeQueue", "shares", "setShare", "removeShare",
            "jobs", "job", "requeue", "giveUp", "edit", "isDue", "prune", "due", "pending", "settle",
        ]
        var checked = 0
        for file in Repository.files(under: "Sources") where file.text.contains("Store: Sendable {") {
            for (name, first) in Self.methods(file.text) {
                checked += 1
                #expect(first == "tenant" || exempt.contains(name), "\(file.path): \(name) takes \(first) first")
            }
        }
        #expect(checked > 30)
    }

    private static func methods(_ text: String) -> [(name: String, first: String)] {
        text.matches(of: #"^    func (\w+\(\s*\w*)"#).map { signature in
            let parts = signature.split(separator: "(", omittingEmptySubsequences: false)
            return (String(parts[0]), parts[1].trimmingCharacters(in: .whitespacesAndNewlines))
        }
    }
}
