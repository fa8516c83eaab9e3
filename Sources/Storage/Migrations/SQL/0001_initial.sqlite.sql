-- What belongs to a run or a session is kept together: its key leads to all of it in one search.
-- Times are UTC microseconds. Ids are UUIDs as 16 bytes. Every tenant table leads its key with the tenant, and every
-- reference between tenant tables carries it, so that no row can point into another tenant.

CREATE TABLE tenants (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_by_user ON memberships (user_id, created_at);

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    sealed TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_runs (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    scopes TEXT NOT NULL,
    request_id TEXT NOT NULL,
    traceparent TEXT,
    prompt TEXT NOT NULL,
    options TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'expired')
    ),
    output TEXT,
    error_code TEXT,
    error_message TEXT,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    deadline_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_runs_by_status ON agent_runs (tenant_id, status, id);
CREATE INDEX agent_runs_by_session ON agent_runs (tenant_id, session_id);
CREATE INDEX agent_runs_unfinished ON agent_runs (status) WHERE status IN ('queued', 'running', 'waiting');

CREATE TABLE messages (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, session_id, id),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_run ON messages (tenant_id, run_id);

-- The head orders the log: whoever holds the token appends.
CREATE TABLE run_heads (
    tenant_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    last_seq INTEGER NOT NULL,
    token INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, run_id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE run_events (
    tenant_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    fields TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, run_id, seq),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE run_commands (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('cancel')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, run_id, id),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_steps (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('model', 'tool')),
    tool_call_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('started', 'finished', 'abandoned')),
    attempt INTEGER NOT NULL,
    output TEXT,
    input_tokens INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, run_id, id),
    UNIQUE (tenant_id, run_id, position),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE tool_calls (
    tenant_id BLOB NOT NULL,
    id TEXT NOT NULL,
    run_id BLOB NOT NULL,
    step_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('requested', 'dispatching', 'unknown', 'succeeded', 'failed', 'cancelled')
    ),
    attempt INTEGER NOT NULL,
    -- The fencing token under which the call was last moved.
    token INTEGER NOT NULL,
    result TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    PRIMARY KEY (tenant_id, run_id, id),
    FOREIGN KEY (tenant_id, run_id, step_id) REFERENCES agent_steps (tenant_id, run_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX tool_calls_by_step ON tool_calls (tenant_id, run_id, step_id);

CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    subject BLOB NOT NULL,
    state TEXT NOT NULL CHECK (
        state IN ('available', 'executing', 'retryable', 'completed', 'discarded', 'cancelled')
    ),
    attempt INTEGER NOT NULL,
    maximum_attempts INTEGER NOT NULL,
    token INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    lease_until INTEGER,
    last_error TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_waiting ON jobs (run_at, id) WHERE state IN ('available', 'retryable');
CREATE INDEX jobs_executing ON jobs (lease_until) WHERE state = 'executing';
CREATE INDEX jobs_by_subject ON jobs (tenant_id, subject);

CREATE TABLE idempotency_keys (
    tenant_id BLOB NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    run_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key),
    FOREIGN KEY (tenant_id, run_id) REFERENCES agent_runs (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_run ON idempotency_keys (tenant_id, run_id);

CREATE TABLE documents (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    title TEXT NOT NULL,
    collection TEXT NOT NULL,
    metadata TEXT NOT NULL,
    media_type TEXT NOT NULL,
    byte_count INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'ready', 'failed')),
    failure TEXT,
    chunk_count INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX documents_by_collection ON documents (tenant_id, collection, id);

-- The text stands apart, so that lists of documents stay small.
CREATE TABLE document_contents (
    tenant_id BLOB NOT NULL,
    document_id BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (tenant_id, document_id),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE chunks (
    number INTEGER PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    document_id BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    title TEXT NOT NULL,
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, document_id) REFERENCES documents (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX chunks_by_document ON chunks (tenant_id, document_id, ordinal);

-- The full-text index reads its text through this view; the tenant is a word of its own inside MATCH, so that a search
-- never ranks another tenant's rows.
CREATE VIEW chunks_source AS
SELECT number AS rowid, lower(hex(tenant_id)) AS tenant, title, heading, text FROM chunks;

CREATE VIRTUAL TABLE chunks_fts USING fts5 (
    tenant, title, heading, text,
    content = 'chunks_source', content_rowid = 'rowid', tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER chunks_inserted AFTER INSERT ON chunks BEGIN
    INSERT INTO chunks_fts (rowid, tenant, title, heading, text)
    VALUES (new.number, lower(hex(new.tenant_id)), new.title, new.heading, new.text);
END;

CREATE TRIGGER chunks_deleted AFTER DELETE ON chunks BEGIN
    INSERT INTO chunks_fts (chunks_fts, rowid, tenant, title, heading, text)
    VALUES ('delete', old.number, lower(hex(old.tenant_id)), old.title, old.heading, old.text);
END;
