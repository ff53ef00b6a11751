-- Hooks, the outbox and its log. Delivery columns are always all columns of deliveries, in the table's order. What
-- looks for pending or dead ones names the index of those: the primary key leads past all that was ever delivered.

-- name: hooks
SELECT body FROM hooks ORDER BY id;

-- name: add_hook
INSERT INTO hooks (id, project_id, body) VALUES (?, ?, ?);

-- name: replace_hook
UPDATE hooks SET body = ? WHERE id = ?;

-- name: bury
UPDATE deliveries INDEXED BY deliveries_pending SET state = 'dead', settled_at = ?, detail = ?
WHERE hook_id = ? AND state = 'pending';

-- name: remove_hook
DELETE FROM hooks WHERE id = ?;

-- name: remove_deliveries
DELETE FROM deliveries WHERE hook_id = ?;

-- name: remove_attempts
DELETE FROM delivery_attempts WHERE hook_id = ?;

-- name: insert_deliveries
WITH routed (hook_id, sequence, id, event, state, attempts, due_at, settled_at, detail, batch) AS (
    VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)}
)
INSERT INTO deliveries SELECT * FROM routed WHERE hook_id IN (SELECT id FROM hooks) ON CONFLICT DO NOTHING;

-- name: hooks_waiting
SELECT id FROM hooks
WHERE EXISTS (
    SELECT 1 FROM deliveries INDEXED BY deliveries_pending WHERE deliveries.hook_id = hooks.id AND state = 'pending'
) ORDER BY id;

-- name: pending
SELECT * FROM deliveries INDEXED BY deliveries_pending WHERE hook_id = ? AND state = 'pending' ORDER BY sequence LIMIT ?;

-- name: pending_of_batch
SELECT * FROM deliveries INDEXED BY deliveries_pending WHERE hook_id = ? AND state = 'pending' AND batch = ?
ORDER BY sequence LIMIT ?;

-- name: gather
UPDATE deliveries SET batch = ? WHERE hook_id = ? AND sequence = ? AND state = 'pending';

-- name: dead
SELECT * FROM deliveries INDEXED BY deliveries_dead WHERE hook_id = ? AND state = 'dead' ORDER BY sequence LIMIT ?;

-- name: settle
UPDATE deliveries SET state = ?, attempts = ?, due_at = ?, settled_at = ?, detail = ?
WHERE id = ? AND state = 'pending';

-- name: insert_attempt
INSERT INTO delivery_attempts (hook_id, delivery_id, kind, number, at, verdict, detail, duration_ms, job_id)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM hooks WHERE id = ?);

-- name: revive
UPDATE deliveries SET state = 'pending', attempts = 0, due_at = ?, settled_at = NULL,
    batch = CASE WHEN state = 'pending' THEN batch END
WHERE hook_id = ? AND id = ?;

-- name: revive_dead
UPDATE deliveries INDEXED BY deliveries_dead SET state = 'pending', attempts = 0, due_at = ?, settled_at = NULL, batch = NULL
WHERE hook_id = ? AND state = 'dead';

-- name: log
SELECT hook_id, delivery_id, kind, number, at, verdict, detail, duration_ms, job_id, position FROM delivery_attempts
WHERE hook_id = :hook AND (:before IS NULL OR position < :before) ORDER BY position DESC LIMIT :limit;

-- name: prune_deliveries
DELETE FROM deliveries WHERE (hook_id, sequence) IN (
    SELECT hook_id, sequence FROM deliveries WHERE settled_at IS NOT NULL AND settled_at < ? ORDER BY settled_at LIMIT ?
);

-- name: prune_attempts
DELETE FROM delivery_attempts WHERE position IN (SELECT position FROM delivery_attempts WHERE at < ? LIMIT ?);
