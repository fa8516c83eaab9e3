import CLibPQ
import Domain
import Foundation
import Glibc

/// Changes a PostgreSQL database's schema, as its owner, over one connection on a thread of its own. A migration holds a
/// lock, so that of several that migrate at the same time all but one wait.
public final class PostgresSchema: SchemaTarget {
    /// The roles that the server connects as. Each may do what its policies and grants say, and no more.
    public enum Role: String, CaseIterable, Sendable {
        /// Sees and changes the rows of one tenant at a time.
        case application = "sba_app"
        /// Sees and changes listed columns of every tenant's rows.
        case system = "sba_system"
    }

    /// Serialises migrations of one database.
    private static let lock = 7_317_000

    static let migrations = [
        Migration(
            number: 1, name: "initial",
            sql: String(decoding: PackageResources._001_initial_postgres_sql, as: UTF8.self)),
        Migration(
            number: 2, name: "accounts",
            sql: String(decoding: PackageResources._002_accounts_postgres_sql, as: UTF8.self)),
        Migration(
            number: 3, name: "queues",
            sql: String(decoding: PackageResources._003_queues_postgres_sql, as: UTF8.self)),
        Migration(
            number: 4, name: "retention",
            sql: String(decoding: PackageResources._004_retention_postgres_sql, as: UTF8.self)),
        Migration(
            number: 5, name: "automation",
            sql: String(decoding: PackageResources._005_automation_postgres_sql, as: UTF8.self)),
    ]

    public var migrations: [Migration] { Self.migrations }
    private let owner: ThreadPool<OwnerConnection>

    /// Runs work on the owner's connection; what the server would not do is a problem that says so.
    private func asOwner<Value: Sendable>(_ work: @escaping @Sendable (OwnerConnection) throws -> Value) async throws -> Value {
        do {
            return try await owner.run(work)
        } catch let refusal as OwnerConnection.Refusal {
            throw Problem(.storageUnavailable, refusal.message)
        }
    }

    /// - Parameter url: how the owner connects, past any pooler. A role that may create roles, or one for whom
    ///   `rolesScript` was run by somebody who may.
    public init(url: String) {
        var configuration = PostgresConfiguration(url: url)
        // Building an index may take its time.
        configuration.statementTimeout = .seconds(24 * 60 * 60)
        let unbounded = configuration
        owner = ThreadPool(name: "pg-owner", threads: 1, maximumWaiting: .max) {
            try OwnerConnection(unbounded)
        }
    }

    /// What makes the roles, to be run by somebody who may, when the owner may not.
    public static var rolesScript: String { String(decoding: PackageResources.roles_postgres_sql, as: UTF8.self) }

    /// Makes the roles that are missing, lets them connect, and sets the passwords that are given. An owner who may not make
    /// roles goes on with those that somebody else has made. Roles that no policy would hold are refused.
    ///
    /// - Throws: `Problem` with the script for somebody who may, or with what is wrong; `StorageError.unavailable`.
    public func prepareRoles(passwords: [Role: String]) async throws {
        try await asOwner { owner in
            do {
                try owner.script("BEGIN; SELECT pg_advisory_xact_lock(\(Self.lock))")
                try owner.script(Self.rolesScript)
                for role in Role.allCases {
                    guard let password = passwords[role] else { continue }
                    try owner.setPassword(password, of: role)
                }
                try owner.script("COMMIT")
            } catch let refusal as OwnerConnection.Refusal where refusal.sqlState == Self.insufficientPrivilege {
                let names = Role.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
                let count = try owner.query("SELECT rolname FROM pg_roles WHERE rolname IN (\(names))").count
                guard count == Role.allCases.count else {
                    throw Problem(
                        .storageUnavailable,
                        "The owner may not make the roles. Have somebody run this who may, set their passwords, and migrate again:\n"
                            + Self.rolesScript)
                }
            }
            try owner.script(String(decoding: PackageResources.roles_check_postgres_sql, as: UTF8.self))
        }
    }

    private static let insufficientPrivilege = "42501"

    /// The password in a connection URL, as libpq reads it.
    public static func password(in url: String) -> String? { option("password", of: url) }

    /// Host, port and name of the database in a connection URL, without secrets.
    public static func place(of url: String) -> String {
        let parts = ["host", "port", "dbname"].map { option($0, of: url) ?? "" }
        return "postgresql://\(parts[0])\(parts[1].isEmpty ? "" : ":" + parts[1])/\(parts[2])"
    }

