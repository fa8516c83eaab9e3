-- Fair queues: jobs that wait for their time, a place in the queue, shares of tenants, pauses.

SET LOCAL search_path = sba;

-- The database's time. The processes that work on it may each have another.
CREATE FUNCTION current_micros() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN (extract(epoch FROM statement_timestamp()) * 1000000)::bigint;

-- One row a kind of job. Everybody who enqueues reads how far the queue has come.
CREATE TABLE job_queues (
    kind text NOT NULL PRIMARY KEY,
    virtual_time bigint NOT NULL DEFAULT 0,
    paused_at bigint,
    tenant_concurrency bigint CHECK (tenant_concurrency > 0)
) WITH (fillfactor = 10);

-- Where a tenant's part of a queue is not like everybody's.
CREATE TABLE job_shares (
    kind text NOT NULL REFERENCES job_queues (kind) ON DELETE CASCADE,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    weight bigint NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000),
    concurrency bigint CHECK (concurrency > 0),
    PRIMARY KEY (kind, tenant_id)
);

CREATE INDEX job_shares_by_tenant ON job_shares (tenant_id);
CREATE INDEX job_shares_bounded ON job_shares (kind) WHERE concurrency IS NOT NULL;

ALTER TABLE jobs
    ADD COLUMN payload json NOT NULL DEFAULT '{}',
    ADD COLUMN priority bigint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),
    ADD COLUMN start_tag bigint NOT NULL DEFAULT 0,
    ADD COLUMN unique_key text,
    ADD COLUMN unique_until bigint,
    ADD COLUMN worker text,
    ADD COLUMN started_at bigint,
    DROP CONSTRAINT jobs_state_check,
    ADD CONSTRAINT jobs_state_check CHECK (
        state IN ('scheduled', 'available', 'executing', 'retryable', 'completed', 'discarded', 'cancelled')
    );

-- Each state has the index that its readers walk, and no job is in more of them than it needs.
DROP INDEX jobs_waiting, jobs_executing, jobs_by_subject;
CREATE INDEX jobs_available ON jobs (kind, start_tag, id) WHERE state = 'available';
CREATE INDEX jobs_available_by_tenant ON jobs (kind, tenant_id, priority, start_tag, id) WHERE state = 'available';
CREATE INDEX jobs_due ON jobs (kind, run_at, id) WHERE state IN ('scheduled', 'retryable');
-- Not by lease_until: so a renewed lease touches no index, and of few jobs all are looked at for old ones.
CREATE INDEX jobs_executing ON jobs (kind, tenant_id) WHERE state = 'executing';
CREATE INDEX jobs_ended_badly ON jobs (kind, state, id) WHERE state IN ('discarded', 'cancelled');
-- Not led by the tenant: without statistics it would look as good as any other to whoever is bound to one tenant, and hold
-- all that the tenant ever did.
CREATE INDEX jobs_by_subject ON jobs (subject);
CREATE UNIQUE INDEX jobs_unique ON jobs (tenant_id, kind, unique_key) WHERE unique_key IS NOT NULL;

-- Row level security

DO $policies$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['job_queues', 'job_shares'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            $sql$
            CREATE POLICY maintenance ON %I TO CURRENT_USER
            USING (current_setting('app.maintenance', true) = 'on')
            WITH CHECK (current_setting('app.maintenance', true) = 'on')
            $sql$, name);
        EXECUTE format('CREATE POLICY system ON %I TO sba_system USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$policies$;

-- A queue is nobody's: names and times, the same for every tenant.
CREATE POLICY queue ON job_queues FOR SELECT TO sba_app USING (true);
CREATE POLICY tenant ON job_shares FOR SELECT TO sba_app USING (tenant_id = current_tenant_id());

REVOKE ALL ON FUNCTION current_micros() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_micros() TO sba_app, sba_system;

GRANT SELECT ON job_queues, job_shares TO sba_app;
GRANT UPDATE (unique_key, worker) ON jobs TO sba_app;

GRANT SELECT, INSERT, UPDATE (virtual_time, paused_at, tenant_concurrency) ON job_queues TO sba_system;
GRANT SELECT, INSERT, UPDATE (weight, concurrency) ON job_shares TO sba_system;
-- Operators see every job, and edit dead letters.
GRANT SELECT, UPDATE (
    state, attempt, maximum_attempts, token, run_at, lease_until, finished_at, payload, priority, start_tag, worker, started_at
) ON jobs TO sba_system;
