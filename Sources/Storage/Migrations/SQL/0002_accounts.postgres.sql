-- What people and programs sign in with, who may come, what was done and what was used.
-- Of secrets that only their holder knows there are hashes.

SET LOCAL search_path = sba;

ALTER TABLE users ADD COLUMN is_operator boolean NOT NULL DEFAULT false;

ALTER TABLE signing_keys ADD COLUMN active_at bigint NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN retired_at bigint;

-- Origins whose pages may call the API for a tenant. Looked up without a tenant too: a preflight names none.
CREATE TABLE tenant_origins (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    origin text NOT NULL,
    PRIMARY KEY (tenant_id, origin)
);

CREATE INDEX tenant_origins_by_origin ON tenant_origins (origin);

CREATE TABLE sign_ins (
    id uuid NOT NULL PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    created_at bigint NOT NULL,
    ended_at bigint
) WITH (fillfactor = 80);

CREATE INDEX sign_ins_by_user ON sign_ins (user_id);
CREATE INDEX sign_ins_by_tenant ON sign_ins (tenant_id);

-- Used ones stay while their sign-in does: a second use must be noticed.
CREATE TABLE refresh_tokens (
    hash text NOT NULL PRIMARY KEY,
    sign_in_id uuid NOT NULL REFERENCES sign_ins (id) ON DELETE CASCADE,
    used_at bigint,
    expires_at bigint NOT NULL
);

CREATE INDEX refresh_tokens_by_sign_in ON refresh_tokens (sign_in_id);

CREATE TABLE password_resets (
    user_id uuid NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    hash text NOT NULL UNIQUE,
    expires_at bigint NOT NULL
);

CREATE TABLE external_identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
);

CREATE INDEX external_identities_by_user ON external_identities (user_id);

-- Open ones only.
CREATE TABLE invitations (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    hash text NOT NULL UNIQUE,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, email)
);

CREATE INDEX invitations_by_email ON invitations (email);

-- A key goes with its maker's membership.
CREATE TABLE api_keys (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    hash text NOT NULL UNIQUE,
    scopes text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    revoked_at bigint,
    last_used_at bigint,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE
) WITH (fillfactor = 80);

CREATE INDEX api_keys_by_user ON api_keys (tenant_id, user_id);

-- Without a tenant: what concerns the platform. Users are named by id only, and no longer once they are erased.
-- No index leads with the id alone: a page of a small tenant would be looked for through everybody's rows.
CREATE TABLE audit_logs (
    id uuid NOT NULL,
    tenant_id uuid REFERENCES tenants (id) ON DELETE CASCADE,
    user_id uuid,
    api_key_id uuid,
    address text,
    request_id text NOT NULL,
    action text NOT NULL,
    target text,
    details json NOT NULL,
    created_at bigint NOT NULL
);

CREATE UNIQUE INDEX audit_logs_by_tenant ON audit_logs (tenant_id, id) NULLS NOT DISTINCT;
CREATE INDEX audit_logs_by_action ON audit_logs (tenant_id, action, id);
CREATE INDEX audit_logs_by_user ON audit_logs (user_id, id);
CREATE INDEX audit_logs_by_target ON audit_logs (target);

-- One row a finished step; its id is the step's. A sum of integers is a bigint, one of bigints is not.
CREATE TABLE usage_metrics (
    tenant_id uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    user_id uuid,
    agent text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('model', 'tool')),
    name text NOT NULL,
    attempts integer NOT NULL,
    input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    duration_ms integer NOT NULL,
    created_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

CREATE INDEX usage_metrics_by_time ON usage_metrics (tenant_id, created_at);
CREATE INDEX usage_metrics_by_user ON usage_metrics (user_id);

-- Erasing a person finds what they began.
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX agent_runs_by_user ON agent_runs (user_id);

-- Row level security

DO $policies$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'tenant_origins', 'sign_ins', 'refresh_tokens', 'password_resets', 'external_identities', 'invitations',
        'api_keys', 'audit_logs', 'usage_metrics'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            $sql$
            CREATE POLICY maintenance ON %I TO CURRENT_USER
            USING (current_setting('app.maintenance', true) = 'on')
            WITH CHECK (current_setting('app.maintenance', true) = 'on')
            $sql$, name);
        EXECUTE format('CREATE POLICY system ON %I TO sba_system USING (true) WITH CHECK (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['tenant_origins', 'invitations', 'api_keys', 'audit_logs', 'usage_metrics'] LOOP
        EXECUTE format(
            $sql$
            CREATE POLICY tenant ON %I TO sba_app
            USING (tenant_id = current_tenant_id()) WITH CHECK (tenant_id = current_tenant_id())
            $sql$, name);
    END LOOP;
END
$policies$;

-- Members see each other.
CREATE POLICY member ON users FOR SELECT TO sba_app
USING (EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = users.id AND m.tenant_id = current_tenant_id()));

-- Erasing.
CREATE POLICY erasing ON sessions TO sba_system USING (true);
DROP POLICY system ON agent_runs;
CREATE POLICY system ON agent_runs TO sba_system USING (true);

-- Privileges. Nobody who serves a tenant changes or deletes what the audit log says.

GRANT SELECT (id, email, is_operator, created_at) ON users TO sba_app;
GRANT UPDATE (name) ON tenants TO sba_app;
GRANT SELECT, INSERT, DELETE ON tenant_origins, invitations TO sba_app;
GRANT SELECT, INSERT, UPDATE (revoked_at, last_used_at) ON api_keys TO sba_app;
GRANT SELECT, INSERT ON audit_logs, usage_metrics TO sba_app;

GRANT UPDATE (password_hash, is_operator), DELETE ON users TO sba_system;
GRANT UPDATE (name), DELETE ON tenants TO sba_system;
GRANT UPDATE (role, version), DELETE ON memberships TO sba_system;
GRANT UPDATE (sealed, retired_at) ON signing_keys TO sba_system;
GRANT SELECT ON tenant_origins TO sba_system;
GRANT SELECT, INSERT, UPDATE (tenant_id, ended_at) ON sign_ins TO sba_system;
GRANT SELECT, INSERT, UPDATE (used_at) ON refresh_tokens TO sba_system;
GRANT SELECT, INSERT, UPDATE (hash, expires_at), DELETE ON password_resets TO sba_system;
GRANT SELECT, INSERT ON external_identities TO sba_system;
GRANT SELECT, DELETE ON invitations TO sba_system;
GRANT SELECT, DELETE ON api_keys TO sba_system;
GRANT SELECT, INSERT, UPDATE (user_id, address, target) ON audit_logs TO sba_system;
GRANT SELECT (user_id), UPDATE (user_id) ON usage_metrics TO sba_system;
GRANT SELECT (tenant_id, user_id), DELETE ON sessions TO sba_system;
GRANT SELECT (user_id), DELETE ON agent_runs TO sba_system;
