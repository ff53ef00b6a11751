-- Statements of the readers. Job columns are always all columns of jobs, in the table's order.

-- name: job
SELECT * FROM jobs WHERE id = ? AND project_id = ? AND deleted_at IS NULL;

-- name: load
SELECT * FROM jobs WHERE id IN (SELECT value FROM json_each(?));

-- name: children
SELECT * FROM jobs WHERE parent_id = ? ORDER BY child_index;

-- name: listed
SELECT * FROM jobs
WHERE project_id = :project AND parent_id IS NULL AND deleted_at IS NULL
  AND (:before IS NULL OR id < :before)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:backends IS NULL OR backend IN (SELECT value FROM json_each(:backends)))
ORDER BY id DESC LIMIT :limit;

-- name: listed_by_ids
SELECT * FROM jobs
WHERE id IN (SELECT value FROM json_each(:ids)) AND project_id = :project AND deleted_at IS NULL
  AND (:parent IS NULL OR parent_id = :parent)
  AND (:before IS NULL OR id < :before)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:backends IS NULL OR backend IN (SELECT value FROM json_each(:backends)))
  AND (:session IS NULL OR session_id = :session)
ORDER BY id DESC LIMIT :limit;

-- name: listed_by_parent
SELECT * FROM jobs
WHERE parent_id = :parent AND project_id = :project AND deleted_at IS NULL
  AND (:before IS NULL OR id < :before)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:backends IS NULL OR backend IN (SELECT value FROM json_each(:backends)))
  AND (:session IS NULL OR session_id = :session)
ORDER BY id DESC LIMIT :limit;

-- name: listed_by_session
SELECT * FROM jobs
WHERE session_id = :session AND project_id = :project AND parent_id IS NULL AND deleted_at IS NULL
  AND (:before IS NULL OR id < :before)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:backends IS NULL OR backend IN (SELECT value FROM json_each(:backends)))
ORDER BY id DESC LIMIT :limit;

-- name: input
SELECT inputs.body, inputs.compiled FROM jobs JOIN inputs ON inputs.job_id = jobs.id
WHERE jobs.id = ? AND jobs.project_id = ? AND jobs.deleted_at IS NULL;

-- name: results
SELECT results.job_id, results.body FROM results JOIN jobs ON jobs.id = results.job_id
WHERE jobs.project_id = ? AND jobs.deleted_at IS NULL AND results.job_id IN (SELECT value FROM json_each(?));

-- name: active
SELECT jobs.*, inputs.body, inputs.compiled FROM jobs INDEXED BY jobs_active JOIN inputs ON inputs.job_id = jobs.id
WHERE jobs.completed_at IS NULL AND jobs.backend = ? AND jobs.id > ? AND jobs.status = ?
ORDER BY jobs.id LIMIT ?;

-- name: stranded
SELECT * FROM jobs INDEXED BY jobs_active
WHERE completed_at IS NULL AND status = 'started' AND children = 0 AND id > ? ORDER BY id LIMIT ?;

-- name: unended
SELECT id FROM jobs WHERE id IN (SELECT value FROM json_each(?)) AND completed_at IS NULL;

-- name: child_ids
SELECT id FROM jobs WHERE parent_id IN (SELECT value FROM json_each(?));

-- name: waiting
SELECT backend, id, status, project_id, parent_id, session_id, outcome ->> '$.predicted_execution_ms'
FROM jobs INDEXED BY jobs_active
WHERE completed_at IS NULL AND (backend, id) > (?, ?) AND status IN ('submitted', 'ready') AND children = 0
ORDER BY backend, id LIMIT ?;

-- name: events
SELECT * FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?;

-- name: events_filtered
SELECT * FROM events
WHERE sequence > :after
  AND (:project IS NULL OR project_id = :project OR project_id IS NULL)
  AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY sequence LIMIT :limit;

-- name: events_of_jobs
SELECT * FROM events
WHERE job_id IN (SELECT value FROM json_each(:jobs)) AND sequence > :after
  AND (:project IS NULL OR project_id = :project)
  AND (:sessions IS NULL OR session_id IN (SELECT value FROM json_each(:sessions)))
  AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY sequence LIMIT :limit;

-- name: events_of_session
SELECT * FROM events
WHERE session_id = :session AND sequence > :after
  AND (:project IS NULL OR project_id = :project)
  AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY sequence LIMIT :limit;

-- name: last_sequence
SELECT coalesce(max(sequence), 0) FROM events;

-- name: meta
SELECT value FROM meta WHERE name = ?;

-- name: projects
SELECT id, name, created_at FROM projects ORDER BY id;

-- name: keys
SELECT id, project_id, name, digest, created_at, revoked_at FROM keys ORDER BY id;

-- name: session
SELECT body FROM sessions WHERE id = ? AND project_id = ?;

-- name: sessions
SELECT body FROM sessions WHERE project_id = ? ORDER BY id DESC LIMIT ?;

-- name: sessions_active
SELECT body FROM sessions WHERE project_id = ? AND ended_at IS NULL ORDER BY id DESC LIMIT ?;

-- name: sessions_ended
SELECT body FROM sessions WHERE project_id = ? AND ended_at IS NOT NULL ORDER BY id DESC LIMIT ?;

-- name: sessions_expired
SELECT body FROM sessions WHERE ended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= ?
ORDER BY expires_at LIMIT ?;

-- name: sessions_closing
SELECT body FROM sessions WHERE closing ORDER BY id LIMIT ?;

-- name: next_expiry
SELECT min(expires_at) FROM sessions WHERE ended_at IS NULL AND expires_at IS NOT NULL;

-- name: verify_sessions
SELECT body FROM sessions ORDER BY id;

-- name: calibrated
SELECT DISTINCT backend FROM characterizations;

-- name: characterizations
SELECT body FROM characterizations
WHERE backend = :backend AND (:start IS NULL OR recorded_at >= :start) AND (:end IS NULL OR recorded_at < :end)
ORDER BY recorded_at DESC, id DESC LIMIT :limit OFFSET :offset;

-- name: count_characterizations
SELECT count(*) FROM characterizations
WHERE backend = :backend AND (:start IS NULL OR recorded_at >= :start) AND (:end IS NULL OR recorded_at < :end);

-- name: characterization
SELECT body FROM characterizations WHERE id = ?;

-- name: standings
SELECT backend, status, reason, paused FROM standings ORDER BY backend;

-- name: verify_events
SELECT * FROM events ORDER BY sequence;

-- name: verify_jobs
SELECT jobs.*, results.job_id IS NOT NULL FROM jobs LEFT JOIN results ON results.job_id = jobs.id ORDER BY jobs.id;
