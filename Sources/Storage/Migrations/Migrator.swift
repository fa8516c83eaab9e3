import Domain

/// Brings a database to the schema of this binary.
public struct Migrator: Sendable {
    public struct Status: Sendable {
        public let applied: [Int]
        public let pending: [Migration]
        /// Applied by a newer binary: this one must not touch the database.
        public let unknown: [Int]
    }

    private let engine: any SQLEngine

    public init(engine: any SQLEngine) { self.engine = engine }

    public func status() async throws -> Status {
        let applied = try await engine.appliedMigrations()
        let known = engine.dialect.migrations
        return Status(
            applied: applied, pending: known.filter { !applied.contains($0.number) },
            unknown: applied.filter { number in !known.contains { $0.number == number } })
    }

    /// Applies what is pending, in order, each in its own transaction; answers what it applied.
    ///
    /// - Throws: `Problem` with `storage_unavailable` when a newer binary has changed the database.
    public func migrate() async throws -> [Migration] {
        let status = try await status()
        guard status.unknown.isEmpty else {
            let numbers = status.unknown.map(String.init).joined(separator: ", ")
            throw Problem(
                .storageUnavailable,
                "The database has migrations that this binary does not know (\(numbers)). Use the newer binary.")
        }
        for migration in status.pending { try await engine.apply(migration) }
        return status.pending
    }
}
