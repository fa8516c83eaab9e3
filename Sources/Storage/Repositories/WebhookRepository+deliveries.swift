import Accounts
import Automation
import Domain
import Queue

/// Events that are to be told, and what became of each telling.
extension WebhookRepository {
    public func pending(after last: PendingEvent?, limit: Int) async throws -> [PendingEvent] {
        let place: [SQLValue] = last.map { [.time($0.time), .id($0.tenant), .id($0.event)] } ?? []
        let select = SQLStatement(
            """
            SELECT tenant_id, id, type, created_at FROM outbox
            WHERE state = 'pending' \(last == nil ? "" : "AND (created_at, tenant_id, id) > (?2, ?3, ?4)")
            ORDER BY created_at, tenant_id, id LIMIT ?1
            """,
            [.int(limit)] + place)
        return try await engine.read(Batch(.system, [select]))[0].rows.map { row in
            PendingEvent(tenant: row.id(0), event: row.id(1), type: row.text(2), time: row.time(3))
        }
    }

    public func send(
        tenant: TenantID, _ events: [EventID], deliveries: [WebhookDelivery], jobs: [NewJob]
    ) async throws {
        guard !events.isEmpty else { return }
        let ids = Bucket(rows: events.map { [.id($0)] }, after: 1)
        let sent = SQLStatement(
            "UPDATE outbox SET state = 'sent' WHERE tenant_id = ?1 AND id IN (\(ids.places)) AND state = 'pending'",
            [.id(tenant)] + ids.arguments, expect: .rows(events.count, otherwise: EventMoved()))
        _ = try await engine.write(
            Batch(
                .tenant(tenant),
                [sent] + Self.inserts(tenant, deliveries) + JobRepository.inserts(tenant: tenant, jobs), isRepeatable: true))
    }

    public func send(
        tenant: TenantID, _ event: OutgoingEvent, delivery: WebhookDelivery, job: NewJob, audit: AuditEntry
    ) async throws {
        let insert = SQLStatement(
            """
            INSERT INTO outbox (tenant_id, id, type, data, state, occurred_at, created_at)
            VALUES (?1, ?2, ?3, ?4, 'sent', ?5, current_micros())
            """,
            [.id(tenant), .id(event.id), .text(event.type), .json(event.data.text), .time(event.time)])
        do {
            _ = try await engine.write(
                Batch(
                    .tenant(tenant),
                    [insert] + Self.inserts(tenant, [delivery]) + JobRepository.inserts(tenant: tenant, [job]) + [audit.insert]))
        } catch StorageError.foreignKeyViolation {
            throw Problem.notFound("webhook")
        }
    }

    /// Deliveries that one statement stores.
    private static let maximumTogether = 200

    private static func inserts(_ tenant: TenantID, _ deliveries: [WebhookDelivery]) -> [SQLStatement] {
        stride(from: 0, to: deliveries.count, by: maximumTogether).map { start in
            let rows = Bucket(
                rows: deliveries[start..<min(start + maximumTogether, deliveries.count)].map { delivery in
                    [
                        .id(delivery.id), .id(delivery.webhook), .id(delivery.event), .text(delivery.state.rawValue),
                        .time(delivery.createdAt),
                    ]
                }, after: 1)
            return SQLStatement(
                """
                INSERT INTO webhook_deliveries (tenant_id, id, webhook_id, event_id, state, created_at)
                SELECT ?1, n.column1, n.column2, n.column3, n.column4, n.column5
                FROM (VALUES \(rows.places)) AS n WHERE n.column1 IS NOT NULL
                """,
                [.id(tenant)] + rows.arguments)
        }
    }

    // MARK: Reading

    private static let deliveryColumns = """
        id, webhook_id, event_id, (
            SELECT type FROM outbox o WHERE o.tenant_id = webhook_deliveries.tenant_id AND o.id = webhook_deliveries.event_id
        ), state, attempts, last_status, last_error, last_response, last_duration_ms, last_attempt_at, created_at, delivered_at
        """

    private static func delivery(_ row: SQLRow) -> WebhookDelivery {
        let attempt = row.optionalTime(10).map { time in
            WebhookDelivery.Attempt(
                status: row.optionalInt(6).map { Int($0) }, error: row.optionalText(7), response: row.optionalText(8),
                duration: .milliseconds(row.optionalInt(9) ?? 0), time: time)
        }
        return WebhookDelivery(
            id: row.id(0), webhook: row.id(1), event: row.id(2), type: row.text(3), state: row.value(4),
            attempts: Int(row.int(5)), lastAttempt: attempt, createdAt: row.time(11), deliveredAt: row.optionalTime(12))
    }

    public func delivery(
        tenant: TenantID, _ id: DeliveryID
    ) async throws -> (delivery: WebhookDelivery, event: OutgoingEvent)? {
        let delivery = SQLStatement(
            "SELECT \(Self.deliveryColumns) FROM webhook_deliveries WHERE tenant_id = ?1 AND id = ?2", [.id(tenant), .id(id)])
        let event = SQLStatement(
            """
            SELECT id, type, data, occurred_at FROM outbox
            WHERE tenant_id = ?1 AND id = (SELECT event_id FROM webhook_deliveries WHERE tenant_id = ?1 AND id = ?2)
            """,
            [.id(tenant), .id(id)])
        let answers = try await engine.read(Batch(.tenant(tenant), [delivery, event]))
        guard let found = answers[0].rows.first, let row = answers[1].rows.first else { return nil }
        return (
            Self.delivery(found), OutgoingEvent(id: row.id(0), type: row.text(1), data: row.json(2), time: row.time(3))
        )
    }

