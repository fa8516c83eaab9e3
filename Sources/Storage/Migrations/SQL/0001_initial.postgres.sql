-- Run by the owner, who need not be a superuser, as one script in one transaction, after roles.postgres.sql.
--
-- Times are UTC microseconds. Every tenant table leads its key with the tenant, and every reference between tenant
-- tables carries it: foreign keys are checked past row level security, so only this keeps a row from pointing into
-- another tenant. JSON that is handed out as it came is json; only what is queried is jsonb.
--
-- Not in public, which hosts like Supabase publish through an API of their own.

CREATE SCHEMA IF NOT EXISTS sba;
SET LOCAL search_path = sba;

-- The tenant of this transaction, or null. Once a transaction has set it, a connection reads '' afterwards, not null.
-- The body is parsed here and not where it is called, so no search_path changes what it means.
CREATE FUNCTION current_tenant_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN NULLIF(current_setting('app.tenant_id', true), '')::uuid;

CREATE TABLE tenants (
    id uuid NOT NULL PRIMARY KEY,
    name text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE users (
    id uuid NOT NULL PRIMARY KEY,
    email text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE memberships (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    version bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);

CREATE INDEX memberships_by_user ON memberships (user_id, created_at);

CREATE TABLE signing_keys (
    id text NOT NULL PRIMARY KEY,
    sealed text NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE sessions (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id),
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Tables whose rows change leave room in their pages: a row that stays in its page, and changes no indexed column,
-- needs no new entry in any index.
CREATE TABLE agent_runs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id),
    scopes text NOT NULL,
    request_id text NOT NULL,
    traceparent text,
    prompt text NOT NULL,
    options json NOT NULL,
    status text NOT NULL CHECK (
        status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'expired')
    ),
    output text,
    error_code text,
    error_message text,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    started_at bigint,
    finished_at bigint,
    deadline_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);

CREATE INDEX agent_runs_by_status ON agent_runs (tenant_id, status, id);
CREATE INDEX agent_runs_by_session ON agent_runs (tenant_id, session_id);
CREATE INDEX agent_runs_unfinished ON agent_runs (status) WHERE status IN ('queued', 'running', 'waiting');

