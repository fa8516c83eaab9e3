import Domain
import Logging
import Queue
import Storage
import Synchronization

/// Keeps this process on the database's time, so that all processes on one database agree what time it is, whatever their
/// machines believe: deadlines, tokens and schedules mean the same everywhere.
final class DatabaseClock: Sendable {
    private static let interval: Duration = .seconds(10)
    /// A smaller difference than this, and what the way to the database takes, is left alone.
    private static let tolerance: Duration = .milliseconds(5)
    /// A difference that somebody should know of.
    private static let worthTelling: Duration = .seconds(1)

    private let engine: any SQLEngine
    private let logger: Logger
    /// What the database's clock is ahead of this machine's.
    private let ahead = Mutex(Duration.zero)

    init(engine: any SQLEngine, logger: Logger) {
        self.engine = engine
        self.logger = logger
    }

    /// The system's, but for the time.
    var ambient: Ambient {
        let now: @Sendable () -> Timestamp = { [self] in Ambient.system.now().adding(ahead.withLock { $0 }) }
        return Ambient(now: now, makeID: { .version7(at: now()) }, random: Ambient.system.random)
    }

    /// Compares the two clocks.
    func measure() async throws {
        let before = Ambient.system.now()
        let answers = try await engine.read(Batch(.system, [SQLStatement("SELECT current_micros()")]))
        let way = Ambient.system.now().duration(since: before)
        let difference = answers[0].rows[0].time(0).duration(since: before.adding(way / 2))
        let isNews = ahead.withLock { ahead in
            guard abs((difference - ahead).microseconds) > (Self.tolerance + way).microseconds else { return false }
            ahead = difference
            return abs(difference.microseconds) > Self.worthTelling.microseconds
        }
        if isNews {
            logger.warning(
                "This machine's clock is wrong; the database's is used.", metadata: ["ahead_ms": "\(difference.milliseconds)"])
        }
    }

    /// Measures for as long as the process runs.
    var service: PeriodicService {
        PeriodicService(every: Self.interval, failure: "The database's clock could not be read.", logger: logger, work: measure)
    }
}
