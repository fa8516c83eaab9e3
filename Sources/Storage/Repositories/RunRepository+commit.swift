import Agents
import Automation
import Domain
import Foundation
import Queue

/// Changing a run under its fence. Every statement carries a token, the run's or its job's, so that each by itself does
/// nothing under an old one, on engines where statements before a refused one are not undone by themselves.
extension RunRepository {
    /// `?1` tenant, `?2` run, `?3` the token that holds after the head was moved.
    private static let fenced = "EXISTS (SELECT 1 FROM run_heads WHERE tenant_id = ?1 AND run_id = ?2 AND token = ?3)"

    public func commit(_ commit: RunCommit) async throws -> RunReceipt {
        do {
            return try await tryCommit(commit)
        } catch StorageError.outcomeUnknown {
            return try await settle(commit)
        }
    }

    private func tryCommit(_ commit: RunCommit) async throws -> RunReceipt {
        var statements = head(commit) + events(commit)
        for effect in commit.effects { statements += self.statements(effect, commit) }
        let answers: [ResultSet]
        do {
            answers = try await engine.write(Batch(.tenant(commit.tenant), statements, function: "commit"))
        } catch StorageError.uniqueViolation {
            // A step or event of this commit exists: another worker went on with the run.
            throw FenceLost()
        }
        guard let row = answers.first?.rows.first else { throw FenceLost() }
        return RunReceipt(lastSeq: row.int(0), isCancelRequested: row.bool(1))
    }

    /// Tries of a commit of which nobody knows whether it was made.
    private static let maximumSettling = 5

    /// Repeats a commit of which nobody knows whether it was made. Where it was, the repetition is refused, for the log has
    /// moved on; and while the token is still ours, nobody else can have moved it.
    private func settle(_ commit: RunCommit) async throws -> RunReceipt {
        guard case .holding(let token, let lastSeq) = commit.authority else { throw StorageError.outcomeUnknown }
        for _ in 0..<Self.maximumSettling {
            do {
                return try await tryCommit(commit)
            } catch is FenceLost {
                let head = SQLStatement(
                    """
                    SELECT last_seq, cancel_requested FROM run_heads
                    WHERE tenant_id = ?1 AND run_id = ?2 AND token = ?3 AND last_seq = ?4
                    """,
                    [.id(commit.tenant), .id(commit.run), .int(token), .int(lastSeq + Int64(commit.events.count))])
                let answers = try await engine.read(Batch(.tenant(commit.tenant), [head]))
                guard let row = answers[0].rows.first else { throw FenceLost() }
                return RunReceipt(lastSeq: row.int(0), isCancelRequested: row.bool(1))
            } catch let error as StorageError where error.isPassing || error == .outcomeUnknown {
                continue
            }
        }
        throw StorageError.outcomeUnknown
    }

    /// Moves the head by the number of events; where the authority does not hold, it moves nothing.
    private func head(_ commit: RunCommit) -> [SQLStatement] {
        let count = SQLValue.int(commit.events.count)
        let place: [SQLValue] = [.id(commit.tenant), .id(commit.run)]
        func move(_ set: String, _ condition: String, _ arguments: [SQLValue]) -> SQLStatement {
            SQLStatement(
                """
                UPDATE run_heads SET last_seq = last_seq + ?4\(set)
                WHERE tenant_id = ?1 AND run_id = ?2 AND token = ?3\(condition)
                RETURNING last_seq, cancel_requested
                """,
                place + arguments, expect: .rows(1, otherwise: FenceLost()))
        }
        switch commit.authority {
        case .holding(let token, let lastSeq):
            return [move("", " AND last_seq = ?5", [.int(token), count, .int(lastSeq)])]
        case .taking(let token, let lastSeq, let lease):
            let held = """
                 AND last_seq = ?5 AND EXISTS (
                    SELECT 1 FROM jobs
                    WHERE id = ?6 AND tenant_id = ?1 AND subject = ?2 AND token = ?7 AND \(JobRepository.isExecuting)
                )
                """
            return [
                move(", token = token + 1", held, [.int(token), count, .int(lastSeq), .id(lease.job), .int(lease.token)])
            ]
        case .takingIdle(let token, let lastSeq):
            let idle = """
                 AND last_seq = ?5 AND NOT EXISTS (
                    SELECT 1 FROM jobs WHERE tenant_id = ?1 AND subject = ?2 AND \(JobRepository.isExecuting)
                )
                """
            let cancelJobs = SQLStatement(
                """
                UPDATE jobs SET state = 'cancelled', finished_at = current_micros()
                WHERE tenant_id = ?1 AND subject = ?2 AND state IN ('scheduled', 'available', 'retryable') AND \(Self.fenced)
                """,
                place + [.int(token + 1)])
            return [move(", token = token + 1", idle, [.int(token), count, .int(lastSeq)]), cancelJobs]
        }
    }

