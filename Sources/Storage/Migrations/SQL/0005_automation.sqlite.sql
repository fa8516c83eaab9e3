-- What happens by itself: schedules that start runs, and events that are told to other servers.

-- A request is what is asked of each run. A schedule's times are fired by whoever moves its version on.
CREATE TABLE schedules (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    missed TEXT NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
    request TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1,
    paused_at INTEGER,
    next_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedules_due ON schedules (next_at, tenant_id, id) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_by_user ON schedules (user_id);

-- The id is the run's: however often a firing is tried, it makes one run.
CREATE TABLE schedule_firings (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    schedule_id BLOB NOT NULL,
    fire_at INTEGER NOT NULL,
    cause TEXT NOT NULL CHECK (cause IN ('time', 'manual')),
    outcome TEXT NOT NULL CHECK (outcome IN ('pending', 'started', 'failed', 'skipped')),
    error TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, schedule_id, fire_at, cause),
    FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedules (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX schedule_firings_by_schedule ON schedule_firings (tenant_id, schedule_id, id);
CREATE INDEX schedule_firings_by_time ON schedule_firings (created_at);

CREATE TABLE webhooks (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    url TEXT NOT NULL,
    description TEXT,
    events TEXT NOT NULL,
    sealed TEXT NOT NULL,
    previous_sealed TEXT,
    previous_until INTEGER,
    disabled_at INTEGER,
    disabled_reason TEXT,
    version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhooks_enabled ON webhooks (tenant_id) WHERE disabled_at IS NULL;

-- Written in the transaction of what it tells of; pending until its deliveries are there.
CREATE TABLE outbox (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id BLOB NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent')),
    occurred_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_pending ON outbox (created_at, tenant_id, id) WHERE state = 'pending';
CREATE INDEX outbox_by_time ON outbox (created_at);

CREATE TABLE webhook_deliveries (
    tenant_id BLOB NOT NULL,
    id BLOB NOT NULL,
    webhook_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    last_status INTEGER,
    last_error TEXT,
    last_response TEXT,
    last_duration_ms INTEGER,
    last_attempt_at INTEGER,
    delivered_at INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, webhook_id, event_id),
    FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhooks (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, event_id) REFERENCES outbox (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (tenant_id, webhook_id, id);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (tenant_id, webhook_id, state, id);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (tenant_id, event_id);

CREATE TABLE event_schemas (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    schema TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, type)
) STRICT, WITHOUT ROWID;

-- The id may be the sender's; the place is by arrival.
CREATE TABLE meta_events (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    place BLOB NOT NULL,
    id BLOB NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    occurred_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, place),
    UNIQUE (tenant_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX meta_events_by_type ON meta_events (tenant_id, type, place);
CREATE INDEX meta_events_by_time ON meta_events (created_at);
