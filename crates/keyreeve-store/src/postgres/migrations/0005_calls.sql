-- Calls through connections, in batches whose digest is in the audit.
CREATE TABLE call_batches (
    project  TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    until_ms BIGINT NOT NULL,
    sha256   TEXT COLLATE "C" NOT NULL,
    from_ms  BIGINT NOT NULL,
    calls    BIGINT NOT NULL CHECK (calls > 0),
    -- One JSON object a line.
    rows     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, until_ms, sha256)
);
CREATE INDEX call_batches_by_end ON call_batches (until_ms);

-- What was called, by day (UTC, YYYY-MM-DD), connection and client.
CREATE TABLE call_counts (
    project       TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    day           TEXT COLLATE "C" NOT NULL,
    connection    TEXT COLLATE "C" NOT NULL,
    client        TEXT COLLATE "C" NOT NULL,
    calls         BIGINT NOT NULL,
    failed        BIGINT NOT NULL,
    request_bytes BIGINT NOT NULL,
    answer_bytes  BIGINT NOT NULL,
    took_us       BIGINT NOT NULL,
    PRIMARY KEY (project, day, connection, client)
);