    /// Whether libpq can read a connection URL, with a host and a port that can be ones. What is wrong is not told: the
    /// usual fault is a password with characters that have to be percent-encoded, and libpq quotes them.
    public static func isReadable(_ url: String) -> Bool {
        guard let options = PQconninfoParse(url, nil) else { return false }
        PQconninfoFree(options)
        let isHost = option("host", of: url)?.contains("@") != true
        let port = option("port", of: url) ?? ""
        return isHost && port.split(separator: ",").allSatisfy { UInt16($0) != nil }
    }

    private static func option(_ name: String, of url: String) -> String? {
        guard let options = PQconninfoParse(url, nil) else { return nil }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            if strcmp(keyword, name) == 0 { return option.pointee.val.map { String(cString: $0) } }
            option += 1
        }
        return nil
    }

    public func appliedMigrations() async throws -> [Int] { try await asOwner { try Self.applied($0) } }

    private static func applied(_ owner: OwnerConnection) throws -> [Int] {
        guard try owner.query("SELECT to_regclass('sba.schema_migrations')") != [""] else { return [] }
        return try owner.query("SELECT number FROM sba.schema_migrations ORDER BY number").compactMap { Int($0) }
    }

    public func apply(_ migration: Migration) async throws {
        try await asOwner { owner in
            try owner.script("BEGIN; SELECT pg_advisory_xact_lock(\(Self.lock))")
            // Whoever held the lock before may have applied it.
            guard try !Self.applied(owner).contains(migration.number) else { return try owner.script("ROLLBACK") }
            try owner.script(
                """
                CREATE SCHEMA IF NOT EXISTS sba;
                CREATE TABLE IF NOT EXISTS sba.schema_migrations (
                    number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
                );
                \(migration.sql)
                INSERT INTO sba.schema_migrations (number, name)
                VALUES (\(migration.number), \(owner.literal(migration.name)));
                COMMIT;
                """)
        }
    }

    /// Runs statements as the owner, up to the first that fails: what only the owner may, once in a while.
    public func run(_ script: String) async throws { try await asOwner { try $0.script(script) } }

    /// Asks as the owner; answers the first column of each row, NULL as an empty text.
    public func ask(_ query: String) async throws -> [String] { try await asOwner { try $0.query(query) } }

    public func close() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            Thread.detachNewThread { [self] in
                owner.close()
                continuation.resume()
            }
        }
    }
}

/// The owner's connection, for scripts in the simple protocol.
private final class OwnerConnection {
    /// What the server would not do.
    struct Refusal: Error, CustomStringConvertible {
        /// Empty when the connection broke.
        let sqlState: String
        let message: String
        var description: String { message }
    }

    private let handle: PostgresHandle
    private var connection: OpaquePointer? { handle.pointer }

    init(_ configuration: PostgresConfiguration) throws {
        do {
            handle = try PostgresHandle(configuration)
        } catch PostgresError.notConnected(let reason) {
            throw StorageError.unavailable(reason)
        }
    }

    /// The first column of each row, NULL as an empty text.
    func query(_ sql: String) throws(Refusal) -> [String] {
        let result = PQexec(connection, sql)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_TUPLES_OK else { throw refusal(result) }
        return (0..<PQntuples(result)).map { String(cString: PQgetvalue(result, $0, 0)) }
    }

    /// Runs statements up to the first that fails, which undoes them all when they begin a transaction.
    func script(_ sql: String) throws(Refusal) {
        let result = PQexec(connection, sql)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK else {
            let refusal = refusal(result)
            PQclear(PQexec(connection, "ROLLBACK"))
            throw refusal
        }
    }

    /// Sends a verifier, so that the password itself stands in no log of the server.
    func setPassword(_ password: String, of role: PostgresSchema.Role) throws(Refusal) {
        guard let verifier = PQencryptPasswordConn(connection, password, role.rawValue, "scram-sha-256") else {
            throw Refusal(sqlState: "", message: handle.message)
        }
        defer { PQfreemem(verifier) }
        try script("ALTER ROLE \(role.rawValue) PASSWORD \(literal(String(cString: verifier)))")
    }

    func literal(_ text: String) -> String {
        guard let quoted = PQescapeLiteral(connection, text, text.utf8.count) else { return "''" }
        defer { PQfreemem(quoted) }
        return String(cString: quoted)
    }

    private func refusal(_ result: OpaquePointer?) -> Refusal {
        let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))).map { String(cString: $0) }
        return Refusal(sqlState: state ?? "", message: handle.message)
    }
}
