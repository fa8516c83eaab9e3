import Domain
import Foundation
import Storage
import TestSupport
import Testing

/// PostgreSQL keeps tenants apart by itself, whatever the server sends it.
@Suite("PostgreSQL isolation")
struct PostgresIsolationTests {
    private struct Unmet: Error {}

    // MARK: Rows

    @Test("a tenant meets no row of another, and whoever has no tenant meets none at all", arguments: TestEngine.postgres)
    func rows(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let tables = try await tenants.tables()
            var unseen: [String] = []
            for table in tables {
                let own = SQLStatement("SELECT 1 FROM \(table.name) WHERE \(table.key) = '\(TwoTenants.mine)'")
                if await tenants.outcome(own, as: .mine) != .met(1) { unseen.append(table.name) }
            }
            #expect(
                unseen == [
                    "chunk_words", "external_identities", "password_resets", "refresh_tokens", "sign_ins", "signing_keys",
                    "upkeep",
                ], "all else is there to be seen by its tenant")
            let before = try await tenants.contents(of: tables)
            for caller in [Caller.nobody, .empty, .mine, .pretender] {
                for statement in tables.flatMap({ $0.intrusions(by: caller) }) {
                    let outcome = await tenants.outcome(statement, as: caller)
                    #expect(outcome.isNothing, "\(caller.name): \(statement.sql)")
                }
                let after = try await tenants.contents(of: tables)
                #expect(after == before, "\(caller.name)")
            }
        }
    }

    @Test("no row refers to a row of another tenant", arguments: TestEngine.postgres)
    func references(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let untied = try await tenants.owner.ask(
                """
                SELECT r.relname || ': ' || pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
                WHERE c.contype = 'f' AND c.connamespace = 'sba'::regnamespace AND NOT EXISTS (
                    SELECT FROM unnest(c.conkey, c.confkey) AS k (here, there)
                    JOIN pg_attribute h ON h.attrelid = c.conrelid AND h.attnum = k.here
                    JOIN pg_attribute t ON t.attrelid = c.confrelid AND t.attnum = k.there
                    WHERE h.attname = 'tenant_id' AND h.attnotnull
                        AND t.attname = CASE c.confrelid WHEN 'tenants'::regclass THEN 'id' ELSE 'tenant_id' END
                )
                """)
            let users = [
                "agent_runs", "external_identities", "memberships", "password_resets", "schedules", "sessions", "sign_ins",
            ].map {
                "\($0): FOREIGN KEY (user_id) REFERENCES users(id)"
            }
            // Users, sign-ins and queues have no tenant; what is audited may have none.
            let others = [
                "audit_logs: FOREIGN KEY (tenant_id) REFERENCES tenants(id)",
                "job_shares: FOREIGN KEY (kind) REFERENCES job_queues(kind)",
                "refresh_tokens: FOREIGN KEY (sign_in_id) REFERENCES sign_ins(id)",
            ]
            let found = untied.map { $0.replacing(" ON DELETE CASCADE", with: "") }
            #expect(Set(found).symmetricDifference(users + others) == [])
            // Nobody but the owner writes words.
            let children = try await tenants.owner.ask(
                """
                SELECT DISTINCT r.relname FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid
                WHERE c.contype = 'f' AND c.connamespace = 'sba'::regnamespace AND cardinality(c.conkey) > 1
                    AND r.relname <> 'chunk_words'
                """)
            #expect(Set(children).isSuperset(of: ["agent_runs", "messages", "tool_calls"]))
            for table in try await tenants.tables() where children.contains(table.name) {
                let moved = "{\"tenant_id\": \"\(TwoTenants.mine)\", \"hash\": \"moved\"}"
                let row = try await tenants.owner.ask("SELECT $row$\(table.row)$row$::jsonb || '\(moved)'")
                let insert = table.insert(try #require(row.first))
                await #expect(throws: StorageError.foreignKeyViolation, "\(table.name)") {
                    try await tenants.engine.write(Batch(.tenant(TwoTenants.mine), [insert]))
                }
            }
        }
    }

    // MARK: The catalogue

    @Test("every table is under row level security, which binds its owner too", arguments: TestEngine.postgres)
    func security(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let exceptions = try await tenants.owner.ask(
                """
                SELECT relname || CASE WHEN relrowsecurity THEN ' is not forced' ELSE ' is not enabled' END FROM pg_class
                WHERE relnamespace = 'sba'::regnamespace AND relkind = ANY ('{r,p,f,v,m}')
                    AND NOT (relrowsecurity AND relforcerowsecurity)
                ORDER BY 1
                """)
            #expect(exceptions == ["chunk_words is not forced", "schema_migrations is not enabled"])
            let policies = try await tenants.owner.ask(
                """
                SELECT concat_ws(' ', policyname, permissive, cmd, array_to_string(roles, ','), qual, '/', with_check)
                    || ': ' || string_agg(tablename, ' ' ORDER BY tablename)
                FROM pg_policies WHERE schemaname = 'sba' GROUP BY policyname, permissive, cmd, roles, qual, with_check
                """)
            #expect(Set(policies).symmetricDifference(Self.policies) == [])
        }
    }

    @Test("each role may do what is written here, and no more", arguments: TestEngine.postgres)
    func privileges(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let tables = try await tenants.owner.ask(
                """
                WITH grants AS (
                    SELECT c.relname, e.grantee, e.privilege_type AS what FROM pg_class c, aclexplode(c.relacl) e
                    WHERE c.relnamespace = 'sba'::regnamespace AND e.grantee <> c.relowner
                    UNION ALL
                    SELECT c.relname, e.grantee,
                        e.privilege_type || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')'
                    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) e
                    WHERE c.relnamespace = 'sba'::regnamespace AND e.grantee <> c.relowner
                    GROUP BY c.relname, e.grantee, e.privilege_type
                ), tables AS (
                    SELECT relname, grantee, string_agg(what, ', ' ORDER BY what) AS what FROM grants GROUP BY relname, grantee
                )
                SELECT concat(coalesce(r.rolname, 'PUBLIC'), ' ', what, ': ', string_agg(relname, ' ' ORDER BY relname))
                FROM tables LEFT JOIN pg_roles r ON r.oid = grantee GROUP BY r.rolname, what
                """)
            #expect(Set(tables).symmetricDifference(Self.tablePrivileges) == [])
            let functions = try await tenants.owner.ask(
                """
                SELECT coalesce(r.rolname, 'PUBLIC') || ' ' || p.oid::regprocedure
                FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
                LEFT JOIN pg_roles r ON r.oid = e.grantee
                WHERE p.pronamespace = 'sba'::regnamespace AND e.grantee <> p.proowner
                """)
            #expect(Set(functions).symmetricDifference(Self.functionPrivileges) == [])
            let definers = try await tenants.owner.ask(
                """
                SELECT oid::regprocedure || ' ' || array_to_string(proconfig, '; ') FROM pg_proc
                WHERE pronamespace = 'sba'::regnamespace AND prosecdef ORDER BY 1
                """)
            let settings = "search_path=sba, pg_temp; client_min_messages=warning"
            #expect(definers == ["index_chunk() \(settings)", "search_chunks(text,text,bigint) \(settings)"])
            let memberships = try await tenants.owner.ask(
                "SELECT roleid::regrole FROM pg_auth_members WHERE member IN ('sba_app'::regrole, 'sba_system'::regrole)")
            #expect(memberships == [])
        }
    }

    @Test("neither role becomes another, changes the schema, or rewrites the past", arguments: TestEngine.postgres)
    func refusals(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            for sql in Self.refused + Self.refusedToApplication {
                let outcome = await tenants.outcome(SQLStatement(sql), as: .mine)
                #expect(outcome == .refused, "\(sql)")
            }
            let unbound = Caller(name: "unbound", scope: .system, settings: ["SELECT set_config('row_security', 'off', true)"])
            let all = await tenants.outcome(SQLStatement("SELECT 1 FROM messages"), as: unbound)
            #expect(all == .refused, "row_security only turns an empty answer into an error")
            let system = TwoTenants(urls: tenants.urls, engine: tenants.urls.engine { $0.connections = 1 }, owner: tenants.owner)
            for sql in Self.refused + Self.refusedToSystem {
                let outcome = await system.outcome(SQLStatement(sql), as: .nobody)
                #expect(outcome == .refused, "\(sql)")
            }
            await system.engine.close()
        }
    }

    // MARK: The tenant of a transaction

    @Test("the tenant is forgotten with its transaction, also when that failed", arguments: TestEngine.postgres)
    func settings(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let look = [
                SQLStatement("SELECT current_setting('app.tenant_id', true)"), SQLStatement("SELECT id::text FROM agent_runs"),
            ]
            let unmet = SQLStatement("SELECT id FROM agent_runs WHERE false", expect: .rows(1, otherwise: Unmet()))
            for tenant in [TwoTenants.mine, TwoTenants.theirs, TwoTenants.mine] {
                let during = try await tenants.ask(Batch(.tenant(tenant), look))
                #expect(during == [["\(tenant)"], ["\(tenant)"]])
                await #expect(throws: Unmet.self) { try await tenants.engine.write(Batch(.tenant(tenant), [unmet])) }
                // Ends the batch's own transaction, and looks at what the connection is left with.
                let after = try await tenants.engine.read(Batch(.tenant(tenant), [SQLStatement("COMMIT")] + look))
                #expect(after[1].rows.map { $0.optionalText(0) } == [""])
                #expect(after[2].rows.isEmpty)
                // Behind a pooler this may well be the same connection.
                let system = try await tenants.ask(Batch(.system, look))
                #expect(system == [[""], []])
            }
        }
    }

    @Test("set_tenant_context shows one tenant until the transaction ends", arguments: TestEngine.postgres)
    func context(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let runs = "SELECT id::text FROM agent_runs"
            try await TestPostgres.connected(to: tenants.urls.direct) { application in
                let never = try await application.ask(runs)
                try await application.run("BEGIN; SELECT sba.set_tenant_context('\(TwoTenants.mine)')")
                let during = try await application.ask(runs)
                try await application.run("COMMIT")
                let after = try await application.ask(runs)
                try await application.run("SELECT set_config('app.tenant_id', '', false)")
                let empty = try await application.ask(runs)
                #expect([never, during, after, empty] == [[], ["\(TwoTenants.mine)"], [], []])
            }
            let context = SQLStatement("SELECT sba.set_tenant_context(?1)", [.id(TwoTenants.theirs)])
            let during = try await tenants.engine.read(Batch(.system, [context, SQLStatement(runs)]))
            #expect(during[1].rows.map { $0.text(0) } == ["\(TwoTenants.theirs)"])
            let after = try await tenants.ask(Batch(.system, [SQLStatement(runs)]))
            #expect(after == [[]])
        }
    }

    @Test("the owner means all tenants only where it says so", arguments: TestEngine.postgres)
    func maintenance(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            let tables = try await tenants.tables()
            try await TestPostgres.connected(to: tenants.urls.owner) { owner in
                var seen: [String] = []
                for table in tables {
                    let count = try await owner.ask("SELECT count(*) FROM sba.\(table.name)")
                    if count != ["0"] { seen.append(table.name) }
                }
                #expect(seen == ["chunk_words"])
                let migration = """
                    WITH changed AS (UPDATE sba.agent_runs SET prompt = 'Rewritten' RETURNING tenant_id)
                    SELECT count(DISTINCT tenant_id) FROM changed
                    """
                let before = try await owner.ask(migration)
                try await owner.run("BEGIN; SET LOCAL app.maintenance = 'on'")
                let during = try await owner.ask(migration)
                try await owner.run("COMMIT")
                let after = try await owner.ask(migration)
                #expect([before, during, after] == [["0"], ["2"], ["0"]])
            }
        }
    }

    // MARK: Full text

    @Test("full text finds no chunk of another tenant, and nothing without a tenant or a word", arguments: TestEngine.postgres)
    func search(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            func found(_ query: String, _ caller: Caller) async throws -> [String] {
                let search = SQLStatement("SELECT id::text FROM search_chunks(?1, NULL, 10)", [.text(query)])
                return try await tenants.ask(Batch(caller.scope, caller.settings.map { SQLStatement($0) } + [search])).last ?? []
            }
            let (mine, theirs) = ("\(TwoTenants.mine)", "\(TwoTenants.theirs)")
            let theirOwn = try await found("'saffron' & 'zebra'", .theirs)
            #expect(theirOwn == [theirs])
            for query in ["'saffron'", "'saffron' | 'zebra'", "'salt' & !'zebra'", "!'zebra'", "'\(theirs)' | 'saffron'"] {
                for caller in [Caller.mine, .pretender] {
                    let hits = try await found(query, caller)
                    #expect(hits == [mine], "\(caller.name): \(query)")
                }
                for caller in [Caller.nobody, .empty] {
                    let hits = try await found(query, caller)
                    #expect(hits == [], "\(caller.name): \(query)")
                }
            }
            for query in ["'zebra'", "' \(theirs)'", "!'salt'", "'and'", "'the' | !'and'", ""] {
                let hits = try await found(query, .mine)
                #expect(hits == [], "\(query)")
            }
        }
    }

    @Test("full text goes by the index of words", arguments: TestEngine.postgres)
    func searchPlan(engine: TestEngine) async throws {
        try await TwoTenants.with(engine) { tenants in
            try await tenants.owner.run(
                """
                INSERT INTO chunks
                SELECT tenant_id, gen_random_uuid(), document_id, n, title, '', 'Salt' FROM chunks, generate_series(1, 1000) AS n
                """)
            // Only this also moves what has just come from the index's list of the unsorted to its place.
            try await tenants.owner.run("VACUUM ANALYZE chunk_words")
            try await tenants.owner.run("SET enable_seqscan = off")
            // The query of search_chunks.
            let plan = try await tenants.owner.ask(
                """
                EXPLAIN SELECT w.chunk_id, ts_rank('{0, 0.5, 0.75, 1}', w.words, 'saffron', 1)::double precision AS rank
                FROM chunk_words w
                WHERE w.words @@ (quote_literal(tenant_word('\(TwoTenants.mine)'))::tsquery && 'saffron'::tsquery)
                    AND w.tenant_id = '\(TwoTenants.mine)' AND (NULL::text IS NULL OR w.collection = NULL::text)
                ORDER BY rank DESC, w.chunk_id LIMIT 10
                """)
            #expect(plan.contains { $0.contains("Index Scan on chunk_words_by_word") }, "\(plan.joined(separator: "\n"))")
        }
    }

    // MARK: Roles

    @Test("a connection that could see more than its role should is named", arguments: TestEngine.postgres)
    func faults(engine: TestEngine) async throws {
        try await TestPostgres.withDatabase(on: engine) { urls in
            func fault(_ url: String, as role: PostgresSchema.Role) async throws -> String? {
                let engine = TwoTenants.engine(url, urls.pooler)
                let fault = await Result { try await engine.fault(of: role) }
                await engine.close()
                return try fault.get()
            }
            let database = try #require(URLComponents(string: urls.direct)).path.dropFirst()
            func url(of user: String, _ password: String) -> String {
                TestPostgres.url(urls.application, database: String(database), user: user, password: password)
            }
            let right = [try await fault(urls.application, as: .application), try await fault(urls.system, as: .system)]
            #expect(right == [nil, nil])
            for role in PostgresSchema.Role.allCases {
                let owner = try await fault(url(of: "sba_owner", "owner"), as: role)
                #expect(
                    owner == "connects as sba_owner, which owns tables or may act as their owner; connect as \(role.rawValue)")
                let superuser = try await fault(url(of: "postgres", "postgres"), as: role)
                #expect(superuser == "connects as postgres, which may bypass row level security; connect as \(role.rawValue)")
            }
            let swapped = [try await fault(urls.system, as: .application), try await fault(urls.application, as: .system)]
            #expect(swapped == ["connects as sba_system; connect as sba_app", "connects as sba_app; connect as sba_system"])
            try await TestPostgres.connected(to: try urls.superuser()) { superuser in
                try await superuser.run("ALTER TABLE sba.messages OWNER TO sba_app")
            }
            let owning = try await fault(urls.application, as: .application)
            #expect(owning?.contains("which owns tables") == true)
        }
    }
}

