-- What happens by itself: schedules that start runs, and events that are told to other servers.

SET LOCAL search_path = sba;

-- A request is what is asked of each run. A schedule's times are fired by whoever moves its version on.
CREATE TABLE schedules (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    scopes text NOT NULL,
    name text NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,
    missed text NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
    request json NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    paused_at bigint,
    next_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 80);

CREATE INDEX schedules_due ON schedules (next_at, tenant_id, id) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_by_user ON schedules (user_id);

-- The id is the run's: however often a firing is tried, it makes one run.
CREATE TABLE schedule_firings (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    schedule_id uuid NOT NULL,
    fire_at bigint NOT NULL,
    cause text NOT NULL CHECK (cause IN ('time', 'manual')),
    outcome text NOT NULL CHECK (outcome IN ('pending', 'started', 'failed', 'skipped')),
    error text,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, schedule_id, fire_at, cause),
    FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedules (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);

CREATE INDEX schedule_firings_by_schedule ON schedule_firings (tenant_id, schedule_id, id);
CREATE INDEX schedule_firings_by_time ON schedule_firings (created_at);

CREATE TABLE webhooks (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    url text NOT NULL,
    description text,
    events json NOT NULL,
    sealed text NOT NULL,
    previous_sealed text,
    previous_until bigint,
    disabled_at bigint,
    disabled_reason text,
    version bigint NOT NULL DEFAULT 1,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX webhooks_enabled ON webhooks (tenant_id) WHERE disabled_at IS NULL;

-- Written in the transaction of what it tells of; pending until its deliveries are there.
CREATE TABLE outbox (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    type text NOT NULL,
    data json NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'sent')),
    occurred_at bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 80);

CREATE INDEX outbox_pending ON outbox (created_at, tenant_id, id) WHERE state = 'pending';
CREATE INDEX outbox_by_time ON outbox (created_at);

CREATE TABLE webhook_deliveries (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts bigint NOT NULL DEFAULT 0,
    last_status bigint,
    last_error text,
    last_response text,
    last_duration_ms bigint,
    last_attempt_at bigint,
    delivered_at bigint,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, webhook_id, event_id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, event_id) REFERENCES outbox (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 80);

CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (tenant_id, webhook_id, id);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (tenant_id, webhook_id, state, id);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (tenant_id, event_id);

CREATE TABLE event_schemas (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type text NOT NULL,
    schema json NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, type)
);

-- The id may be the sender's; the place is by arrival.
CREATE TABLE meta_events (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    place uuid NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    data json NOT NULL,
    occurred_at bigint NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, place),
    UNIQUE (tenant_id, id)
);

CREATE INDEX meta_events_by_type ON meta_events (tenant_id, type, place);
CREATE INDEX meta_events_by_time ON meta_events (created_at);

-- Row level security

DO $policies$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'schedules', 'schedule_firings', 'webhooks', 'outbox', 'webhook_deliveries', 'event_schemas', 'meta_events'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            $sql$
            CREATE POLICY maintenance ON %I TO CURRENT_USER
            USING (current_setting('app.maintenance', true) = 'on')
            WITH CHECK (current_setting('app.maintenance', true) = 'on')
            $sql$, name);
        EXECUTE format(
            $sql$
            CREATE POLICY tenant ON %I TO sba_app
            USING (tenant_id = current_tenant_id()) WITH CHECK (tenant_id = current_tenant_id())
            $sql$, name);
    END LOOP;
    -- What the system finds for all tenants, and what it deletes when it is old.
    FOREACH name IN ARRAY ARRAY['schedules', 'schedule_firings', 'outbox', 'meta_events', 'webhooks'] LOOP
        EXECUTE format('CREATE POLICY system ON %I TO sba_system USING (true)', name);
    END LOOP;
END
$policies$;

GRANT SELECT, INSERT, UPDATE (
    user_id, scopes, name, cron, time_zone, missed, request, version, paused_at, next_at, updated_at
), DELETE ON schedules TO sba_app;
GRANT SELECT, INSERT, UPDATE (outcome, error) ON schedule_firings TO sba_app;
GRANT SELECT, INSERT, UPDATE (
    url, description, events, sealed, previous_sealed, previous_until, disabled_at, disabled_reason, version, updated_at
), DELETE ON webhooks TO sba_app;
GRANT SELECT, INSERT, UPDATE (state) ON outbox TO sba_app;
GRANT SELECT, INSERT, UPDATE (
    state, attempts, last_status, last_error, last_response, last_duration_ms, last_attempt_at, delivered_at
) ON webhook_deliveries TO sba_app;
GRANT SELECT, INSERT, UPDATE (schema, updated_at), DELETE ON event_schemas TO sba_app;
GRANT SELECT, INSERT ON meta_events TO sba_app;

GRANT SELECT (tenant_id, id, next_at) ON schedules TO sba_system;
GRANT DELETE ON job_shares TO sba_system;
GRANT SELECT (created_at), DELETE ON schedule_firings, meta_events TO sba_system;
GRANT SELECT (tenant_id, id, type, state, created_at), DELETE ON outbox TO sba_system;
GRANT SELECT (tenant_id, id, sealed, previous_sealed, version), UPDATE (sealed, previous_sealed, version) ON webhooks TO sba_system;
