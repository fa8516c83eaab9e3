import Agents
import Domain
import Foundation
import Queue

/// Runs, their logs, steps and tool calls: reading and creating. `RunRepository+commit.swift` changes them.
public struct RunRepository: RunStore {
    let engine: any SQLEngine
    let ambient: Ambient

    public init(engine: any SQLEngine, ambient: Ambient = .system) {
        self.engine = engine
        self.ambient = ambient
    }

    // MARK: Creating

    public func create(tenant: TenantID, _ run: NewRun) async throws -> Run {
        if let earlier = try await earlierRun(tenant: tenant, run) { return earlier }
        let now = ambient.now()
        do {
            _ = try await engine.write(Batch(.tenant(tenant), creation(tenant, run, at: now), isRepeatable: true))
        } catch StorageError.uniqueViolation {
            // The same key or id was stored at the same time, or by a try whose answer was lost.
            if let earlier = try await earlierRun(tenant: tenant, run) { return earlier }
            guard let same = try await self.run(tenant: tenant, run.id) else {
                throw StorageError.unavailable("The run was stored and is not there.")
            }
            return same
        }
        return Run(
            id: run.id, session: run.session ?? run.newSession, principal: run.principal, trace: run.trace,
            prompt: run.prompt, options: run.options, status: .queued, output: nil, failure: nil,
            usage: Run.Usage(inputTokens: 0, outputTokens: 0), createdAt: now, startedAt: nil, finishedAt: nil,
            deadline: now.adding(run.options.timeout))
    }

    /// The run that was created under the same idempotency key.
    private func earlierRun(tenant: TenantID, _ run: NewRun) async throws -> Run? {
        guard let idempotency = run.idempotency else { return nil }
        let rows = try await read(
            tenant,
            SQLStatement(
                "SELECT run_id, digest FROM idempotency_keys WHERE tenant_id = ?1 AND key = ?2",
                [.id(tenant), .text(idempotency.key)]))
        guard let row = rows[0].first else { return nil }
        guard row.text(1) == idempotency.digest else { throw IdempotencyKeyReused() }
        return try await self.run(tenant: tenant, row.id(0))
    }

    private func creation(_ tenant: TenantID, _ run: NewRun, at now: Timestamp) -> [SQLStatement] {
        let session = run.session ?? run.newSession
        let started = LoggedEvent(seq: 1, timestamp: now, event: .runStarted)
        var statements =
            [
                run.session == nil
                    ? SQLStatement(
                        "INSERT INTO sessions (tenant_id, id, user_id, created_at) VALUES (?1, ?2, ?3, ?4)",
                        [.id(tenant), .id(session), .id(run.principal.user), .time(now)])
                    : SQLStatement(
                        "SELECT id FROM sessions WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(session)],
                        expect: .rows(1, otherwise: Problem.notFound("session"))),
                SQLStatement(
                    """
                    INSERT INTO agent_runs (
                        tenant_id, id, session_id, user_id, scopes, request_id, traceparent, prompt, options, status,
                        created_at, deadline_at
                    ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'queued', ?10, ?11)
                    """,
                    [
                        .id(tenant), .id(run.id), .id(session), .id(run.principal.user),
                        .text(run.principal.scopes.joined(separator: " ")), .text(run.trace.requestID),
                        .text(run.trace.traceparent), .text(run.prompt), .json(run.options.json.text), .time(now),
                        .time(now.adding(run.options.timeout)),
                    ]),
                SQLStatement(
                    """
                    INSERT INTO messages (tenant_id, id, session_id, run_id, role, text, created_at)
                    VALUES (?1, ?2, ?3, ?2, 'user', ?4, ?5)
                    """,
                    [.id(tenant), .id(run.id), .id(session), .text(run.prompt), .time(now)]),
                SQLStatement(
                    "INSERT INTO run_heads (tenant_id, run_id, last_seq, token) VALUES (?1, ?2, 1, 0)",
                    [.id(tenant), .id(run.id)]),
                SQLStatement(
                    """
                    INSERT INTO run_events (tenant_id, run_id, seq, type, fields, created_at)
                    VALUES (?1, ?2, 1, ?3, ?4, ?5)
                    """,
                    [.id(tenant), .id(run.id), .text(started.type), .json(started.fields), .time(now)]),
            ] + JobRepository.inserts(tenant: tenant, [run.job])
        if let idempotency = run.idempotency {
            statements.append(
                SQLStatement(
                    """
                    INSERT INTO idempotency_keys (tenant_id, key, digest, run_id, created_at)
                    VALUES (?1, ?2, ?3, ?4, ?5)
                    """,
                    [.id(tenant), .text(idempotency.key), .text(idempotency.digest), .id(run.id), .time(now)]))
        }
        return statements
    }

