-- Calls through connections, in batches whose digest is in the audit.
CREATE TABLE call_batches (
    project  TEXT NOT NULL REFERENCES projects (name),
    until_ms INTEGER NOT NULL,
    sha256   TEXT NOT NULL,
    from_ms  INTEGER NOT NULL,
    calls    INTEGER NOT NULL CHECK (calls > 0),
    -- One JSON object a line.
    rows     TEXT NOT NULL,
    PRIMARY KEY (project, until_ms, sha256)
) STRICT;
CREATE INDEX call_batches_by_end ON call_batches (until_ms);

-- What was called, by day (UTC, YYYY-MM-DD), connection and client.
CREATE TABLE call_counts (
    project       TEXT NOT NULL REFERENCES projects (name),
    day           TEXT NOT NULL,
    connection    TEXT NOT NULL,
    client        TEXT NOT NULL,
    calls         INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    answer_bytes  INTEGER NOT NULL,
    took_us       INTEGER NOT NULL,
    PRIMARY KEY (project, day, connection, client)
) STRICT, WITHOUT ROWID;
