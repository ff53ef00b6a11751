-- Statements of the writer. Each takes one JSON array of rows, so that a batch is one call into SQLite,
-- made without the interpreter lock (docs/decisions/0002).

-- name: insert_jobs
INSERT INTO jobs
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       value->>9, value->>10, value->>11, value->>12, value->>13, value->>14, value->>15, value->>16
FROM json_each(?);

-- name: insert_inputs
INSERT INTO inputs (job_id, body) SELECT value->>0, value->>1 FROM json_each(?);

-- name: insert_input_blob
INSERT INTO inputs (job_id, body) VALUES (?, ?);

-- name: set_compiled
UPDATE inputs SET compiled = ? WHERE job_id = ?;

-- name: insert_results
INSERT INTO results (job_id, body) SELECT value->>0, value->>1 FROM json_each(?);

-- name: insert_result_blob
INSERT INTO results (job_id, body) VALUES (?, ?);

-- name: insert_events
INSERT INTO events
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5, value->>6, value->>7, value->>8,
       value->>9, value->>10
FROM json_each(?);

-- name: move
UPDATE jobs
SET status = moves.status, attempt = moves.attempt, failed_attempts = moves.failed_attempts,
    ready_at = moves.ready_at, started_at = moves.started_at, completed_at = moves.completed_at,
    deleted_at = moves.deleted_at, outcome = moves.outcome
FROM (
    SELECT value->>0 AS id, value->>1 AS from_status, value->>2 AS from_attempt, value->>3 AS status,
           value->>4 AS attempt, value->>5 AS failed_attempts, value->>6 AS ready_at, value->>7 AS started_at,
           value->>8 AS completed_at, value->>9 AS deleted_at, value->>10 AS outcome
    FROM json_each(?)
) AS moves
WHERE jobs.id = moves.id AND jobs.status = moves.from_status AND jobs.attempt = moves.from_attempt
  AND jobs.deleted_at IS NULL
RETURNING jobs.id;

-- name: recall
SELECT digest, job_id FROM idempotency WHERE project_id = ? AND key = ?;

-- name: remember
INSERT INTO idempotency (project_id, key, digest, job_id) VALUES (?, ?, ?, ?);

-- name: child_counts
SELECT parent_id, status, count(*) FROM jobs
WHERE parent_id IN (SELECT value FROM json_each(?)) GROUP BY parent_id, status;

-- name: put_project
INSERT INTO projects (id, name, created_at) VALUES (?, ?, ?);

-- name: put_key
INSERT INTO keys (id, project_id, name, digest, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, revoked_at = excluded.revoked_at;

-- name: put_characterization
INSERT INTO characterizations (id, backend, recorded_at, body) VALUES (?, ?, ?, ?);

-- name: trimmed_roots
SELECT id FROM jobs
WHERE parent_id IS NULL AND completed_at IS NOT NULL AND completed_at < ? ORDER BY completed_at LIMIT ?;

-- name: trimmed_jobs
SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?1))
UNION ALL SELECT id FROM jobs WHERE parent_id IN (SELECT value FROM json_each(?1));

-- name: trimmed_horizon
SELECT coalesce(max(sequence), 0) FROM events WHERE job_id IN (SELECT value FROM json_each(?));

-- name: delete_events
DELETE FROM events WHERE job_id IN (SELECT value FROM json_each(?));

-- name: delete_results
DELETE FROM results WHERE job_id IN (SELECT value FROM json_each(?));

-- name: delete_inputs
DELETE FROM inputs WHERE job_id IN (SELECT value FROM json_each(?));

-- name: delete_idempotency
DELETE FROM idempotency WHERE job_id IN (SELECT value FROM json_each(?));

-- name: delete_jobs
DELETE FROM jobs WHERE id IN (SELECT value FROM json_each(?));

-- name: set_meta
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
