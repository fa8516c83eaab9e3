import ArgumentParser
import Foundation

@main
struct SBA: AsyncParsableCommand {
    static func main() async {
        // A reader that has gone is told by the write that fails, not by a signal that ends the process.
        signal(SIGPIPE, SIG_IGN)
        await main(nil)
    }

    static let configuration = CommandConfiguration(
        commandName: "sba",
        abstract: "Runs AI agents in production: durable runs, your documents, many tenants, one binary.",
        discussion: """
            Start here:
              sba serve                      serve on http://127.0.0.1:8080, with an embedded database in ./data
              sba chat "What is a run?"      ask a question, answered from your documents
              sba runs list                  see what was asked

            Everything is configured by environment variables, or sba.yaml in the working folder: see 'sba config' and \
            docs/configuration.md.

            Exit codes: 0 done; 1 it failed, the message says why; 2 the configuration is wrong; 64 the command line is \
            wrong; 130 interrupted.
            """,
        version: Version.text,
        subcommands: [
            Serve.self, Migrate.self, Chat.self, Runs.self, Users.self, Tenants.self, Keys.self, Queues.self,
            Schedules.self, Webhooks.self,
            VerifyIsolation.self,
            Config.self,
            Doctor.self,
            VersionCommand.self,
        ])
}
