-- Scalars of jobs. The hot part is small: indexes that claims and recovery use hold active jobs only.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    parent_id TEXT,
    child_index INTEGER,
    children INTEGER NOT NULL,
    session_id TEXT,
    backend TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    failed_attempts INTEGER NOT NULL,
    submitted_at INTEGER NOT NULL,
    ready_at INTEGER,
    started_at INTEGER,
    completed_at INTEGER,
    deleted_at INTEGER,
    spec TEXT NOT NULL,
    outcome TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX jobs_active ON jobs (backend, id) WHERE completed_at IS NULL;
CREATE INDEX jobs_listed ON jobs (project_id, id) WHERE parent_id IS NULL AND deleted_at IS NULL;
CREATE INDEX jobs_children ON jobs (parent_id, child_index, status) WHERE parent_id IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (completed_at) WHERE parent_id IS NULL AND completed_at IS NOT NULL;

CREATE TABLE inputs (
    job_id TEXT PRIMARY KEY,
    body ANY NOT NULL,
    compiled ANY
) STRICT, WITHOUT ROWID;

CREATE TABLE results (
    job_id TEXT PRIMARY KEY,
    body ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    job_id TEXT,
    parent_id TEXT,
    project_id TEXT,
    backend TEXT,
    attempt INTEGER NOT NULL,
    before TEXT,
    after TEXT,
    data TEXT
) STRICT;
CREATE INDEX events_of_job ON events (job_id, sequence);

CREATE TABLE idempotency (
    project_id TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (project_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_of_job ON idempotency (job_id);

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

CREATE TABLE characterizations (
    id TEXT PRIMARY KEY,
    backend TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX characterizations_of_backend ON characterizations (backend, recorded_at);

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
