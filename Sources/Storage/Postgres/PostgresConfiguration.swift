import Domain

/// How to reach PostgreSQL, and what a connection may take.
public struct PostgresConfiguration: Sendable {
    /// What stands between us and the server.
    public enum Pooler: String, CaseIterable, Sendable {
        /// Nothing, or something that keeps a client on one server connection.
        case none
        /// A pooler that may use another server connection for every transaction, such as PgBouncer or Supavisor: no
        /// prepared statements with names, no start-up options, no LISTEN.
        case transaction
    }

    /// `postgresql://…` or `key=value …`, as libpq reads it.
    public var url: String
    public var pooler: Pooler
    public var connections = 8
    /// How long a call may wait for a connection that is free.
    public var wait: Duration = .seconds(5)
    /// How long the server works on one statement.
    public var statementTimeout: Duration = .seconds(30)
    /// How long calls wait for a server that has gone away to come back, counted from when it went.
    public var outage: Duration = .seconds(5)
    /// Beyond the statement's own bound the network is taken for dead.
    public var networkGrace: Duration = .seconds(5)

    /// Prepared statements are planned once, not with every call, and by indexes, whatever the statistics say: for statements
    /// whose plans depend neither on their values nor on how full the tables are. A table that was empty when its statement
    /// was planned would else be read from end to end until the server has counted it again.
    var plansOnce = false

    public init(url: String, pooler: Pooler = .none) {
        self.url = url
        self.pooler = pooler
    }

    /// How long the server may say nothing.
    var patience: Duration { statementTimeout + networkGrace }

    /// Connections of a role that are opened at one time.
    static let maximumOpenings = 2
    /// Calls that share a round trip.
    static let maximumTogether = 16
    /// Until a connection is open. A `connect_timeout` in the URL comes before it.
    static let connectTimeout: Duration = .seconds(5)
    /// Calls that may wait for a connection; beyond, they are refused at once.
    static let maximumWaiting = 10_000
    /// Times that a transaction is tried which the server broke off for the sake of another.
    static let maximumConflicts = 6
    /// Statements that one connection keeps prepared; beyond, it forgets them all and begins anew.
    static let maximumPrepared = 256
}