// MARK: What is expected

extension PostgresIsolationTests {
    private static let policies: [String] = {
        let tenant = "(tenant_id = current_tenant_id())"
        let maintenance = "(current_setting('app.maintenance'::text, true) = 'on'::text)"
        let member = """
            (EXISTS ( SELECT 1
               FROM memberships m
              WHERE ((m.user_id = users.id) AND (m.tenant_id = current_tenant_id()))))
            """
        return [
            """
            tenant PERMISSIVE ALL sba_app \(tenant) / \(tenant): agent_runs agent_steps api_keys audit_logs chunks \
            document_contents documents event_schemas idempotency_keys invitations jobs memberships messages meta_events outbox \
            run_commands run_events run_heads schedule_firings schedules sessions tenant_origins tool_calls usage_metrics \
            webhook_deliveries webhooks
            """,
            "queue PERMISSIVE SELECT sba_app true /: job_queues", "tenant PERMISSIVE SELECT sba_app \(tenant) /: job_shares",
            "tenant PERMISSIVE ALL sba_app (id = current_tenant_id()) / (id = current_tenant_id()): tenants",
            "indexing PERMISSIVE SELECT sba_owner \(tenant) /: documents",
            "member PERMISSIVE SELECT sba_app \(member) /: users",
            """
            system PERMISSIVE ALL sba_system true / true: api_keys audit_logs external_identities invitations job_queues \
            job_shares jobs memberships password_resets refresh_tokens sign_ins signing_keys tenant_origins tenants upkeep usage_metrics users
            """,
            "pruning PERMISSIVE ALL sba_system true /: idempotency_keys",
            """
            recent RESTRICTIVE DELETE sba_system (created_at < (current_micros() - '2592000000000'::bigint)) /: audit_logs
            """,
            "system PERMISSIVE ALL sba_system true /: agent_runs meta_events outbox schedule_firings schedules webhooks",
            "erasing PERMISSIVE ALL sba_system true /: sessions",
            """
            maintenance PERMISSIVE ALL sba_owner \(maintenance) / \(maintenance): agent_runs agent_steps api_keys \
            audit_logs chunks document_contents documents event_schemas external_identities idempotency_keys invitations job_queues \
            job_shares jobs memberships messages meta_events outbox password_resets refresh_tokens run_commands run_events \
            run_heads schedule_firings schedules sessions sign_ins signing_keys tenant_origins tenants tool_calls upkeep \
            usage_metrics users webhook_deliveries webhooks
            """,
        ]
    }()

