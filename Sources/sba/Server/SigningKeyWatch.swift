import Accounts
import Logging
import ServiceLifecycle

/// Takes over signing keys that another process has added, well before they sign.
struct SigningKeyWatch: Service {
    private static let interval: Duration = .seconds(30)

    let accounts: AccountService
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.interval)
                guard !Task.isCancelled else { return }
                do {
                    try await accounts.reloadSigningKeys()
                } catch {
                    logger.warning("The signing keys could not be read.", metadata: ["error": "\(error)"])
                }
            }
        }
    }
}
