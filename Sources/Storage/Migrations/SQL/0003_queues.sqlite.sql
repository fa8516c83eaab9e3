-- Fair queues: jobs that wait for their time, a place in the queue, shares of tenants, pauses.

-- One row a kind of job. Everybody who enqueues reads how far the queue has come.
CREATE TABLE job_queues (
    kind TEXT NOT NULL PRIMARY KEY,
    virtual_time INTEGER NOT NULL DEFAULT 0,
    paused_at INTEGER,
    tenant_concurrency INTEGER CHECK (tenant_concurrency > 0)
) STRICT, WITHOUT ROWID;

-- Where a tenant's part of a queue is not like everybody's.
CREATE TABLE job_shares (
    kind TEXT NOT NULL REFERENCES job_queues (kind) ON DELETE CASCADE,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    weight INTEGER NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    concurrency INTEGER CHECK (concurrency > 0),
    PRIMARY KEY (kind, tenant_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_shares_by_tenant ON job_shares (tenant_id);
CREATE INDEX job_shares_bounded ON job_shares (kind) WHERE concurrency IS NOT NULL;

-- A check of a column cannot be altered: the table is made anew.
CREATE TABLE new_jobs (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    subject BLOB NOT NULL,
    payload TEXT NOT NULL DEFAULT '{}',
    state TEXT NOT NULL CHECK (
        state IN ('scheduled', 'available', 'executing', 'retryable', 'completed', 'discarded', 'cancelled')
    ),
    priority INTEGER NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),
    start_tag INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL,
    maximum_attempts INTEGER NOT NULL,
    token INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    lease_until INTEGER,
    worker TEXT,
    last_error TEXT,
    unique_key TEXT,
    unique_until INTEGER,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO new_jobs (
    id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, lease_until, last_error, created_at,
    finished_at
)
SELECT id, tenant_id, kind, subject, state, attempt, maximum_attempts, token, run_at, lease_until, last_error, created_at,
    finished_at
FROM jobs;

DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;

-- Each state has the index that its readers walk, and no job is in more of them than it needs.
CREATE INDEX jobs_available ON jobs (kind, start_tag, id) WHERE state = 'available';
CREATE INDEX jobs_available_by_tenant ON jobs (kind, tenant_id, priority, start_tag, id) WHERE state = 'available';
CREATE INDEX jobs_due ON jobs (kind, run_at, id) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX jobs_executing ON jobs (kind, tenant_id) WHERE state = 'executing';
CREATE INDEX jobs_ended_badly ON jobs (kind, state, id) WHERE state IN ('discarded', 'cancelled');
CREATE INDEX jobs_by_subject ON jobs (tenant_id, subject);
CREATE UNIQUE INDEX jobs_unique ON jobs (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL;
