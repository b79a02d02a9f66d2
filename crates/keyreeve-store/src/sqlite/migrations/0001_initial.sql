-- Every row is reached from its project. Times are milliseconds since 1970.

CREATE TABLE projects (
    name       TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE environments (
    project    TEXT NOT NULL REFERENCES projects (name),
    name       TEXT NOT NULL,
    env_tag    TEXT NOT NULL CHECK (env_tag IN ('live', 'test')),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE keyspaces (
    project            TEXT NOT NULL REFERENCES projects (name),
    name               TEXT NOT NULL,
    prefix             TEXT NOT NULL,
    default_expires_in INTEGER,
    default_grace      INTEGER NOT NULL,
    fail_policy        TEXT NOT NULL CHECK (fail_policy IN ('closed', 'open')),
    created_at         INTEGER NOT NULL,
    revision           INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;

-- Metadata can be long, which is what rowid tables are for.
CREATE TABLE owners (
    project    TEXT NOT NULL REFERENCES projects (name),
    id         TEXT NOT NULL,
    name       TEXT,
    metadata   TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;

CREATE TABLE roles (
    project     TEXT NOT NULL REFERENCES projects (name),
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    permissions TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    PRIMARY KEY (project, name)
) STRICT, WITHOUT ROWID;

-- A rowid table: creating a key appends to it, and a start reads it from end to end.
CREATE TABLE api_keys (
    id            TEXT NOT NULL PRIMARY KEY,
    project       TEXT NOT NULL,
    keyspace      TEXT NOT NULL,
    environment   TEXT NOT NULL,
    env_tag       TEXT NOT NULL CHECK (env_tag IN ('live', 'test')),
    name          TEXT NOT NULL,
    owner         TEXT,
    roles         TEXT NOT NULL,
    permissions   TEXT NOT NULL,
    metadata      TEXT NOT NULL,
    tags          TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    created_by    TEXT NOT NULL,
    expires_at    INTEGER,
    lifecycle     TEXT NOT NULL
        CHECK (lifecycle IN ('active', 'disabled', 'rotating', 'revoked', 'deleted')),
    changed_at    INTEGER,
    reason        TEXT,
    successor     TEXT,
    grace_ends_at INTEGER,
    was           TEXT,
    digest_scheme TEXT NOT NULL CHECK (digest_scheme IN ('sha256', 'hmac-sha256')),
    digest        BLOB NOT NULL CHECK (length(digest) = 32),
    last_four     TEXT NOT NULL,
    lineage       TEXT NOT NULL,
    predecessor   TEXT,
    revision      INTEGER NOT NULL,
    -- From when on the key is seen as expired: one number for lists, filters and clean-up.
    ends_at INTEGER GENERATED ALWAYS AS (
        CASE lifecycle
            WHEN 'active' THEN expires_at
            WHEN 'rotating' THEN min(grace_ends_at, coalesce(expires_at, grace_ends_at))
        END
    ) VIRTUAL,
    FOREIGN KEY (project, keyspace) REFERENCES keyspaces (project, name),
    FOREIGN KEY (project, environment) REFERENCES environments (project, name),
    FOREIGN KEY (project, owner) REFERENCES owners (project, id)
) STRICT;

-- The fewest indexes that lists need: every one of them is paid for by every new key.
CREATE INDEX api_keys_by_age ON api_keys (project, created_at, id);
CREATE INDEX api_keys_by_end ON api_keys (project, ends_at, id) WHERE ends_at IS NOT NULL;
CREATE INDEX api_keys_by_owner ON api_keys (project, owner, created_at, id)
    WHERE owner IS NOT NULL;

-- The age stands in both, so that a filtered list comes out in its order.
CREATE TABLE api_key_roles (
    project    TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    key_id     TEXT NOT NULL,
    PRIMARY KEY (project, role, created_at, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_key_tags (
    project    TEXT NOT NULL,
    tag        TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    key_id     TEXT NOT NULL,
    PRIMARY KEY (project, tag, created_at, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_usage (
    key_id          TEXT NOT NULL PRIMARY KEY,
    verifications   INTEGER NOT NULL,
    last_used_at    INTEGER NOT NULL,
    last_ip         TEXT,
    last_user_agent TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotent_results (
    project     TEXT NOT NULL REFERENCES projects (name),
    lookup      BLOB NOT NULL CHECK (length(lookup) = 32),
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    key_id      TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (project, lookup)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotent_results_by_age ON idempotent_results (at);

-- The body is the truth, because it is what was hashed. The columns repeat parts of it so that
-- entries can be found; `keyreeve audit verify` compares them with the body.
CREATE TABLE audit_entries (
    seq     INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    at_ms   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    outcome TEXT NOT NULL,
    body    BLOB NOT NULL,
    leaf    BLOB NOT NULL
) STRICT;

-- The first holds all that filters ask for, so entries that do not match are never read.
CREATE INDEX audit_entries_by_project ON audit_entries (project, seq, at_ms, action, outcome);
CREATE INDEX audit_entries_by_actor ON audit_entries (project, actor);
CREATE INDEX audit_entries_by_target ON audit_entries (project, target);

CREATE TABLE audit_checkpoints (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL
) STRICT;

CREATE TABLE audit_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    size     INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    note     TEXT NOT NULL
) STRICT;
