-- Notification rules; the body is the whole record.
CREATE TABLE hooks (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    body TEXT NOT NULL
) STRICT;

-- The outbox: one row per event and hook, inserted with the event. No foreign key, since nothing about hooks may
-- fail a transition: for a hook that was removed meanwhile nothing is inserted.
CREATE TABLE deliveries (
    hook_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    event TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    settled_at INTEGER,
    detail TEXT NOT NULL,
    PRIMARY KEY (hook_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_pending ON deliveries (hook_id, sequence) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (hook_id, sequence) WHERE state = 'dead';
CREATE INDEX deliveries_settled ON deliveries (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE delivery_attempts (
    position INTEGER PRIMARY KEY,
    hook_id TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    detail TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    job_id TEXT
) STRICT;
CREATE INDEX delivery_attempts_of_hook ON delivery_attempts (hook_id, position);
CREATE INDEX delivery_attempts_age ON delivery_attempts (at);
