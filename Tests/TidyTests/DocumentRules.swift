import Foundation
import Testing

/// What the documents say is held against the code.
@Suite("Document rules")
struct DocumentRules {
    @Test("every environment name that the code reads is in docs/configuration.md, and back")
    func configuration() {
        let declared = Set(
            Repository.text("Sources/sba/Configuration/Setting.swift").matches(of: #"Setting\(\s*"([A-Z][A-Z0-9_]+)""#))
        let documented = Set(Repository.text("docs/configuration.md").matches(of: #"^\| `([A-Z0-9_]+)`"#))
        #expect(declared.count > 20)
        #expect(declared == documented)
        // Names in messages, documents and scripts are real ones.
        let others: Set<String> = [
            "SBA_TEST_KILLS", "SBA_TEST_WORKER_KILLS", "SBA_TEST_ROUNDS", "SBA_TEST_BINARY", "SBA_TEST_PREVIOUS_BINARY",
            "SBA_TEST_PGBOUNCER",
            "SBA_TEST_SERVICES", "SBA_BIN",
            "SBA_SECRET_KEY_FILE",
            "SBA_HTML_READER_H",
        ]
        for file in Repository.files where !file.path.hasPrefix("Tests/") && !file.path.hasPrefix("docs/decisions") {
            for name in Set(file.text.matches(of: #"\b(SBA_[A-Z_]*[A-Z])\b"#)) {
                #expect(declared.contains(name) || others.contains(name), "\(file.path) speaks of \(name)")
            }
        }
    }

    @Test("every error code is in docs/errors.md, and back")
    func errors() {
        let declared = Set(Repository.text("Sources/Domain/Errors/ErrorCode.swift").matches(of: #"case \w+ = "(\w+)""#))
        let documented = Set(Repository.text("docs/errors.md").matches(of: #"^\| `(\w+)`"#))
        #expect(declared.count > 30)
        #expect(declared == documented)
    }

    @Test("every target has its line in Sources/README.md")
    func targets() {
        let readme = Repository.text("Sources/README.md")
        for target in Set(Repository.files(under: "Sources").map(\.target)) {
            #expect(readme.contains("`\(target)`"), "\(target) is missing")
        }
    }

    @Test("state machines stand in their source and in docs/architecture.md alike")
    func diagrams() {
        let architecture = Repository.text("docs/architecture.md")
        for path in [
            "Sources/Agents/Runs/RunStateMachine.swift", "Sources/Agents/Runs/ToolCallStateMachine.swift",
            "Sources/Queue/Jobs/JobStateMachine.swift",
        ] {
            let transitions = Repository.text(path).matches(of: #"^///     (\S+ --> [^\n]+)$"#)
            #expect(transitions.count > 8)
            for transition in transitions {
                #expect(architecture.contains(transition), "\(path): \(transition)")
            }
        }
    }

    @Test("links between documents lead somewhere")
    func links() {
        for file in Repository.files where file.path.hasSuffix(".md") {
            let folder = URL(fileURLWithPath: Repository.root + "/" + file.path).deletingLastPathComponent()
            for link in file.text.matches(of: #"\]\(([^)#\s]+)"#) where !link.contains("://") && !link.hasPrefix("mailto:") {
                let target = folder.appendingPathComponent(link).path
                #expect(FileManager.default.fileExists(atPath: target), "\(file.path) links to \(link)")
            }
        }
    }

    @Test(
        "nothing that looks like a key is in the repository",
        arguments: [
            #"\bsk-[A-Za-z0-9_-]{24,}"#, #"\bAKIA[A-Z0-9]{16}\b"#, #"\bgh[pousr]_[A-Za-z0-9]{30,}"#,
            #"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{40,}"#,
            #"eyJ[A-Za-z0-9_-]{30,}\.eyJ[A-Za-z0-9_-]{30,}\.[A-Za-z0-9_-]{20,}"#,
        ])
    func keys(pattern: String) {
        // The redactor's tests show what it takes out; none of it opens anything.
        for file in Repository.files where !file.path.hasPrefix("Tests/TelemetryTests/") {
            #expect(file.text.matches(of: pattern).isEmpty, "\(file.path) holds something like \(pattern)")
        }
    }

    @Test("the project speaks of itself alone")
    func itself() {
        for file in Repository.files where !file.path.hasPrefix("Tests/TidyTests/") {
            for path in ["/work/", "/root/", "/home/"] {
                #expect(!file.text.contains(path), "\(file.path) names \(path)")
            }
        }
    }
}