    /// All events of the commit in one statement, numbered back from the head's new end.
    private func events(_ commit: RunCommit) -> [SQLStatement] {
        guard !commit.events.isEmpty else { return [] }
        var arguments: [SQLValue] = [
            .id(commit.tenant), .id(commit.run), .int(commit.token), .time(commit.time),
        ]
        let rows = commit.events.enumerated().map { offset, event in
            arguments += [
                .int(commit.events.count - 1 - offset), .text(event.type), .json(JSONValue.object(event.fields).text),
            ]
            return "(?\(arguments.count - 2), ?\(arguments.count - 1), ?\(arguments.count))"
        }.joined(separator: ", ")
        return [
            SQLStatement(
                """
                INSERT INTO run_events (tenant_id, run_id, seq, type, fields, created_at)
                SELECT ?1, ?2, h.last_seq - e.column1, e.column2, e.column3, ?4
                FROM run_heads h, (VALUES \(rows)) e
                WHERE h.tenant_id = ?1 AND h.run_id = ?2 AND h.token = ?3
                """,
                arguments, expect: .rows(commit.events.count, otherwise: FenceLost()))
        ]
    }

    private func statements(_ effect: RunEffect, _ commit: RunCommit) -> [SQLStatement] {
        switch effect {
        case .status(let status, let output, let failure):
            [move(commit, to: status, output, failure), event(commit, status, failure)].compactMap { $0 }
        case .deadline(let time):
            [
                one(
                    commit,
                    "UPDATE agent_runs SET deadline_at = ?4 WHERE tenant_id = ?1 AND id = ?2 AND \(Self.fenced)",
                    [.time(time)])
            ]
        case .answered(let message, let text): [answer(commit, message, text)]
        case .stepStarted(let step): [start(commit, step)]
        case .stepRestarted(let id, let attempt):
            [
                one(
                    commit,
                    """
                    UPDATE agent_steps SET attempt = ?5
                    WHERE tenant_id = ?1 AND run_id = ?2 AND id = ?4 AND status = 'started' AND \(Self.fenced)
                    """,
                    [.id(id), .int(attempt)])
            ]
        case .stepFinished(let id, let output, let use): finish(commit, id, output, use)
        case .unfinishedAbandoned: abandonments(commit)
        case .toolCallRequested(let call): [request(commit, call)]
        case .toolCallMoved(let id, let from, let to, let attempt, let result):
            [
                one(
                    commit,
                    """
                    UPDATE tool_calls SET state = ?6, attempt = ?7, result = ?8, token = ?3, finished_at = ?9
                    WHERE tenant_id = ?1 AND run_id = ?2 AND id = ?4 AND state = ?5 AND \(Self.fenced)
                    """,
                    [
                        .text(id), .text(from.rawValue), .text(to.rawValue), .int(attempt), .text(result),
                        to.isFinal ? .time(commit.time) : .int(nil),
                    ])
            ]
        case .jobCompleted(let lease): [JobRepository.completion(of: lease)]
        case .jobEnqueued(let job):
            JobRepository.inserts(
                tenant: commit.tenant, [job],
                fence: JobRepository.RunFence(run: commit.run, token: commit.token, lost: FenceLost()))
        }
    }

