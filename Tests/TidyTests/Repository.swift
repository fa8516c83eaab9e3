import Foundation

/// The files of this repository, as text.
enum Repository {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    struct File: Sendable, CustomStringConvertible {
        /// From the root.
        let path: String
        let text: String

        var description: String { path }
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        /// The target that the file belongs to.
        var target: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
    }

    private static let ignored: Set<String> = [".build", ".tools", ".git", "data", "Package.resolved"]

    /// Every text file but what git ignores.
    static let files: [File] = {
        var files: [File] = []
        let enumerator = FileManager.default.enumerator(atPath: root)
        while let path = enumerator?.nextObject() as? String {
            if ignored.contains(path) {
                enumerator?.skipDescendants()
            } else if let text = try? String(contentsOfFile: root + "/" + path, encoding: .utf8) {
                files.append(File(path: path, text: text))
            }
        }
        return files.sorted { $0.path < $1.path }
    }()

    static func files(under folder: String, suffix: String = ".swift") -> [File] {
        files.filter { $0.path.hasPrefix(folder + "/") && $0.path.hasSuffix(suffix) }
    }

    static func text(_ path: String) -> String { files.first { $0.path == path }?.text ?? "" }
}

extension String {
    /// The first group of every match.
    func matches(of pattern: String) -> [String] {
        guard let expression = try? NSRegularExpression(pattern: pattern, options: [.anchorsMatchLines]) else { return [] }
        let all = NSRange(startIndex..., in: self)
        return expression.matches(in: self, range: all).compactMap { match in
            Range(match.range(at: match.numberOfRanges > 1 ? 1 : 0), in: self).map { String(self[$0]) }
        }
    }
}
