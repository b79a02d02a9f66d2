-- Events that came in as webhooks.
CREATE TABLE webhook_events (
    project     TEXT NOT NULL REFERENCES projects (name),
    -- Later events have greater ones.
    id          TEXT NOT NULL,
    source      TEXT NOT NULL,
    -- What the sender calls it.
    event       TEXT,
    received_ms INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts    INTEGER NOT NULL,
    due_ms      INTEGER,
    status      INTEGER,
    failure     TEXT,
    changed_ms  INTEGER NOT NULL,
    -- The request, encrypted and bound to its place.
    sealed      BLOB NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;
CREATE INDEX webhook_events_due ON webhook_events (project, source, due_ms, id)
    WHERE due_ms IS NOT NULL;
CREATE INDEX webhook_events_ended ON webhook_events (changed_ms) WHERE due_ms IS NULL;
CREATE INDEX webhook_events_by_source ON webhook_events (project, source, id);

-- What events left behind, so that none is taken twice.
CREATE TABLE webhook_marks (
    project TEXT NOT NULL REFERENCES projects (name),
    source  TEXT NOT NULL,
    mark    BLOB NOT NULL CHECK (length(mark) = 32),
    left_ms INTEGER NOT NULL,
    PRIMARY KEY (project, source, mark)
) STRICT, WITHOUT ROWID;
CREATE INDEX webhook_marks_by_time ON webhook_marks (left_ms);