    private static let tablePrivileges = [
        "sba_app SELECT: job_queues job_shares memberships schema_migrations", "sba_app SELECT, UPDATE (name): tenants",
        "sba_app SELECT (id, email, created_at, is_operator): users",
        """
        sba_app INSERT, SELECT: audit_logs document_contents idempotency_keys messages meta_events run_commands run_events \
        sessions usage_metrics
        """,
        "sba_app INSERT, SELECT, UPDATE (revoked_at, last_used_at): api_keys",
        """
        sba_app INSERT, SELECT, UPDATE (status, output, error_code, error_message, input_tokens, output_tokens, started_at, \
        finished_at, deadline_at): agent_runs
        """,
        "sba_app INSERT, SELECT, UPDATE (last_seq, token, cancel_requested): run_heads",
        "sba_app INSERT, SELECT, UPDATE (status, attempt, output, input_tokens, output_tokens, finished_at): agent_steps",
        "sba_app INSERT, SELECT, UPDATE (state, attempt, token, result, finished_at): tool_calls",
        "sba_app INSERT, SELECT, UPDATE (state, attempt, run_at, lease_until, last_error, finished_at, unique_key, worker): jobs",
        "sba_app DELETE, INSERT, SELECT, UPDATE (status, failure, chunk_count, updated_at): documents",
        "sba_app DELETE, INSERT, SELECT: chunks invitations tenant_origins",
        "sba_system SELECT: schema_migrations tenant_origins",
        "sba_system DELETE, SELECT (user_id, status, finished_at): agent_runs",
        "sba_system DELETE, SELECT (tenant_id, user_id): sessions",
        "sba_system DELETE, SELECT: api_keys invitations",
        "sba_system DELETE, INSERT, SELECT, UPDATE (hash, expires_at): password_resets",
        "sba_system DELETE, INSERT, SELECT, UPDATE (password_hash, is_operator): users",
        "sba_system DELETE, INSERT, SELECT, UPDATE (role, version): memberships",
        "sba_system DELETE, INSERT, SELECT, UPDATE (name): tenants",
        "sba_system INSERT, SELECT, UPDATE (sealed, retired_at): signing_keys",
        "sba_system DELETE, INSERT, SELECT, UPDATE (tenant_id, ended_at): sign_ins",
        "sba_system DELETE, INSERT, SELECT, UPDATE (used_at): refresh_tokens",
        "sba_system DELETE, INSERT, SELECT, UPDATE (user_id, address, target): audit_logs",
        "sba_system DELETE, SELECT (user_id, created_at), UPDATE (user_id): usage_metrics",
        """
        sba_system DELETE, SELECT, SELECT (id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, lease_until), \
        UPDATE (state, attempt, maximum_attempts, token, run_at, lease_until, finished_at, payload, priority, start_tag, \
        worker, started_at): jobs
        """,
        "sba_system INSERT, SELECT, UPDATE (virtual_time, paused_at, tenant_concurrency): job_queues",
        "sba_system DELETE, INSERT, SELECT, UPDATE (weight, concurrency): job_shares",
        "sba_system INSERT, SELECT: external_identities", "sba_system INSERT, SELECT, UPDATE (next_at): upkeep",
        "sba_system DELETE, SELECT (created_at): idempotency_keys meta_events schedule_firings",
        """
        sba_app DELETE, INSERT, SELECT, UPDATE (user_id, scopes, name, cron, time_zone, missed, request, version, paused_at, \
        next_at, updated_at): schedules
        """,
        "sba_app INSERT, SELECT, UPDATE (outcome, error): schedule_firings",
        """
        sba_app DELETE, INSERT, SELECT, UPDATE (url, description, events, sealed, previous_sealed, previous_until, disabled_at, \
        disabled_reason, version, updated_at): webhooks
        """,
        "sba_app INSERT, SELECT, UPDATE (state): outbox",
        """
        sba_app INSERT, SELECT, UPDATE (state, attempts, last_status, last_error, last_response, last_duration_ms, \
        last_attempt_at, delivered_at): webhook_deliveries
        """,
        "sba_app DELETE, INSERT, SELECT, UPDATE (schema, updated_at): event_schemas",
        "sba_system SELECT (tenant_id, id, next_at): schedules",
        "sba_system DELETE, SELECT (tenant_id, id, type, state, created_at): outbox",
        "sba_system SELECT (tenant_id, id, sealed, previous_sealed, version), UPDATE (sealed, previous_sealed, version): webhooks",
    ]

