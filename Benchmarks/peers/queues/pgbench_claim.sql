-- What PostgreSQL itself allows: one statement claims jobs, another finishes them, each with a commit of its own and no
-- client library between. Every claim must find a batch, so -c times -t times the batch is at most the number of jobs:
--   CREATE TABLE claim_jobs (id bigint PRIMARY KEY, state text NOT NULL DEFAULT 'waiting', token bigint NOT NULL DEFAULT 0,
--       leased_until timestamptz);
--   CREATE INDEX ON claim_jobs (id) WHERE state = 'waiting';
--   INSERT INTO claim_jobs SELECT generate_series(1, 40000);
--   VACUUM ANALYZE claim_jobs;
--   pgbench -n -M prepared -c 8 -j 2 -t 5000 -D batch=1 -f pgbench_claim.sql
-- Jobs a second are its transactions a second times the batch.
WITH next AS (
    SELECT id FROM claim_jobs WHERE state = 'waiting' ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE claim_jobs SET state = 'claimed', token = token + 1, leased_until = now() + interval '30 seconds'
    FROM next WHERE claim_jobs.id = next.id RETURNING claim_jobs.id
)
SELECT array_agg(id) AS ids FROM claimed
\gset
UPDATE claim_jobs SET state = 'done', leased_until = NULL WHERE id = ANY(:ids) AND state = 'claimed';
