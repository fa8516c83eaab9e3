import Logging
import ServiceLifecycle

/// Does something again and again, until the process shuts down.
public struct PeriodicService: Service {
    private let interval: Duration
    private let failure: Logger.Message
    private let logger: Logger
    private let work: @Sendable () async throws -> Void

    /// - Parameters:
    ///   - interval: from the end of one time to the next.
    ///   - failure: logged when it fails; it is done again in any case.
    public init(
        every interval: Duration, failure: Logger.Message, logger: Logger, work: @escaping @Sendable () async throws -> Void
    ) {
        self.interval = interval
        self.failure = failure
        self.logger = logger
        self.work = work
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do { try await work() } catch {
                    if !Task.isCancelled { logger.error(failure, metadata: ["error": "\(error)"]) }
                }
                try? await Task.sleep(for: interval)
            }
        }
    }
}
