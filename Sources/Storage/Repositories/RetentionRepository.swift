import Domain
import Foundation
import Operations

/// Finds rows by their age, and deletes them.
public struct RetentionRepository: RetentionStore {
    private let engine: any SQLEngine
    private let ambient: Ambient

    public init(engine: any SQLEngine, ambient: Ambient = .system) {
        self.engine = engine
        self.ambient = ambient
    }

    public func isDue(_ work: String, every interval: Duration) async throws -> Bool {
        let arguments: [SQLValue] = [.text(work), .int(interval.microseconds)]
        let answers = try await engine.write(
            Batch(
                .system,
                [
                    SQLStatement(
                        "INSERT INTO upkeep (name, next_at) VALUES (?1, 0) ON CONFLICT (name) DO NOTHING", [arguments[0]]),
                    SQLStatement(
                        """
                        UPDATE upkeep SET next_at = current_micros() + ?2
                        WHERE name = ?1 AND next_at <= current_micros()
                        """,
                        arguments),
                ]))
        return answers[1].changes == 1
    }

    public func prune(_ rows: RetainedRows, olderThan age: Duration, limit: Int) async throws -> Int {
        let answers = try await engine.write(
            Batch(.system, statements(rows, [.int(age.microseconds)], limit), isRepeatable: true))
        return answers.map(\.changes).max() ?? 0
    }

    /// `?1` is the age in microseconds. The limit is written out, so that a plan that is made once knows it.
    private func statements(_ rows: RetainedRows, _ arguments: [SQLValue], _ limit: Int) -> [SQLStatement] {
        switch rows {
        case .jobs:
            // By the ids, which tell when they were made: an index by their end would cost every job.
            return [
                SQLStatement(
                    """
                    DELETE FROM jobs WHERE id IN (
                        SELECT id FROM jobs
                        WHERE id < ?2 AND state IN ('completed', 'cancelled') AND finished_at < current_micros() - ?1
                        ORDER BY id LIMIT \(limit)
                    )
                    """,
                    arguments + [.uuid(.lowestVersion7(at: ambient.now()))])
            ]
        case .deadLetters:
            return [
                SQLStatement(
                    """
                    DELETE FROM jobs WHERE id IN (
                        SELECT id FROM jobs
                        WHERE state IN ('discarded', 'cancelled') AND state = 'discarded'
                            AND finished_at < current_micros() - ?1
                        LIMIT \(limit)
                    )
                    """,
                    arguments)
            ]
        case .runs: return [oldest("agent_runs", "finished_at", arguments, limit)]
        case .idempotencyKeys: return [oldest("idempotency_keys", "created_at", arguments, limit)]
        case .auditLogs: return [oldest("audit_logs", "created_at", arguments, limit)]
        case .usage: return [oldest("usage_metrics", "created_at", arguments, limit)]
        case .scheduleFirings: return [oldest("schedule_firings", "created_at", arguments, limit)]
        case .deliveries: return [oldest("outbox", "created_at", arguments, limit)]
        case .metaEvents: return [oldest("meta_events", "created_at", arguments, limit)]
        case .signIns:
            let ended = SQLStatement(
                """
                DELETE FROM sign_ins WHERE id IN (
                    SELECT id FROM sign_ins
                    WHERE created_at < current_micros() - ?1
                        AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.sign_in_id = sign_ins.id)
                    ORDER BY created_at LIMIT \(limit)
                )
                """,
                arguments)
            return ["refresh_tokens", "invitations", "password_resets"].map { oldest($0, "expires_at", arguments, limit) } + [
                ended
            ]
        }
    }

    /// The oldest rows, and those as old as the last of them.
    private func oldest(
        _ table: String, _ time: String, _ arguments: [SQLValue], _ limit: Int
    ) -> SQLStatement {
        SQLStatement(
            """
            DELETE FROM \(table) WHERE \(time) <= (
                SELECT max(oldest.\(time)) FROM (
                    SELECT \(time) FROM \(table) WHERE \(time) < current_micros() - ?1 ORDER BY \(time) LIMIT \(limit)
                ) AS oldest
            )
            """,
            arguments)
    }
}