    // MARK: Reading

    private static let runColumns = """
        id, session_id, tenant_id, user_id, scopes, request_id, traceparent, prompt, options, status, output, error_code,
        error_message, input_tokens, output_tokens, created_at, started_at, finished_at, deadline_at
        """

    private static func run(_ row: SQLRow) -> Run {
        Run(
            id: row.id(0), session: row.id(1),
            principal: Principal(
                tenant: row.id(2), user: row.id(3), scopes: row.text(4).split(separator: " ").map(String.init)),
            trace: Trace(requestID: row.text(5), traceparent: row.optionalText(6)), prompt: row.text(7),
            options: RunOptions(json: row.json(8)), status: row.value(9), output: row.optionalText(10),
            failure: row.optionalText(11).map { Run.Failure(code: $0, message: row.optionalText(12) ?? "") },
            usage: Run.Usage(inputTokens: Int(row.int(13)), outputTokens: Int(row.int(14))), createdAt: row.time(15),
            startedAt: row.optionalTime(16), finishedAt: row.optionalTime(17), deadline: row.time(18))
    }

    private func selectRun(_ tenant: TenantID, _ id: RunID) -> SQLStatement {
        SQLStatement(
            "SELECT \(Self.runColumns) FROM agent_runs WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
    }

    private func read(
        _ tenant: TenantID, _ statements: SQLStatement..., function: StaticString = #function
    ) async throws -> [[SQLRow]] {
        try await engine.read(Batch(.tenant(tenant), statements, function: function)).map(\.rows)
    }

    public func run(tenant: TenantID, _ id: RunID) async throws -> Run? {
        try await read(tenant, selectRun(tenant, id))[0].first.map(Self.run)
    }

    public func runs(tenant: TenantID, status: RunStatus?, page: PageRequest) async throws -> Page<Run> {
        let rows = try await read(
            tenant,
            .page(
                of: "agent_runs", columns: Self.runColumns, tenant, page,
                where: status.map { [("status", .text($0.rawValue))] } ?? [])
        )
        return Page(fetched: rows[0].map(Self.run), limit: page.limit) { $0.id.uuid }
    }

    private func selectSteps(_ tenant: TenantID, _ run: RunID) -> SQLStatement {
        SQLStatement(
            """
            SELECT id, position, kind, tool_call_id, status, attempt, output, started_at, finished_at FROM agent_steps
            WHERE tenant_id = ?1 AND run_id = ?2 ORDER BY position
            """,
            [.id(tenant), .id(run)])
    }

    private static func step(_ row: SQLRow) -> RunStep {
        RunStep(
            id: row.id(0), index: Int(row.int(1)), kind: row.value(2), toolCall: row.optionalText(3),
            status: row.value(4), attempt: Int(row.int(5)),
            output: row.optionalText(6).map { _ in ModelTurn(json: row.json(6)) }, startedAt: row.time(7),
            finishedAt: row.optionalTime(8))
    }

    public func steps(tenant: TenantID, run: RunID) async throws -> [RunStep] {
        try await read(tenant, selectSteps(tenant, run))[0].map(Self.step)
    }

    private func selectToolCalls(_ tenant: TenantID, _ run: RunID) -> SQLStatement {
        SQLStatement(
            """
            SELECT t.id, t.step_id, t.ordinal, t.name, t.arguments, t.state, t.attempt, t.result, t.created_at, t.finished_at
            FROM tool_calls t
            JOIN agent_steps s ON s.tenant_id = t.tenant_id AND s.run_id = t.run_id AND s.id = t.step_id
            WHERE t.tenant_id = ?1 AND t.run_id = ?2 ORDER BY s.position, t.ordinal
            """,
            [.id(tenant), .id(run)])
    }

    private static func toolCall(_ row: SQLRow) -> ToolCallRecord {
        ToolCallRecord(
            id: row.text(0), step: row.id(1), ordinal: Int(row.int(2)), name: row.text(3), arguments: row.text(4),
            state: row.value(5), attempt: Int(row.int(6)), result: row.optionalText(7), createdAt: row.time(8),
            finishedAt: row.optionalTime(9))
    }

    public func toolCalls(tenant: TenantID, run: RunID) async throws -> [ToolCallRecord] {
        try await read(tenant, selectToolCalls(tenant, run))[0].map(Self.toolCall)
    }

    public func events(tenant: TenantID, run: RunID, after seq: Int64, limit: Int) async throws -> [LoggedEvent] {
        let rows = try await read(
            tenant,
            SQLStatement(
                """
                SELECT seq, type, created_at, fields FROM run_events
                WHERE tenant_id = ?1 AND run_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4
                """,
                [.id(tenant), .id(run), .int(seq), .int(limit)]))
        return rows[0].map { row in
            LoggedEvent(seq: row.int(0), type: row.text(1), timestamp: row.time(2), fields: row.text(3))
        }
    }

    public func snapshot(tenant: TenantID, run id: RunID) async throws -> RunSnapshot? {
        let rows = try await read(
            tenant, selectRun(tenant, id),
            SQLStatement(
                """
                SELECT h.last_seq, h.token, h.cancel_requested, EXISTS (
                    SELECT 1 FROM jobs j WHERE j.tenant_id = ?1 AND j.subject = ?2 AND j.\(JobRepository.isExecuting)
                )
                FROM run_heads h WHERE h.tenant_id = ?1 AND h.run_id = ?2
                """,
                [.id(tenant), .id(id)]),
            selectSteps(tenant, id), selectToolCalls(tenant, id),
            SQLStatement(
                """
                SELECT role, text FROM messages
                WHERE tenant_id = ?1 AND session_id = (
                    SELECT session_id FROM agent_runs WHERE tenant_id = ?1 AND id = ?2
                ) AND id < ?2
                ORDER BY id DESC LIMIT ?3
                """,
                [.id(tenant), .id(id), .int(SessionMessage.maximumHistory)]))
        guard let run = rows[0].first.map(Self.run), let head = rows[1].first else { return nil }
        return RunSnapshot(
            run: run, token: head.int(1), lastSeq: head.int(0), isCancelRequested: head.bool(2), isHeld: head.bool(3),
            history: rows[4].reversed().map { SessionMessage(role: $0.value(0), text: $0.text(1)) },
            steps: rows[2].map(Self.step), toolCalls: rows[3].map(Self.toolCall))
    }

    public func isCancelRequested(tenant: TenantID, run: RunID) async throws -> Bool {
        let rows = try await read(
            tenant,
            SQLStatement(
                "SELECT cancel_requested FROM run_heads WHERE tenant_id = ?1 AND run_id = ?2", [.id(tenant), .id(run)]))
        return rows[0].first?.bool(0) ?? false
    }

    public func depths() async throws -> [RunStatus: Int] {
        let answers = try await engine.read(
            Batch(
                .system,
                [
                    SQLStatement(
                        """
                        SELECT status, count(*) FROM agent_runs
                        WHERE status IN ('queued', 'running', 'waiting') GROUP BY status
                        """)
                ]))
        return Dictionary(
            uniqueKeysWithValues: answers[0].rows.map { ($0.value(0, as: RunStatus.self), Int($0.int(1))) })
    }
}