    public func deliveries(
        tenant: TenantID, of webhook: WebhookID, state: WebhookDelivery.State?, page: PageRequest
    ) async throws -> Page<WebhookDelivery> {
        var filters: [(column: String, value: SQLValue)] = [("webhook_id", .id(webhook))]
        if let state { filters.append(("state", .text(state.rawValue))) }
        let select = SQLStatement.page(
            of: "webhook_deliveries", columns: Self.deliveryColumns, tenant, page, where: filters)
        let rows = try await engine.read(Batch(.tenant(tenant), [select]))[0].rows
        return Page(fetched: rows.map(Self.delivery), limit: page.limit) { $0.id.uuid }
    }

    // MARK: Tries

    public func replay(tenant: TenantID, _ id: DeliveryID, job: NewJob, audit: AuditEntry) async throws {
        let replay = SQLStatement(
            """
            UPDATE webhook_deliveries SET state = 'pending', delivered_at = NULL
            WHERE tenant_id = ?1 AND id = ?2 AND state <> 'pending'
            """,
            [.id(tenant), .id(id)],
            expect: .rows(
                1, otherwise: Problem(.deliveryPending, "The delivery is still being tried. Wait for its end, then replay it.")))
        _ = try await engine.write(
            Batch(.tenant(tenant), [replay] + JobRepository.inserts(tenant: tenant, [job]) + [audit.insert]))
    }

    /// A pending delivery whose job the lease holds: `?1` to `?4`.
    private static let held = """
        tenant_id = ?1 AND id = ?2 AND state = 'pending' AND EXISTS (
            SELECT 1 FROM jobs WHERE id = ?3 AND tenant_id = ?1 AND token = ?4 AND \(JobRepository.isExecuting)
        )
        """

    private static func place(of lease: JobLease) -> [SQLValue] {
        [.id(lease.tenant), .uuid(lease.subject), .id(lease.job), .int(lease.token)]
    }

    private static func values(of attempt: WebhookDelivery.Attempt) -> [SQLValue] {
        [
            .int(attempt.status.map { Int64($0) }), .text(attempt.error), .text(attempt.response),
            .int(Int(attempt.duration.milliseconds)), .time(attempt.time),
        ]
    }

    public func note(_ lease: JobLease, _ attempt: WebhookDelivery.Attempt) async throws {
        let note = SQLStatement(
            """
            UPDATE webhook_deliveries SET
                attempts = attempts + 1, last_status = ?5, last_error = ?6, last_response = ?7, last_duration_ms = ?8,
                last_attempt_at = ?9
            WHERE \(Self.held)
            """,
            Self.place(of: lease) + Self.values(of: attempt), expect: .rows(1, otherwise: FenceLost()))
        _ = try await engine.write(Batch(.tenant(lease.tenant), [note]))
    }

    public func settle(
        _ lease: JobLease, as state: WebhookDelivery.State, _ attempt: WebhookDelivery.Attempt, disabling: String?
    ) async throws {
        let end = SQLStatement(
            """
            UPDATE webhook_deliveries SET
                attempts = attempts + 1, last_status = ?5, last_error = ?6, last_response = ?7, last_duration_ms = ?8,
                last_attempt_at = ?9, state = ?10, delivered_at = CASE WHEN ?10 = 'delivered' THEN ?9 END
            WHERE \(Self.held)
            """,
            Self.place(of: lease) + Self.values(of: attempt) + [.text(state.rawValue)],
            expect: .rows(1, otherwise: FenceLost()))
        var statements = [end]
        if let disabling {
            statements.append(
                SQLStatement(
                    """
                    UPDATE webhooks SET disabled_at = ?3, disabled_reason = ?4, version = version + 1
                    WHERE tenant_id = ?1 AND id = (SELECT webhook_id FROM webhook_deliveries WHERE tenant_id = ?1 AND id = ?2)
                        AND disabled_at IS NULL
                    """,
                    [.id(lease.tenant), .uuid(lease.subject), .time(attempt.time), .text(disabling)]))
        }
        _ = try await engine.write(
            Batch(.tenant(lease.tenant), statements + [JobRepository.completion(of: lease)]))
    }

    public func fail(tenant: TenantID, _ id: DeliveryID, error: String) async throws {
        let fail = SQLStatement(
            """
            UPDATE webhook_deliveries SET
                state = 'failed', last_error = coalesce(last_error, ?3),
                last_attempt_at = coalesce(last_attempt_at, current_micros())
            WHERE tenant_id = ?1 AND id = ?2 AND state = 'pending'
            """,
            [.id(tenant), .id(id), .text(error)])
        _ = try await engine.write(Batch(.tenant(tenant), [fail], isRepeatable: true))
    }
}
