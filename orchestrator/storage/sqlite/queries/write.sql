-- Statements of the writer. A part in braces is one row, and is repeated for as many as there are, so that a
-- batch is few calls into SQLite; that costs half of what json_each does.

-- name: insert_jobs
INSERT INTO jobs VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)};

-- name: insert_inputs
INSERT INTO inputs (job_id, body) VALUES {(?, ?)};

-- name: set_compiled
UPDATE inputs SET compiled = ? WHERE job_id = ?;

-- name: insert_results
INSERT INTO results (job_id, body) VALUES {(?, ?)};

-- name: insert_events
INSERT INTO events VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)};

-- name: move
-- An UPDATE writes every index anew whose columns or condition it names, changed or not, so there are three moves, and
-- only those that end or delete a job name completed_at and deleted_at.
WITH moves (id, from_status, from_attempt, status, attempt, failed_attempts, ready_at, started_at, completed_at,
            deleted_at, outcome) AS (VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)})
UPDATE jobs
SET status = moves.status, attempt = moves.attempt, failed_attempts = moves.failed_attempts,
    ready_at = moves.ready_at, started_at = moves.started_at, outcome = moves.outcome
FROM moves
WHERE jobs.id = moves.id AND jobs.status = moves.from_status AND jobs.attempt = moves.from_attempt
  AND jobs.deleted_at IS NULL
RETURNING jobs.id;

-- name: move_to_end
WITH moves (id, from_status, from_attempt, status, attempt, failed_attempts, ready_at, started_at, completed_at,
            deleted_at, outcome) AS (VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)})
UPDATE jobs
SET status = moves.status, attempt = moves.attempt, failed_attempts = moves.failed_attempts,
    ready_at = moves.ready_at, started_at = moves.started_at, outcome = moves.outcome, completed_at = moves.completed_at
FROM moves
WHERE jobs.id = moves.id AND jobs.status = moves.from_status AND jobs.attempt = moves.from_attempt
  AND jobs.deleted_at IS NULL
RETURNING jobs.id;

-- name: move_deleting
WITH moves (id, from_status, from_attempt, status, attempt, failed_attempts, ready_at, started_at, completed_at,
            deleted_at, outcome) AS (VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)})
UPDATE jobs
SET status = moves.status, attempt = moves.attempt, failed_attempts = moves.failed_attempts,
    ready_at = moves.ready_at, started_at = moves.started_at, outcome = moves.outcome,
    completed_at = moves.completed_at, deleted_at = moves.deleted_at
FROM moves
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

-- name: load_sessions
SELECT body FROM sessions WHERE id IN (SELECT value FROM json_each(?));

-- name: add_session
INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?);

-- name: put_session
INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, closing = excluded.closing, body = excluded.body;

-- name: queued_in_session
SELECT * FROM jobs INDEXED BY jobs_active_in_session
WHERE session_id = ? AND completed_at IS NULL AND status IN ('submitted', 'ready') AND children = 0
ORDER BY id LIMIT ?;

-- name: put_project
INSERT INTO projects (id, name, created_at) VALUES (?, ?, ?);

-- name: put_key
INSERT INTO keys (id, project_id, name, digest, created_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, revoked_at = excluded.revoked_at;

-- name: put_characterization
INSERT INTO characterizations (id, backend, recorded_at, body) VALUES (?, ?, ?, ?);

-- name: put_standing
INSERT INTO standings (backend, status, reason, paused) VALUES (?, ?, ?, ?)
ON CONFLICT (backend) DO UPDATE SET status = excluded.status, reason = excluded.reason, paused = excluded.paused;

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

-- name: trim_sessions
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions AS old
    WHERE ended_at IS NOT NULL AND ended_at < ? AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.session_id = old.id)
    ORDER BY ended_at LIMIT ?
);

-- name: set_meta
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value;
