import Domain

/// What a database has of the schema of this binary.
public struct SchemaStatus: Sendable {
    public let applied: [Int]
    public let pending: [Migration]
    /// Applied by a newer binary: this one must not touch the database.
    public let unknown: [Int]

    public init(of source: some SchemaSource) async throws {
        applied = try await source.appliedMigrations()
        let (applied, known) = (applied, source.migrations)
        pending = known.filter { !applied.contains($0.number) }
        unknown = applied.filter { number in !known.contains { $0.number == number } }
    }

    /// - Throws: `Problem` with `storage_unavailable` when a newer binary has changed the database.
    public func checkKnown() throws(Problem) {
        guard unknown.isEmpty else {
            let numbers = unknown.map(String.init).joined(separator: ", ")
            throw Problem(
                .storageUnavailable,
                "The database has migrations that this binary does not know (\(numbers)). Use the newer binary.")
        }
    }

    /// - Throws: `Problem` with `storage_unavailable` when the database is older or newer than this binary.
    public func checkCurrent() throws(Problem) {
        try checkKnown()
        guard pending.isEmpty else {
            let names = pending.map { "\($0.number) \($0.name)" }.joined(separator: ", ")
            throw Problem(.storageUnavailable, "The database lacks migrations of this binary (\(names)). Run 'sba migrate'.")
        }
    }
}

/// Brings a database to the schema of this binary.
public struct Migrator: Sendable {
    private let target: any SchemaTarget

    public init(target: any SchemaTarget) { self.target = target }

    /// Applies what is pending, in order, each in its own transaction; answers what it applied.
    ///
    /// - Throws: `Problem` with `storage_unavailable` when a newer binary has changed the database.
    public func migrate() async throws -> [Migration] {
        let status = try await SchemaStatus(of: target)
        try status.checkKnown()
        for migration in status.pending { try await target.apply(migration) }
        return status.pending
    }
}