CREATE TABLE messages (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    run_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant')),
    text text NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, session_id, id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX messages_by_run ON messages (tenant_id, run_id);

-- The head orders the log: whoever holds the token appends. It changes with every append, so no index but the key.
CREATE TABLE run_heads (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    last_seq bigint NOT NULL,
    token bigint NOT NULL,
    cancel_requested boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50);

CREATE TABLE run_events (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    fields json NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id, seq),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE run_commands (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cancel')),
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, run_id, id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE agent_steps (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    position bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('model', 'tool')),
    tool_call_id text,
    status text NOT NULL CHECK (status IN ('started', 'finished', 'abandoned')),
    attempt bigint NOT NULL,
    output json,
    input_tokens bigint NOT NULL DEFAULT 0,
    output_tokens bigint NOT NULL DEFAULT 0,
    started_at bigint NOT NULL,
    finished_at bigint,
    PRIMARY KEY (tenant_id, run_id, id),
    UNIQUE (tenant_id, run_id, position),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);

CREATE TABLE tool_calls (
    tenant_id uuid NOT NULL,
    id text NOT NULL,
    run_id uuid NOT NULL,
    step_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    name text NOT NULL,
    arguments text NOT NULL,
    state text NOT NULL CHECK (
        state IN ('requested', 'dispatching', 'unknown', 'succeeded', 'failed', 'cancelled')
    ),
    attempt bigint NOT NULL,
    -- The fencing token under which the call was last moved.
    token bigint NOT NULL,
    result text,
    created_at bigint NOT NULL,
    finished_at bigint,
    PRIMARY KEY (tenant_id, run_id, id),
    FOREIGN KEY (tenant_id, run_id, step_id) REFERENCES agent_steps (tenant_id, run_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);

CREATE INDEX tool_calls_by_step ON tool_calls (tenant_id, run_id, step_id);

-- Claiming walks the start of jobs_waiting, where the entries of claimed jobs lie dead: vacuum early, and by a count
-- more than by a share of a table that keeps what is done.
CREATE TABLE jobs (
    id uuid NOT NULL PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind text NOT NULL,
    subject uuid NOT NULL,
    state text NOT NULL CHECK (
        state IN ('available', 'executing', 'retryable', 'completed', 'discarded', 'cancelled')
    ),
    attempt bigint NOT NULL,
    maximum_attempts bigint NOT NULL,
    token bigint NOT NULL,
    run_at bigint NOT NULL,
    lease_until bigint,
    last_error text,
    created_at bigint NOT NULL,
    finished_at bigint
) WITH (fillfactor = 70, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.01);

CREATE INDEX jobs_waiting ON jobs (run_at, id) WHERE state IN ('available', 'retryable');
-- Not by lease_until as on SQLite: so a renewed lease touches no index, and of few jobs all are looked at for old ones.
CREATE INDEX jobs_executing ON jobs (tenant_id, subject) WHERE state = 'executing';
CREATE INDEX jobs_by_subject ON jobs (tenant_id, subject);

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    key text NOT NULL,
    digest text NOT NULL,
    run_id uuid NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, key),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX idempotency_keys_by_run ON idempotency_keys (tenant_id, run_id);

CREATE TABLE documents (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    title text NOT NULL,
    collection text NOT NULL,
    metadata jsonb NOT NULL,
    media_type text NOT NULL,
    byte_count bigint NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
    failure text,
    chunk_count bigint NOT NULL DEFAULT 0,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 90);

CREATE INDEX documents_by_collection ON documents (tenant_id, collection, id);

-- The text stands apart, so that lists of documents stay small.
CREATE TABLE document_contents (
    tenant_id uuid NOT NULL,
    document_id uuid NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (tenant_id, document_id),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE chunks (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    document_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    title text NOT NULL,
    heading text NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX chunks_by_document ON chunks (tenant_id, document_id, ordinal);

-- Full text
--
-- @@ is not leakproof: under row level security every row would be checked by policy first, and the index never used.
-- So the words stand in a table that nobody is granted, and only the functions below, as its owner, read and write it.

-- The tenant is a word of its own among the words, so that the index itself finds only its rows.
CREATE TABLE chunk_words (
    tenant_id uuid NOT NULL,
    chunk_id uuid NOT NULL,
    collection text NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (tenant_id, chunk_id),
    FOREIGN KEY (tenant_id, chunk_id) REFERENCES chunks (tenant_id, id) ON DELETE CASCADE
);

-- Without fastupdate: new words would wait in a list that every search reads through until a vacuum.
CREATE INDEX chunk_words_by_word ON chunk_words USING gin (words) WITH (fastupdate = off);

-- No text makes this word, for it begins with a space.
CREATE FUNCTION tenant_word(tenant uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ' ' || tenant::text;

-- Without accents, as on SQLite. Most text is ASCII, which has none.
CREATE FUNCTION without_accents(text text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN octet_length(text) = char_length(text) THEN text
    ELSE normalize(regexp_replace(normalize(text, NFD), '[\u0300-\u036f]+', '', 'g'), NFC)
END;

CREATE FUNCTION index_chunk() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
-- A word too long to be indexed is no news to the client.
SET search_path = sba, pg_temp SET client_min_messages = warning
AS $body$
BEGIN
    -- The policies of chunks have seen to this already. It holds for whoever they do not bind.
    IF NEW.tenant_id IS DISTINCT FROM current_tenant_id()
        AND current_setting('app.maintenance', true) IS DISTINCT FROM 'on'
    THEN
        RAISE insufficient_privilege USING MESSAGE = 'the chunk is of another tenant';
    END IF;
    INSERT INTO chunk_words (tenant_id, chunk_id, collection, words)
    SELECT NEW.tenant_id, NEW.id, d.collection,
        array_to_tsvector(ARRAY[tenant_word(NEW.tenant_id)])
            || setweight(to_tsvector('pg_catalog.english', without_accents(NEW.title)), 'A')
            || setweight(to_tsvector('pg_catalog.english', without_accents(NEW.heading)), 'B')
            || setweight(to_tsvector('pg_catalog.english', without_accents(NEW.text)), 'C')
    FROM documents d WHERE d.tenant_id = NEW.tenant_id AND d.id = NEW.document_id;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'the chunk has no document';
    END IF;
    RETURN NULL;
END
$body$;

CREATE TRIGGER chunks_inserted AFTER INSERT ON chunks FOR EACH ROW EXECUTE FUNCTION index_chunk();

-- The best chunks of the current tenant. `query` is a tsquery as text, its words quoted; one that holds no word worth
-- looking up finds nothing. Chunks are there only while their document is ready: the caller joins it all the same.
-- ROWS is what a caller's LIMIT is like, so that its join looks each row up.
CREATE FUNCTION search_chunks(query text, collection text, maximum bigint)
RETURNS TABLE (id uuid, score double precision) LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 20
-- to_tsquery tells the client of every query made of stop words only.
SET search_path = sba, pg_temp SET client_min_messages = warning
AS $body$
DECLARE
    tenant CONSTANT uuid := current_tenant_id();
    wanted CONSTANT tsquery := to_tsquery('pg_catalog.english', without_accents(query));
    -- Quoted, as tsquery's input wants it: to_tsquery would take the word apart.
    ours CONSTANT tsquery := quote_literal(tenant_word(tenant))::tsquery;
BEGIN
    -- Without the second an empty query, joined to the tenant's word, would find all that the tenant has.
    IF tenant IS NULL OR coalesce(numnode(wanted), 0) = 0 THEN RETURN; END IF;
    -- Weights are for text of weight D, C, B, A: the 1, 1.5 and 2 of SQLite, halved. Normalisation 1 divides by the
    -- logarithm of the length.
    -- The comparison of tenants is a second lock, and written as no index takes it: the words have found the rows.
    RETURN QUERY
    SELECT w.chunk_id, ts_rank('{0, 0.5, 0.75, 1}', w.words, wanted, 1)::double precision AS rank
    FROM chunk_words w
    WHERE w.words @@ (ours && wanted) AND w.tenant_id IS NOT DISTINCT FROM tenant
        AND (search_chunks.collection IS NULL OR w.collection = search_chunks.collection)
    ORDER BY rank DESC, w.chunk_id LIMIT maximum;
END
$body$;

-- For the batches of the server

-- Undoes the batch whose statement did not meet the rows that it had to. Volatile, so that it is never left out.
CREATE FUNCTION expect_rows(counted bigint, expected bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE
AS $body$
BEGIN
    IF counted = expected THEN RETURN true; END IF;
    RAISE EXCEPTION USING ERRCODE = 'SBA01', MESSAGE = format('expected %s rows, found %s', expected, counted);
END
$body$;

-- What SQL written for Supabase calls. It holds for the transaction.
CREATE FUNCTION set_tenant_context(tenant uuid) RETURNS void LANGUAGE sql VOLATILE
BEGIN ATOMIC
    SELECT set_config('app.tenant_id', tenant::text, true);
END;

-- Row level security
--
-- FORCE binds the owner too. A data migration or a backup says that it means all tenants:
-- SET LOCAL app.maintenance = 'on'. Said by anybody else, it changes nothing.

DO $policies$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenants', 'users', 'memberships', 'signing_keys', 'sessions', 'agent_runs', 'messages', 'run_heads',
        'run_events', 'run_commands', 'agent_steps', 'tool_calls', 'jobs', 'idempotency_keys', 'documents',
        'document_contents', 'chunks'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            $sql$
            CREATE POLICY maintenance ON %I TO CURRENT_USER
            USING (current_setting('app.maintenance', true) = 'on')
            WITH CHECK (current_setting('app.maintenance', true) = 'on')
            $sql$, name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY[
        'memberships', 'sessions', 'agent_runs', 'messages', 'run_heads', 'run_events', 'run_commands', 'agent_steps',
        'tool_calls', 'jobs', 'idempotency_keys', 'documents', 'document_contents', 'chunks'
    ] LOOP
        EXECUTE format(
            $sql$
            CREATE POLICY tenant ON %I TO sba_app
            USING (tenant_id = current_tenant_id()) WITH CHECK (tenant_id = current_tenant_id())
            $sql$, name);
    END LOOP;
END
$policies$;

CREATE POLICY tenant ON tenants TO sba_app USING (id = current_tenant_id()) WITH CHECK (id = current_tenant_id());

-- Not forced: see full text. Nobody has a policy or a privilege here but the owner, who needs none.
ALTER TABLE chunk_words ENABLE ROW LEVEL SECURITY;

-- index_chunk() runs as the owner, and looks up the collection of the tenant's own document.
CREATE POLICY indexing ON documents FOR SELECT TO CURRENT_USER USING (tenant_id = current_tenant_id());

-- What has no tenant: credentials, claiming jobs, counting.
CREATE POLICY system ON tenants TO sba_system USING (true) WITH CHECK (true);
CREATE POLICY system ON users TO sba_system USING (true) WITH CHECK (true);
CREATE POLICY system ON memberships TO sba_system USING (true) WITH CHECK (true);
CREATE POLICY system ON signing_keys TO sba_system USING (true) WITH CHECK (true);
CREATE POLICY system ON agent_runs FOR SELECT TO sba_system USING (true);
CREATE POLICY system ON jobs TO sba_system USING (true) WITH CHECK (true);

-- Privileges: what the repositories do, and no more. Columns are named where a row's place and its past stay as they
-- were written. Rows that hang on a deleted one go with it, which needs no privilege.

REVOKE ALL ON SCHEMA sba FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sba FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sba FROM PUBLIC;
GRANT USAGE ON SCHEMA sba TO sba_app, sba_system;

GRANT SELECT ON tenants, memberships TO sba_app;
GRANT SELECT, INSERT ON sessions, messages, run_events, idempotency_keys, document_contents TO sba_app;
GRANT SELECT, INSERT, UPDATE (
    status, output, error_code, error_message, input_tokens, output_tokens, started_at, finished_at, deadline_at
) ON agent_runs TO sba_app;
GRANT SELECT, INSERT, UPDATE (last_seq, token, cancel_requested) ON run_heads TO sba_app;
GRANT SELECT, INSERT ON run_commands TO sba_app;
GRANT SELECT, INSERT, UPDATE (status, attempt, output, input_tokens, output_tokens, finished_at)
ON agent_steps TO sba_app;
GRANT SELECT, INSERT, UPDATE (state, attempt, token, result, finished_at) ON tool_calls TO sba_app;
GRANT SELECT, INSERT, UPDATE (state, attempt, run_at, lease_until, last_error, finished_at) ON jobs TO sba_app;
GRANT SELECT, INSERT, UPDATE (status, failure, chunk_count, updated_at), DELETE ON documents TO sba_app;
GRANT SELECT, INSERT, DELETE ON chunks TO sba_app;
GRANT EXECUTE ON FUNCTION
    current_tenant_id(), search_chunks(text, text, bigint), expect_rows(bigint, bigint), set_tenant_context(uuid)
TO sba_app;

GRANT SELECT, INSERT ON tenants, memberships, users, signing_keys TO sba_system;
GRANT SELECT (status) ON agent_runs TO sba_system;
GRANT SELECT (id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, lease_until),
    UPDATE (state, attempt, token, run_at, lease_until)
ON jobs TO sba_system;
GRANT EXECUTE ON FUNCTION expect_rows(bigint, bigint) TO sba_system;

-- The migrator's own table, which is there before its first migration. The server compares it with what it knows.
DO $migrations$
BEGIN
    IF to_regclass('sba.schema_migrations') IS NOT NULL THEN
        GRANT SELECT ON sba.schema_migrations TO sba_app, sba_system;
    END IF;
END
$migrations$;
