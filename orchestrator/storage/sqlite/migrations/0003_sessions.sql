-- Sessions; the body is the whole record.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    expires_at INTEGER,
    ended_at INTEGER,
    closing INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_listed ON sessions (project_id, id);
CREATE INDEX sessions_active ON sessions (project_id, id) WHERE ended_at IS NULL;
CREATE INDEX sessions_expiring ON sessions (expires_at) WHERE ended_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX sessions_closing ON sessions (id) WHERE closing;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;

-- Partial, so that a job without a session writes none of them.
CREATE INDEX jobs_of_session ON jobs (session_id, id) WHERE session_id IS NOT NULL;
CREATE INDEX jobs_active_in_session ON jobs (session_id, id) WHERE session_id IS NOT NULL AND completed_at IS NULL;

ALTER TABLE events ADD COLUMN session_id TEXT;
CREATE INDEX events_of_session ON events (session_id, sequence) WHERE session_id IS NOT NULL;
