import Domain

/// One statement with its parameters, and how many rows it has to meet.
public struct SQLStatement: Sendable {
    public enum Expectation: Sendable {
        case anyRows
        /// Exactly this many changed or returned rows; otherwise the batch is undone and the error thrown.
        case rows(Int, otherwise: any Error)
    }

    /// SQL with parameters as `?1`, `?2`, …, in the dialect that all engines share.
    public let sql: String
    public let arguments: [SQLValue]
    public let expectation: Expectation

    public init(_ sql: String, _ arguments: [SQLValue] = [], expect expectation: Expectation = .anyRows) {
        self.sql = sql
        self.arguments = arguments
        self.expectation = expectation
    }
}

/// Statements that take effect together or not at all. None may depend on what another answers.
public struct Batch: Sendable {
    public enum Scope: Sendable {
        /// Sees and changes rows of this tenant only.
        case tenant(TenantID)
        /// What has no tenant: credentials, claiming jobs, counting.
        case system
        /// As the system, and held up by nothing else: what keeps leases alive.
        case upkeep
    }

    public let scope: Scope
    public let statements: [SQLStatement]
    /// Whether taking effect twice is the same as once, or breaks a unique constraint: then an engine that does not know
    /// whether the batch took effect, for the connection was lost, repeats it.
    public let isRepeatable: Bool
    let file: StaticString
    let function: StaticString

    public init(
        _ scope: Scope, _ statements: [SQLStatement], isRepeatable: Bool = false, file: StaticString = #fileID,
        function: StaticString = #function
    ) {
        self.scope = scope
        self.statements = statements
        self.isRepeatable = isRepeatable
        self.file = file
        self.function = function
    }

    /// Whose work it is, for metrics and logs: `RunRepository.commit` for a batch that was made in
    /// `Storage/RunRepository+commit.swift` by `commit(_:)`.
    public var operation: String {
        let type = "\(file)".split(separator: "/").last?.prefix { $0 != "." && $0 != "+" } ?? ""
        return "\(type).\("\(function)".prefix { $0 != "(" })"
    }
}

/// Runs batches on one database.
///
/// Each batch is atomic and isolated from others. When `write` returns, the batch survives a crash of the machine.
/// Writes that are under way at one time may share a commit.
public protocol SQLEngine: Sendable {
    /// What stands in place of shared SQL where engines must differ.
    var dialect: any SQLDialect { get }

    /// Runs statements that only read, on one consistent state of the database.
    func read(_ batch: Batch) async throws -> [ResultSet]

    /// Runs statements that may write.
    func write(_ batch: Batch) async throws -> [ResultSet]

    /// Commits with changes since the engine was opened.
    var commitCount: Int { get }

    /// Overwrites what deleted rows have left in the database's files, where that is this process's to do.
    func scrub() async throws

    /// Finishes what is under way and closes the database.
    func close() async
}

extension SQLEngine {
    /// A server of its own does it by itself, in time.
    public func scrub() async throws {}
}

/// Tells which migrations there are, and which the database has.
public protocol SchemaSource: Sendable {
    /// The migrations of this engine, in order.
    var migrations: [Migration] { get }

    /// The numbers of the migrations that the database has, in order.
    func appliedMigrations() async throws -> [Int]
}

/// Changes the schema.
public protocol SchemaTarget: SchemaSource {
    /// Runs a migration's script and notes it, in one transaction. Migrating at the same time elsewhere waits.
    func apply(_ migration: Migration) async throws
}

/// The few statements that differ between engines.
///
/// On every engine `current_micros()` is the database's time in UTC microseconds.
public protocol SQLDialect: Sendable {
    /// Makes whoever runs it wait for the transaction of whoever ran it before; `nil` where writes wait anyway.
    var lockFirst: SQLStatement? { get }

    /// Leases up to `?2` jobs of the queue `?1` for `?3` microseconds to the worker `?4`, whose start tags are at least `?5`,
    /// unless the queue is paused or bounds tenants. Answers `JobRepository.leaseColumns`.
    var claimJobs: String { get }

    /// As `claimJobs`, without `?5`, from a queue that bounds how many jobs of a tenant are at work.
    var claimBoundedJobs: String { get }

    /// Lets only one at a time claim from the queue `?1` if it bounds tenants; `nil` where writes wait anyway.
    var lockBoundedQueue: String? { get }

    /// The end of an UPDATE of jobs that are at work under the leases in `places`, rows of `VALUES`: a job, which stands there
    /// once, and a token.
    func whereHeld(_ places: String) -> String

    /// Searches chunks by full text. Parameters: `?1` tenant, `?2` query as `fullTextQuery` gives it, `?3` collection or null,
    /// `?4` limit. Answers document, chunk, title, heading, text, score (larger is better).
    var searchChunks: String { get }

    /// The engine's form of a query for any of `words`.
    func fullTextQuery(tenant: TenantID, words: [String]) -> String
}

/// One step of the schema.
public struct Migration: Sendable {
    public let number: Int
    public let name: String
    public let sql: String

    public init(number: Int, name: String, sql: String) {
        self.number = number
        self.name = name
        self.sql = sql
    }
}
