import Configuration
import Foundation
import SystemPackage

/// Every fault of a configuration, in one error.
struct ConfigurationError: Error, CustomStringConvertible {
    let faults: [String]

    var description: String {
        "The configuration is wrong:\n" + faults.map { "  - \($0)" }.joined(separator: "\n")
            + "\nSee docs/configuration.md for every variable, or 'sba config' for what is set."
    }
}

/// Reads settings: command line over environment (or the file that `NAME_FILE` names) over `sba.yaml` over defaults.
/// Faults are gathered and thrown together.
struct SettingsReader {
    struct Found {
        let text: String
        /// `flag`, `environment`, `NAME_FILE`, `sba.yaml` or `default`.
        let source: String
    }

    static let file = "sba.yaml"

    private let flags: [String: String]
    private let environment: ConfigReader
    private let yaml: ConfigReader?
    private(set) var faults: [String] = []

    /// - Parameter flags: what the command line set, by environment name.
    init(flags: [String: String] = [:]) async {
        self.flags = flags
        environment = ConfigReader(provider: EnvironmentVariablesProvider())
        do {
            yaml = ConfigReader(
                provider: try await FileProvider<YAMLSnapshot>(filePath: FilePath(Self.file), allowMissing: true))
        } catch {
            yaml = nil
            faults.append("\(Self.file) cannot be read: \(error)")
        }
    }

    mutating func fault(_ setting: Setting, _ message: String) { faults.append("\(setting.name) \(message)") }

    /// - Throws: `ConfigurationError` when there was any fault.
    func finish() throws {
        guard faults.isEmpty else { throw ConfigurationError(faults: faults) }
    }

    /// The value and where it comes from, unless it is set nowhere and has no default.
    mutating func find(_ setting: Setting) -> Found? {
        if let text = flags[setting.name] { return Found(text: text, source: "flag") }
        let key = Self.key(setting.name)
        if let text = environment.string(forKey: key, isSecret: setting.isSecret), !text.isEmpty {
            return Found(text: text, source: "environment")
        }
        if setting.isSecret, let found = readFile(setting) { return found }
        if let text = yaml.flatMap({ Self.text($0, key, setting) }) { return Found(text: text, source: Self.file) }
        return setting.defaultText.map { Found(text: $0, source: "default") }
    }

    /// A secret from the file that `NAME_FILE` names, without the line end that editors add.
    private mutating func readFile(_ setting: Setting) -> Found? {
        let name = setting.name + "_FILE"
        guard let path = environment.string(forKey: Self.key(name)), !path.isEmpty else { return nil }
        guard !Self.isReadableByEveryone(path) else {
            faults.append("\(name) names '\(path)', which everyone on this machine can read. Run: chmod o= '\(path)'")
            return nil
        }
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            faults.append("\(name) names '\(path)', which cannot be read as text.")
            return nil
        }
        return Found(text: text.trimmingCharacters(in: .newlines), source: name)
    }

    /// Whether a secret in this file is none any more.
    static func isReadableByEveryone(_ path: String) -> Bool {
        let mode = try? FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        return mode.map { $0.intValue & 0o004 != 0 } ?? false
    }

    private static func key(_ name: String) -> ConfigKey {
        ConfigKey(name.lowercased().split(separator: "_").map(String.init))
    }

    /// YAML types its scalars; here all are text until a setting says what it wants.
    private static func text(_ reader: ConfigReader, _ key: ConfigKey, _ setting: Setting) -> String? {
        if let text = reader.string(forKey: key, isSecret: setting.isSecret) { return text }
        if let number = reader.int(forKey: key, isSecret: setting.isSecret) { return String(number) }
        return reader.bool(forKey: key, isSecret: setting.isSecret).map { String($0) }
    }

    // MARK: Typed values

    mutating func string(_ setting: Setting) -> String? { find(setting)?.text }

    /// A setting that has a default.
    mutating func text(_ setting: Setting) -> String { find(setting)?.text ?? "" }

    /// Items separated by commas.
    mutating func list(_ setting: Setting) -> [String] {
        text(setting).split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }

    mutating func int(_ setting: Setting, in range: ClosedRange<Int>) -> Int {
        let text = text(setting)
        guard let number = Int(text), range.contains(number) else {
            fault(setting, "is '\(shown(text, setting))': it must be a number from \(range.lowerBound) to \(range.upperBound).")
            return range.lowerBound
        }
        return number
    }

    mutating func seconds(_ setting: Setting, in range: ClosedRange<Int>) -> Duration {
        .seconds(int(setting, in: range))
    }

    mutating func choice<Value: RawRepresentable<String> & CaseIterable>(_ setting: Setting, _ type: Value.Type) -> Value? {
        let text = text(setting)
        if let value = Value(rawValue: text) { return value }
        let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
        fault(setting, "is '\(shown(text, setting))': it must be one of \(known).")
        return nil
    }

    private func shown(_ text: String, _ setting: Setting) -> String {
        setting.isSecret ? "hidden" : String(text.prefix(80))
    }
}
