-- Every row is reached from its project. Times are milliseconds since 1970. Text is compared byte
-- by byte, as everywhere else in Keyreeve, whatever the database's own collation is.

CREATE TABLE projects (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

CREATE TABLE environments (
    project    TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    name       TEXT COLLATE "C" NOT NULL,
    env_tag    TEXT COLLATE "C" NOT NULL CHECK (env_tag IN ('live', 'test')),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE keyspaces (
    project            TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    name               TEXT COLLATE "C" NOT NULL,
    prefix             TEXT COLLATE "C" NOT NULL,
    default_expires_in BIGINT,
    default_grace      BIGINT NOT NULL,
    fail_policy        TEXT COLLATE "C" NOT NULL CHECK (fail_policy IN ('closed', 'open')),
    created_at         BIGINT NOT NULL,
    revision           BIGINT NOT NULL,
    policy             TEXT COLLATE "C",
    PRIMARY KEY (project, name)
);

CREATE TABLE owners (
    project    TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    id         TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C",
    metadata   TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    revision   BIGINT NOT NULL,
    policy     TEXT COLLATE "C",
    PRIMARY KEY (project, id)
);

CREATE TABLE roles (
    project     TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    permissions TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE api_keys (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    project       TEXT COLLATE "C" NOT NULL,
    keyspace      TEXT COLLATE "C" NOT NULL,
    environment   TEXT COLLATE "C" NOT NULL,
    env_tag       TEXT COLLATE "C" NOT NULL CHECK (env_tag IN ('live', 'test')),
    name          TEXT COLLATE "C" NOT NULL,
    owner         TEXT COLLATE "C",
    roles         TEXT COLLATE "C" NOT NULL,
    permissions   TEXT COLLATE "C" NOT NULL,
    metadata      TEXT COLLATE "C" NOT NULL,
    tags          TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    created_by    TEXT COLLATE "C" NOT NULL,
    expires_at    BIGINT,
    lifecycle     TEXT COLLATE "C" NOT NULL
        CHECK (lifecycle IN ('active', 'disabled', 'rotating', 'revoked', 'deleted')),
    changed_at    BIGINT,
    reason        TEXT COLLATE "C",
    successor     TEXT COLLATE "C",
    grace_ends_at BIGINT,
    was           TEXT COLLATE "C",
    -- 'foreign': the text is not known yet; the hash it came with stands in imported.
    digest_scheme TEXT COLLATE "C" NOT NULL CHECK (digest_scheme IN ('sha256', 'hmac-sha256', 'foreign')),
    digest        BYTEA NOT NULL CHECK (length(digest) = 32),
    last_four     TEXT COLLATE "C" NOT NULL,
    lineage       TEXT COLLATE "C" NOT NULL,
    predecessor   TEXT COLLATE "C",
    revision      BIGINT NOT NULL,
    not_before    BIGINT,
    -- JSON; NULL where nothing is bounded.
    policy        TEXT COLLATE "C",
    parent        TEXT COLLATE "C",
    -- JSON with the start and the hash of a key from another system.
    imported      TEXT COLLATE "C",
    -- From when on the key is seen as expired: one number for lists, filters and clean-up.
    ends_at BIGINT GENERATED ALWAYS AS (
        CASE lifecycle
            WHEN 'active' THEN expires_at
            WHEN 'rotating' THEN least(grace_ends_at, expires_at)
        END
    ) STORED,
    FOREIGN KEY (project, keyspace) REFERENCES keyspaces (project, name),
    FOREIGN KEY (project, environment) REFERENCES environments (project, name),
    FOREIGN KEY (project, owner) REFERENCES owners (project, id)
);

-- The fewest indexes that lists need: every one of them is paid for by every new key.
CREATE INDEX api_keys_by_age ON api_keys (project, created_at, id);
CREATE INDEX api_keys_by_end ON api_keys (project, ends_at, id) WHERE ends_at IS NOT NULL;
CREATE INDEX api_keys_by_owner ON api_keys (project, owner, created_at, id)
    WHERE owner IS NOT NULL;

-- The age stands in both, so that a filtered list comes out in its order.
CREATE TABLE api_key_roles (
    project    TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    key_id     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, role, created_at, key_id)
);

CREATE TABLE api_key_tags (
    project    TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    key_id     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, tag, created_at, key_id)
);

CREATE TABLE key_usage (
    key_id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    verifications   BIGINT NOT NULL,
    last_used_at    BIGINT NOT NULL,
    last_ip         TEXT COLLATE "C",
    last_user_agent TEXT COLLATE "C",
    peak_10s        BIGINT NOT NULL,
    peak_hour       BIGINT NOT NULL,
    peak_day        BIGINT NOT NULL
);

CREATE TABLE idempotent_results (
    project     TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    lookup      BYTEA NOT NULL CHECK (length(lookup) = 32),
    fingerprint BYTEA NOT NULL CHECK (length(fingerprint) = 32),
    key_id      TEXT COLLATE "C" NOT NULL,
    sealed      BYTEA NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (project, lookup)
);

CREATE INDEX idempotent_results_by_age ON idempotent_results (at);

-- The body is the truth, because it is what was hashed. The columns repeat parts of it so that
-- entries can be found; `keyreeve audit verify` compares them with the body.
CREATE TABLE audit_entries (
    seq     BIGINT NOT NULL PRIMARY KEY,
    project TEXT COLLATE "C" NOT NULL,
    at_ms   BIGINT NOT NULL,
    actor   TEXT COLLATE "C" NOT NULL,
    action  TEXT COLLATE "C" NOT NULL,
    target  TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    body    BYTEA NOT NULL,
    leaf    BYTEA NOT NULL
);

-- The first holds all that filters ask for, so entries that do not match are never read.
CREATE INDEX audit_entries_by_project ON audit_entries (project, seq, at_ms, action, outcome);
CREATE INDEX audit_entries_by_actor ON audit_entries (project, actor);
-- A target may be long: a list of what was missing. Such an index keeps its hash.
CREATE INDEX audit_entries_by_target ON audit_entries USING hash (target);

CREATE TABLE audit_checkpoints (
    size BIGINT NOT NULL PRIMARY KEY,
    note TEXT COLLATE "C" NOT NULL
);

CREATE TABLE audit_state (
    id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size     BIGINT NOT NULL,
    frontier BYTEA NOT NULL,
    note     TEXT COLLATE "C" NOT NULL
);

-- What of each quota may have been spent: never less than what was.
CREATE TABLE quota_claims (
    project      TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    holder       TEXT COLLATE "C" NOT NULL CHECK (holder IN ('lineage', 'owner')),
    subject      TEXT COLLATE "C" NOT NULL,
    period_start BIGINT NOT NULL,
    period_end   BIGINT,
    claimed      BIGINT NOT NULL,
    PRIMARY KEY (project, holder, subject)
);

-- What changed in which epoch, for nodes that have to learn of it. Names things and does not hold
-- them: whoever reads this reads the things as they are by then.
CREATE TABLE changes (
    epoch        BIGINT NOT NULL,
    ordinal      BIGINT NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    verb         TEXT COLLATE "C" NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    -- The revision that was purged, or what is claimed of a quota.
    number       BIGINT NOT NULL,
    -- Which node claimed, and of which period; empty and 0 for all else.
    node         TEXT COLLATE "C" NOT NULL,
    period_start BIGINT NOT NULL,
    period_end   BIGINT NOT NULL,
    PRIMARY KEY (epoch, ordinal)
);
