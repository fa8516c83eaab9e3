-- What is old goes: each kind of row is found by its age, and work that one process does for all has a time.

SET LOCAL search_path = sba;

-- Whoever moves the time on does the work.
CREATE TABLE upkeep (
    name text NOT NULL PRIMARY KEY,
    next_at bigint NOT NULL
);

CREATE INDEX agent_runs_finished ON agent_runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
CREATE INDEX audit_logs_by_time ON audit_logs (created_at);
CREATE INDEX usage_metrics_by_age ON usage_metrics (created_at);
CREATE INDEX sign_ins_by_time ON sign_ins (created_at);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
CREATE INDEX invitations_by_expiry ON invitations (expires_at);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at);

ALTER TABLE upkeep ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY maintenance ON upkeep TO CURRENT_USER
USING (current_setting('app.maintenance', true) = 'on') WITH CHECK (current_setting('app.maintenance', true) = 'on');
CREATE POLICY system ON upkeep TO sba_system USING (true) WITH CHECK (true);

CREATE POLICY pruning ON idempotency_keys TO sba_system USING (true);

-- What was audited lately cannot be deleted, whatever a server is told: 30 days.
CREATE POLICY recent ON audit_logs AS RESTRICTIVE FOR DELETE TO sba_system
USING (created_at < current_micros() - 2592000000000);

GRANT SELECT, INSERT, UPDATE (next_at) ON upkeep TO sba_system;
GRANT SELECT (finished_at) ON agent_runs TO sba_system;
GRANT SELECT (created_at), DELETE ON idempotency_keys TO sba_system;
GRANT SELECT (created_at), DELETE ON usage_metrics TO sba_system;
GRANT DELETE ON jobs, audit_logs, sign_ins, refresh_tokens TO sba_system;