    private static let functionPrivileges = [
        "sba_app current_micros()", "sba_system current_micros()", "sba_app current_tenant_id()",
        "sba_app expect_rows(bigint,bigint)", "sba_app search_chunks(text,text,bigint)",
        "sba_app set_tenant_context(uuid)", "sba_system expect_rows(bigint,bigint)",
    ]

    /// To both roles. Nothing is here that would outlive the test's database if it were allowed.
    private static let refused = [
        "SET ROLE sba_owner", "SET SESSION AUTHORIZATION sba_owner", "SET session_replication_role = 'replica'",
        "ALTER TABLE messages DISABLE ROW LEVEL SECURITY", "ALTER TABLE messages NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE messages ADD COLUMN more int", "ALTER TABLE messages OWNER TO CURRENT_USER", "DROP TABLE messages",
        "DROP POLICY tenant ON messages", "ALTER POLICY tenant ON messages USING (true)",
        "CREATE POLICY more ON messages USING (true)", "CREATE TABLE sba.more (id int)", "CREATE TABLE public.more (id int)",
        "CREATE VIEW sba.more AS SELECT 1 AS one", "CREATE FUNCTION sba.more() RETURNS int LANGUAGE sql RETURN 1",
        "ALTER FUNCTION sba.current_tenant_id() OWNER TO CURRENT_USER", "CREATE SCHEMA more", "DROP SCHEMA sba CASCADE",
        "TRUNCATE tenants CASCADE", "TRUNCATE run_events", "UPDATE run_events SET type = 'more'", "DELETE FROM run_events",
        "DELETE FROM signing_keys",
        "UPDATE audit_logs SET action = 'more'", "SELECT 1 FROM chunk_words", "SELECT without_accents('more')",
    ]
    private static let refusedToApplication = [
        "SET ROLE sba_system", "SELECT password_hash FROM users", "SELECT 1 FROM signing_keys", "SELECT 1 FROM sign_ins",
        "SELECT 1 FROM refresh_tokens", "SELECT 1 FROM password_resets", "SELECT 1 FROM external_identities",
        "DELETE FROM users", "DELETE FROM tenants", "DELETE FROM sessions", "UPDATE audit_logs SET user_id = NULL",
        "DELETE FROM audit_logs", "DELETE FROM usage_metrics", "DELETE FROM jobs", "DELETE FROM idempotency_keys",
    ]
    private static let refusedToSystem = [
        "SET ROLE sba_app", "SELECT name FROM usage_metrics", "SELECT text FROM messages", "SELECT prompt FROM agent_runs",
        "SELECT 1 FROM documents",
        "SELECT 1 FROM document_contents", "SELECT 1 FROM chunks", "SELECT 1 FROM run_events", "SELECT 1 FROM tool_calls",
        "SELECT 1 FROM search_chunks('more', NULL, 10)", "SELECT request FROM schedules", "SELECT data FROM outbox",
        "SELECT url FROM webhooks", "SELECT 1 FROM webhook_deliveries", "SELECT data FROM meta_events",
    ]
}

