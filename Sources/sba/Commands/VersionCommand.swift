import ArgumentParser
import Domain

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Prints the version.")

    @Flag(help: "Print JSON.")
    var json = false

    func run() {
        Terminal.print(json ? JSONValue.object(["version": .string(Version.text)]).text : "sba \(Version.text)")
    }
}
