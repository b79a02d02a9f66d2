-- Events that came in as webhooks.
CREATE TABLE webhook_events (
    project     TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    -- Later events have greater ones.
    id          TEXT COLLATE "C" NOT NULL,
    source      TEXT COLLATE "C" NOT NULL,
    -- What the sender calls it.
    event       TEXT COLLATE "C",
    received_ms BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts    BIGINT NOT NULL,
    due_ms      BIGINT,
    status      BIGINT,
    failure     TEXT COLLATE "C",
    changed_ms  BIGINT NOT NULL,
    -- The request, encrypted and bound to its place.
    sealed      BYTEA NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX webhook_events_due ON webhook_events (project, source, due_ms, id)
    WHERE due_ms IS NOT NULL;
CREATE INDEX webhook_events_ended ON webhook_events (changed_ms) WHERE due_ms IS NULL;
CREATE INDEX webhook_events_by_source ON webhook_events (project, source, id);

-- What events left behind, so that none is taken twice.
CREATE TABLE webhook_marks (
    project TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    source  TEXT COLLATE "C" NOT NULL,
    mark    BYTEA NOT NULL CHECK (length(mark) = 32),
    left_ms BIGINT NOT NULL,
    PRIMARY KEY (project, source, mark)
);
CREATE INDEX webhook_marks_by_time ON webhook_marks (left_ms);