    /// A statement that changes one row, whose first three parameters are those of `fenced`.
    private func one(_ commit: RunCommit, _ sql: String, _ arguments: [SQLValue]) -> SQLStatement {
        SQLStatement(
            sql, [.id(commit.tenant), .id(commit.run), .int(commit.token)] + arguments,
            expect: .rows(1, otherwise: FenceLost()))
    }

    // MARK: Steps

    private func start(_ commit: RunCommit, _ step: RunStep) -> SQLStatement {
        one(
            commit,
            """
            INSERT INTO agent_steps (
                tenant_id, run_id, id, position, kind, tool_call_id, status, attempt, started_at
            ) SELECT ?1, ?2, ?4, ?5, ?6, ?7, 'started', ?8, ?9 WHERE \(Self.fenced)
            """,
            [
                .id(step.id), .int(step.index), .text(step.kind.rawValue), .text(step.toolCall), .int(step.attempt),
                .time(step.startedAt),
            ])
    }

    /// What a column of usage holds at most: whatever a provider counts, the step can be finished.
    private static let mostUsed = Int(Int32.max)

    private func finish(_ commit: RunCommit, _ id: StepID, _ output: ModelTurn?, _ use: StepUse) -> [SQLStatement] {
        let step = one(
            commit,
            """
            UPDATE agent_steps SET
                status = 'finished', output = ?5, input_tokens = ?6, output_tokens = ?7, finished_at = ?8
            WHERE tenant_id = ?1 AND run_id = ?2 AND id = ?4 AND status = 'started' AND \(Self.fenced)
            """,
            [.id(id), .json(output?.json.text), .int(use.inputTokens), .int(use.outputTokens), .time(commit.time)])
        let usage = one(
            commit,
            """
            INSERT INTO usage_metrics (
                tenant_id, id, run_id, user_id, agent, kind, name, attempts, input_tokens, output_tokens, duration_ms,
                created_at
            )
            SELECT ?1, s.id, ?2, r.user_id, ?5, s.kind, ?6, s.attempt, ?7, ?8,
                CASE WHEN (?9 - s.started_at) / 1000 < \(Self.mostUsed) THEN (?9 - s.started_at) / 1000 ELSE \(Self.mostUsed) END, ?9
            FROM agent_steps s JOIN agent_runs r ON r.tenant_id = s.tenant_id AND r.id = s.run_id
            WHERE s.tenant_id = ?1 AND s.run_id = ?2 AND s.id = ?4 AND \(Self.fenced)
            """,
            [
                .id(id), .text(StepUse.defaultAgent), .text(use.name), .int(min(use.inputTokens, Self.mostUsed)),
                .int(min(use.outputTokens, Self.mostUsed)), .time(commit.time),
            ])
        guard use.inputTokens + use.outputTokens > 0 else { return [step, usage] }
        return [
            step, usage,
            one(
                commit,
                """
                UPDATE agent_runs SET input_tokens = input_tokens + ?4, output_tokens = output_tokens + ?5
                WHERE tenant_id = ?1 AND id = ?2 AND \(Self.fenced)
                """,
                [.int(use.inputTokens), .int(use.outputTokens)]),
        ]
    }

    private func request(_ commit: RunCommit, _ call: ToolCallRecord) -> SQLStatement {
        one(
            commit,
            """
            INSERT INTO tool_calls (
                tenant_id, run_id, id, step_id, ordinal, name, arguments, state, attempt, token, created_at
            ) SELECT ?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?3, ?11 WHERE \(Self.fenced)
            """,
            [
                .text(call.id), .id(call.step), .int(call.ordinal), .text(call.name), .text(call.arguments),
                .text(call.state.rawValue), .int(call.attempt), .time(call.createdAt),
            ])
    }

    // MARK: The run