// MARK: Two tenants

/// What came of one statement.
private enum Outcome: Equatable {
    case met(Int)
    /// For want of a privilege, or by a policy.
    case refused
    case failed(String)

    var isNothing: Bool { self == .met(0) || self == .refused }
}

/// How `sba_app` comes to the database.
private struct Caller: Sendable {
    let name: String
    let scope: Batch.Scope
    let settings: [String]

    static let mine = Caller(name: "my tenant", scope: .tenant(TwoTenants.mine), settings: [])
    static let theirs = Caller(name: "their tenant", scope: .tenant(TwoTenants.theirs), settings: [])
    static let nobody = Caller(name: "no tenant", scope: .system, settings: [])
    static let empty = Caller(
        name: "an empty tenant", scope: .system, settings: ["SELECT set_config('app.tenant_id', '', true)"])
    static let pretender = Caller(
        name: "my tenant in maintenance", scope: .tenant(TwoTenants.mine),
        settings: ["SELECT set_config('app.maintenance', 'on', true)"])
}

private struct Table {
    let name: String
    /// What tells whose a row is.
    let key: String
    /// One that `sba_app` may update, where there is one.
    let column: String
    /// The other tenant's row, as JSON.
    let row: String

    func insert(_ row: String) -> SQLStatement {
        SQLStatement("INSERT INTO \(name) SELECT * FROM json_populate_record(NULL::\(name), ?1)", [.json(row)])
    }

