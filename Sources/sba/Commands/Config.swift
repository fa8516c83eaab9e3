import ArgumentParser
import Domain
import Foundation

struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows every variable, its value and where it comes from; secrets stay hidden.")

    @Flag(help: "Print JSON.")
    var json = false

    @Flag(help: "Print docs/configuration.md, made from the declarations.")
    var markdown = false

    func run() async throws {
        if markdown { return Terminal.print(Self.document, terminator: "") }
        var settings = await SettingsReader()
        var rows = [["NAME", "VALUE", "SOURCE"]]
        var items: [JSONValue] = []
        for setting in Setting.all {
            let found = settings.find(setting)
            let value = found.map { setting.isSecret ? "(hidden)" : $0.text }
            rows.append([setting.name, value ?? "-", found?.source ?? "-"])
            items.append([
                "name": .string(setting.name), "value": JSONValue(value), "source": JSONValue(found?.source),
                "secret": .bool(setting.isSecret),
            ])
        }
        Terminal.print(json ? JSONValue.array(items).text : Terminal.table(rows))
        for fault in settings.faults { Terminal.complain(fault) }
        if !settings.faults.isEmpty { throw configurationExitCode }
    }

    static var document: String {
        var text = """
            # Configuration

            Made by `sba config --markdown` from the declarations in `Sources/sba/Configuration/Setting.swift`.

            A value comes from the command line, else the environment, else `sba.yaml` in the working folder, else the default.
            In `sba.yaml` the parts between underscores nest: `SBA_HTTP_HOST` is `sba: {http: {host: 127.0.0.1}}`.
            A secret can also come from a file: `NAME_FILE` names it.
            A wrong configuration ends the start with exit code 2 and every fault in one message.

            """
        for role in Setting.Role.allCases {
            let title =
                switch role {
                case .serve: "Server (`sba serve`, and `sba migrate` for where the database is)"
                case .migrate: "Migrating (`sba migrate`)"
                case .client: "Client (`sba chat`, `sba runs`)"
                }
            text += "\n## \(title)\n\n| name | what it does | default | secret |\n| --- | --- | --- | --- |\n"
            for setting in Setting.all where setting.role == role {
                let shown = setting.defaultText.map { "`\($0)`" } ?? "–"
                text += "| `\(setting.name)` | \(setting.summary) | \(shown) | \(setting.isSecret ? "yes" : "") |\n"
            }
        }
        return text
    }
}