    private func answer(_ commit: RunCommit, _ message: UUID, _ text: String) -> SQLStatement {
        one(
            commit,
            """
            INSERT INTO messages (tenant_id, id, session_id, run_id, role, text, created_at)
            SELECT ?1, ?4, session_id, ?2, 'assistant', ?5, ?6 FROM agent_runs
            WHERE tenant_id = ?1 AND id = ?2 AND \(Self.fenced)
            """,
            [.uuid(message), .text(text), .time(commit.time)])
    }

    /// Moves the run only from where the state machine allows it.
    private func move(
        _ commit: RunCommit, to status: RunStatus, _ output: String?, _ failure: Run.Failure?
    ) -> SQLStatement {
        let sources = RunStateMachine.sources(of: status).map { "'\($0.rawValue)'" }.joined(separator: ", ")
        return one(
            commit,
            """
            UPDATE agent_runs SET
                status = ?4, output = coalesce(?5, output), error_code = ?6, error_message = ?7,
                started_at = \(status == .running ? "coalesce(started_at, ?8)" : "started_at"),
                finished_at = \(status.isFinal ? "?8" : "finished_at")
            WHERE tenant_id = ?1 AND id = ?2 AND status IN (\(sources)) AND \(Self.fenced)
            """,
            [
                .text(status.rawValue), .text(output), .text(failure?.code), .text(failure?.message), .time(commit.time),
            ])
    }

    /// What other servers are told once the run waits or has ended.
    private func event(_ commit: RunCommit, _ status: RunStatus, _ failure: Run.Failure?) -> SQLStatement? {
        guard status.isAtRest else { return nil }
        let error: JSONValue = failure.map { ["code": .string($0.code), "message": .string($0.message)] } ?? .null
        let event = OutgoingEvent(
            id: EventID(ambient.makeID()), type: "run.\(status.rawValue)",
            data: ["runId": .string("\(commit.run)"), "status": .string(status.rawValue), "error": error], time: commit.time)
        return event.insert(
            tenant: commit.tenant, where: "EXISTS (SELECT 1 FROM run_heads WHERE tenant_id = ?1 AND run_id = ?6 AND token = ?7)",
            [.id(commit.run), .int(commit.token)])
    }

    private func abandonments(_ commit: RunCommit) -> [SQLStatement] {
        let arguments: [SQLValue] = [.id(commit.tenant), .id(commit.run), .int(commit.token), .time(commit.time)]
        return [
            SQLStatement(
                """
                UPDATE agent_steps SET status = 'abandoned', finished_at = ?4
                WHERE tenant_id = ?1 AND run_id = ?2 AND status = 'started' AND \(Self.fenced)
                """,
                arguments),
            SQLStatement(
                """
                UPDATE tool_calls SET state = 'cancelled', finished_at = ?4, token = ?3
                WHERE tenant_id = ?1 AND run_id = ?2 AND state IN ('requested', 'dispatching', 'unknown') AND \(Self.fenced)
                """,
                arguments),
        ]
    }

    public func requestCancel(tenant: TenantID, run: RunID) async throws {
        let unfinished = """
            EXISTS (
                SELECT 1 FROM agent_runs WHERE tenant_id = ?1 AND id = ?2 AND status IN ('queued', 'running', 'waiting')
            )
            """
        _ = try await engine.write(
            Batch(
                .tenant(tenant),
                [
                    SQLStatement(
                        """
                        INSERT INTO run_commands (tenant_id, run_id, id, kind, created_at)
                        SELECT ?1, ?2, ?3, 'cancel', ?4 WHERE \(unfinished)
                        ON CONFLICT (tenant_id, run_id, id) DO NOTHING
                        """,
                        [.id(tenant), .id(run), .uuid(ambient.makeID()), .time(ambient.now())]),
                    SQLStatement(
                        "UPDATE run_heads SET cancel_requested = true WHERE tenant_id = ?1 AND run_id = ?2 AND \(unfinished)",
                        [.id(tenant), .id(run)]),
                ],
                isRepeatable: true))
    }
}