    /// Nobody's, and known to everybody.
    private static let common: Set<String> = ["job_queues"]

    /// Statements that must not meet anything.
    func intrusions(by caller: Caller) -> [SQLStatement] {
        var others = "true"
        if case .tenant(let own) = caller.scope { others = "\(key) <> '\(own)'" }
        let look = Self.common.contains(name) ? [] : [SQLStatement("SELECT 1 FROM \(name) WHERE \(others)")]
        return look + [
            SQLStatement("UPDATE \(name) SET \(column) = \(column) WHERE \(others)"),
            SQLStatement("UPDATE \(name) SET \(key) = '\(TwoTenants.theirs)'"),
            SQLStatement("DELETE FROM \(name) WHERE \(others)"),
            insert(row),
            SQLStatement("TRUNCATE \(name) CASCADE"),
        ]
    }
}

/// A database with two tenants, each with one row in every table, all of whose ids are the tenant's.
private struct TwoTenants {
    let urls: TestPostgres.URLs
    /// `sba_app` in both scopes, on one connection each: so the scope `system` is `sba_app` without a tenant.
    let engine: PostgresEngine
    /// In maintenance.
    let owner: PostgresSchema

    static let mine = tenant(0xAA)
    static let theirs = tenant(0xBB)

    private static func tenant(_ byte: UInt8) -> TenantID {
        let (a, b) = (byte, byte & 0x0F | 0x40)
        return TenantID(UUID(uuid: (a, a, a, a, a, a, b, a, a, a, a, a, a, a, a, a)))
    }

