import Domain
import Foundation
import Synchronization

/// PostgreSQL 15 and later, through libpq: one pool of connections for tenants' rows under row level security, and one
/// for what has no tenant.
public final class PostgresEngine: SQLEngine {
    public let dialect: any SQLDialect = PostgresDialect()

    private let tenants: PostgresPool
    private let system: PostgresPool
    /// One connection that nothing but upkeep waits for: a busy server must not cost leases.
    private let upkeep: PostgresPool
    private let ambient: Ambient
    private let commits = Atomic(0)

    /// Opens nothing yet: connections are made as they are needed.
    ///
    /// - Parameters:
    ///   - tenants: how the role `sba_app` connects, which sees the rows of one tenant at a time.
    ///   - system: how the role `sba_system` connects, which sees listed columns of all.
    public init(tenants: PostgresConfiguration, system: PostgresConfiguration, ambient: Ambient = .system) {
        self.tenants = PostgresPool(name: "pg-app", configuration: tenants, ambient: ambient)
        // A claim knows its limit each time, which makes a plan of its own look cheap: it takes longer than the claim.
        var system = system
        system.plansOnce = true
        self.system = PostgresPool(name: "pg-sys", configuration: system, ambient: ambient)
        var single = system
        single.connections = 1
        upkeep = PostgresPool(name: "pg-up", configuration: single, ambient: ambient)
        self.ambient = ambient
    }

    public var commitCount: Int { commits.load(ordering: .relaxed) }

    public func read(_ batch: Batch) async throws -> [ResultSet] { try await perform(batch, readOnly: true) }

    public func write(_ batch: Batch) async throws -> [ResultSet] {
        let answers = try await perform(batch, readOnly: false)
        if answers.contains(where: { $0.changes > 0 }) { commits.add(1, ordering: .relaxed) }
        return answers
    }

    /// Tells every listener on the channel, of all processes.
    public func notify(channel: String, payload: String) async throws {
        let say = SQLStatement("SELECT pg_notify(?1, ?2)", [.text(channel), .text(payload)])
        _ = try await perform(Batch(.system, [say], isRepeatable: true), readOnly: false)
    }

    /// Runs the batch, and repeats it where that is safe: nothing took effect, or taking effect twice is the same as once.
    private func perform(_ batch: Batch, readOnly: Bool) async throws -> [ResultSet] {
        let pool = pool(batch.scope)
        var conflicts = 0
        var wasLost = false
        let end = ContinuousClock.now + pool.patience
        while true {
            do {
                return try await pool.run(batch, readOnly: readOnly)
            } catch PostgresError.notConnected(let reason) {
                try await wait(for: pool, reason, until: end, wasLost)
            } catch PostgresError.lost(let reason) {
                guard readOnly || batch.isRepeatable else { throw StorageError.outcomeUnknown }
                wasLost = !readOnly
                try await wait(for: pool, reason, until: end, wasLost)
            } catch PostgresError.server(let error) where error.isOutage || error.isStale {
                try await wait(for: pool, error.message, until: end, wasLost)
            } catch PostgresError.server(let error) where error.isConflict {
                conflicts += 1
                guard conflicts < PostgresConfiguration.maximumConflicts else { throw error.storageError }
                await Self.pause(.milliseconds(5 << conflicts) * (0.5 + ambient.random() / 2))
            } catch PostgresError.server(let error) {
                throw Self.failure(error, of: batch)
            } catch StorageError.overloaded where wasLost {
                throw StorageError.outcomeUnknown
            }
        }
    }

    private func pool(_ scope: Batch.Scope) -> PostgresPool {
        switch scope {
        case .tenant: tenants
        case .system: system
        case .upkeep: upkeep
        }
    }

    /// Waits a little for a server that is away, unless it has been away for too long.
    ///
    /// - Parameter wasLost: an earlier try may have taken effect.
    private func wait(
        for pool: PostgresPool, _ reason: String, until end: ContinuousClock.Instant, _ wasLost: Bool
    ) async throws {
        guard pool.isWorthWaiting(), .now < end else {
            throw wasLost ? StorageError.outcomeUnknown : StorageError.unavailable(reason)
        }
        await Self.pause(.milliseconds(50) * (1 + ambient.random()))
    }

    /// Goes on also in a task that is cancelled: a write that is being repeated is not given up half way.
    private static func pause(_ duration: Duration) async {
        await withCheckedContinuation { continuation in
            _ = Alarms.shared.set(for: .now + duration) { continuation.resume() }
        }
    }

    private static func failure(_ error: PostgresError.ServerError, of batch: Batch) -> any Error {
        if error.isCancelled, Task.isCancelled { return CancellationError() }
        guard error.sqlState == PostgresError.ServerError.unmetExpectation, let place = error.statement,
            case .rows(_, let unmet) = batch.statements[place].expectation
        else { return error.storageError }
        return unmet
    }

    /// What is wrong with a role for the isolation of tenants to hold; `nil` when nothing is.
    ///
    /// - Parameter role: who this engine should be connected as.
    public func fault(of role: PostgresSchema.Role) async throws -> String? {
        let look = SQLStatement(
            """
            SELECT r.rolname, r.rolsuper OR r.rolbypassrls,
                EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = 'sba'::regnamespace AND pg_has_role(c.relowner, 'MEMBER'))
            FROM pg_roles r WHERE r.rolname = current_user
            """)
        guard let row = try await read(Batch(.system, [look]))[0].rows.first else { return "has a role that cannot be read" }
        if row.bool(1) { return "connects as \(row.text(0)), which may bypass row level security; connect as \(role.rawValue)" }
        if row.bool(2) {
            return "connects as \(row.text(0)), which owns tables or may act as their owner; connect as \(role.rawValue)"
        }
        if row.text(0) != role.rawValue { return "connects as \(row.text(0)); connect as \(role.rawValue)" }
        return nil
    }

    public func close() async {
        // Closing waits for threads: not on the cooperative pool.
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            Thread.detachNewThread { [self] in
                tenants.close()
                system.close()
                upkeep.close()
                continuation.resume()
            }
        }
    }
}

extension PostgresEngine: SchemaSource {
    public var migrations: [Migration] { PostgresSchema.migrations }

    public func appliedMigrations() async throws -> [Int] {
        let table = try await read(
            Batch(.system, [SQLStatement("SELECT to_regclass('sba.schema_migrations') IS NOT NULL")]))
        guard table[0].rows[0].bool(0) else { return [] }
        let rows = try await read(
            Batch(.system, [SQLStatement("SELECT number FROM sba.schema_migrations ORDER BY number")]))
        return rows[0].rows.map { Int($0.int(0)) }
    }
}
