-- Whether backends take jobs, written with the event that tells of it. A pause of the operator outlives the server.
CREATE TABLE standings (
    backend TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    paused TEXT
) STRICT, WITHOUT ROWID;