    static func with(_ kind: TestEngine, _ work: (TwoTenants) async throws -> Void) async throws {
        try await TestPostgres.withDatabase(on: kind) { urls in
            try await TestPostgres.connected(to: urls.owner) { owner in
                try await owner.run("SET search_path = sba; SET app.maintenance = 'on'")
                for tenant in [mine, theirs] { try await owner.run(rows(of: "\(tenant)")) }
                let tenants = TwoTenants(urls: urls, engine: engine(urls.application, urls.pooler), owner: owner)
                let result = await Result { try await work(tenants) }
                await tenants.engine.close()
                try result.get()
            }
        }
    }

    static func engine(_ url: String, _ pooler: PostgresConfiguration.Pooler) -> PostgresEngine {
        var configuration = PostgresConfiguration(url: url, pooler: pooler)
        configuration.connections = 1
        return PostgresEngine(tenants: configuration, system: configuration)
    }

    /// Every table of the schema, also one that is added later: then it needs a row in `rows(of:)`.
    func tables() async throws -> [Table] {
        let names = try await owner.ask(
            """
            SELECT relname FROM pg_class
            WHERE relnamespace = 'sba'::regnamespace AND relkind = ANY ('{r,p,f,v,m}') AND relname <> 'schema_migrations'
            ORDER BY relname
            """)
        var tables: [Table] = []
        for name in names {
            let keys = [
                "signing_keys": "id", "tenants": "id", "users": "id", "refresh_tokens": "sign_in_id",
                "password_resets": "user_id", "external_identities": "user_id", "job_queues": "kind",
                "upkeep": "name",
            ]
            let key = keys[name] ?? "tenant_id"
            let columns = try await owner.ask(
                """
                SELECT attname FROM pg_attribute WHERE attrelid = '\(name)'::regclass AND attnum > 0 AND NOT attisdropped
                ORDER BY has_column_privilege('sba_app', attrelid, attnum, 'UPDATE') DESC, attnum LIMIT 1
                """)
            let rows = try await owner.ask("SELECT to_jsonb(t) FROM \(name) t WHERE \(key) = '\(Self.theirs)'")
            tables.append(
                Table(
                    name: name, key: key, column: try #require(columns.first),
                    row: try #require(rows.first, "\(name) has no row of the other tenant")))
        }
        return tables
    }

    /// Changes with every row that is inserted, updated or deleted, by whomever.
    func contents(of tables: [Table]) async throws -> [String] {
        let queries = tables.map { table in
            """
            SELECT concat('\(table.name) ', string_agg(concat(t.ctid, t.xmin, md5(t::text)), ' ' ORDER BY t.ctid))
            FROM \(table.name) t
            """
        }
        return try await owner.ask(queries.joined(separator: " UNION ALL ") + " ORDER BY 1")
    }

    func outcome(_ statement: SQLStatement, as caller: Caller) async -> Outcome {
        do {
            let statements = caller.settings.map { SQLStatement($0) } + [statement]
            return .met(try await engine.write(Batch(caller.scope, statements)).last?.changes ?? 0)
        } catch StorageError.refused(let reason) where reason.hasPrefix("42501 ") {
            return .refused
        } catch {
            return .failed("\(error)")
        }
    }

    /// The first column of each statement's rows, NULL as an empty text.
    func ask(_ batch: Batch) async throws -> [[String]] {
        try await engine.read(batch).map { answer in answer.rows.map { $0.optionalText(0) ?? "" } }
    }

    private static func rows(of id: String) -> String {
        """
        BEGIN;
        INSERT INTO tenants VALUES ('\(id)', 'Test', 1);
        INSERT INTO users VALUES ('\(id)', '\(id)@example.com', 'none', 1);
        INSERT INTO memberships VALUES ('\(id)', '\(id)', 'owner', 1, 1);
        INSERT INTO signing_keys VALUES ('\(id)', 'sealed', 1);
        INSERT INTO tenant_origins VALUES ('\(id)', 'https://\(id).example.com');
        INSERT INTO sign_ins VALUES ('\(id)', '\(id)', '\(id)', 1);
        INSERT INTO refresh_tokens VALUES ('refresh \(id)', '\(id)', NULL, 1);
        INSERT INTO password_resets VALUES ('\(id)', 'reset \(id)', 1);
        INSERT INTO external_identities VALUES ('https://issuer.example.com', '\(id)', '\(id)');
        INSERT INTO invitations VALUES ('\(id)', '\(id)', 'guest@example.com', 'member', 'invitation \(id)', 1, 1);
        INSERT INTO api_keys VALUES ('\(id)', '\(id)', '\(id)', 'key', 'sba_', 'key \(id)', 'runs:read', 1);
        INSERT INTO audit_logs VALUES ('\(id)', '\(id)', '\(id)', NULL, NULL, 'test', 'audit.read', NULL, '{}', 1);
        INSERT INTO usage_metrics
        VALUES ('\(id)', '\(id)', '\(id)', '\(id)', 'default', 'model', 'test/model', 1, 1, 1, 1, 1);
        INSERT INTO sessions VALUES ('\(id)', '\(id)', '\(id)', 1);
        INSERT INTO agent_runs (
            tenant_id, id, session_id, user_id, scopes, request_id, prompt, options, status, created_at, deadline_at
        ) VALUES ('\(id)', '\(id)', '\(id)', '\(id)', '*', 'test', 'Hello', '{}', 'queued', 1, 1);
        INSERT INTO messages VALUES ('\(id)', '\(id)', '\(id)', '\(id)', 'user', 'Hello', 1);
        INSERT INTO run_heads VALUES ('\(id)', '\(id)', 1, 0);
        INSERT INTO run_events VALUES ('\(id)', '\(id)', 1, 'RUN_STARTED', '{}', 1);
        INSERT INTO run_commands VALUES ('\(id)', '\(id)', '\(id)', 'cancel', 1);
        INSERT INTO agent_steps (tenant_id, id, run_id, position, kind, status, attempt, started_at)
        VALUES ('\(id)', '\(id)', '\(id)', 1, 'model', 'started', 1, 1);
        INSERT INTO tool_calls (
            tenant_id, id, run_id, step_id, ordinal, name, arguments, state, attempt, token, created_at
        ) VALUES ('\(id)', 'call', '\(id)', '\(id)', 0, 'calculator', '{}', 'requested', 0, 1, 1);
        INSERT INTO jobs (id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, created_at)
        VALUES ('\(id)', '\(id)', 'test', '\(id)', 'available', 0, 1, 0, 1, 1);
        INSERT INTO upkeep VALUES ('\(id)', 1);
        INSERT INTO job_queues VALUES ('\(id)');
        INSERT INTO job_shares VALUES ('\(id)', '\(id)');
        INSERT INTO schedules (
            tenant_id, id, user_id, scopes, name, cron, time_zone, missed, request, created_at, updated_at
        ) VALUES ('\(id)', '\(id)', '\(id)', '*', 'Daily', '@daily', 'UTC', 'once', '{}', 1, 1);
        INSERT INTO schedule_firings VALUES ('\(id)', '\(id)', '\(id)', 1, 'time', 'pending', NULL, 1);
        INSERT INTO webhooks (tenant_id, id, url, events, sealed, created_at, updated_at)
        VALUES ('\(id)', '\(id)', 'https://example.com', '["*"]', 'sealed', 1, 1);
        INSERT INTO outbox VALUES ('\(id)', '\(id)', 'run.succeeded', '{}', 'sent', 1, 1);
        INSERT INTO webhook_deliveries (tenant_id, id, webhook_id, event_id, state, created_at)
        VALUES ('\(id)', '\(id)', '\(id)', '\(id)', 'pending', 1);
        INSERT INTO event_schemas VALUES ('\(id)', 'order.paid', '{}', 1, 1);
        INSERT INTO meta_events VALUES ('\(id)', '\(id)', '\(id)', 'order.paid', '{}', 1, 1);
        INSERT INTO idempotency_keys VALUES ('\(id)', '\(id)', 'digest', '\(id)', 1);
        INSERT INTO documents VALUES ('\(id)', '\(id)', 'Recipe', 'default', '{}', 'text/plain', 7, 'ready', NULL, 1, 1, 1);
        INSERT INTO document_contents VALUES ('\(id)', '\(id)', 'saffron');
        INSERT INTO chunks
        SELECT '\(id)', '\(id)', '\(id)', 0, 'Recipe', '', 'Saffron and \(id == "\(mine)" ? "salt" : "a zebra")';
        COMMIT;
        """
    }
}
