import Domain
import Logging
import Metrics
import Queue

/// Deletes what is old, once an hour in one of the processes, a few rows at a time.
public struct RetentionService: Sendable {
    static let interval: Duration = .seconds(3600)
    /// How often a process looks whether it is time.
    private static let look: Duration = .seconds(60)
    /// Rows in one transaction, so that nobody waits long for it. A run has many more that go with it.
    private static func together(_ rows: RetainedRows) -> Int { rows == .runs ? 20 : 500 }
    /// Between two transactions.
    private static let pause: Duration = .milliseconds(50)

    private let store: any RetentionStore
    private let policy: RetentionPolicy
    private let logger: Logger

    public init(store: any RetentionStore, policy: RetentionPolicy, logger: Logger) {
        self.store = store
        self.policy = policy
        self.logger = logger
    }

    /// Looks for as long as the process runs.
    public var service: PeriodicService {
        PeriodicService(every: Self.look, failure: "What is old could not be deleted.", logger: logger, work: pruneIfDue)
    }

    /// Prunes if it is time and no other process has begun.
    private func pruneIfDue() async throws {
        guard try await store.isDue("retention", every: Self.interval) else { return }
        for rows in RetainedRows.allCases {
            guard let age = policy.ages[rows] else { continue }
            let count = try await prune(rows, age)
            guard count > 0 else { continue }
            Counter(label: "sba_pruned_rows_total", dimensions: [("rows", rows.rawValue)]).increment(by: Int64(count))
            logger.info("Deleted what was old.", metadata: ["rows": "\(rows.rawValue)", "count": "\(count)"])
        }
    }

    private func prune(_ rows: RetainedRows, _ age: Duration) async throws -> Int {
        var total = 0
        while !Task.isCancelled {
            let limit = Self.together(rows)
            let count = try await store.prune(rows, olderThan: age, limit: limit)
            total += count
            guard count >= limit else { break }
            try? await Task.sleep(for: Self.pause)
        }
        return total
    }
}
