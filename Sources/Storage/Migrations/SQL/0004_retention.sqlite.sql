-- What is old goes: each kind of row is found by its age, and work that one process does for all has a time.

-- Whoever moves the time on does the work.
CREATE TABLE upkeep (
    name TEXT NOT NULL PRIMARY KEY,
    next_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_runs_finished ON agent_runs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
CREATE INDEX audit_logs_by_time ON audit_logs (created_at);
CREATE INDEX usage_metrics_by_age ON usage_metrics (created_at);
CREATE INDEX sign_ins_by_time ON sign_ins (created_at);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
CREATE INDEX invitations_by_expiry ON invitations (expires_at);
CREATE INDEX password_resets_by_expiry ON password_resets (expires_at);
