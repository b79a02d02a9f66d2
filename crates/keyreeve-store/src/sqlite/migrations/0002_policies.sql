-- Restrictions, limits and quotas; child keys; keys from other systems; peaks of use.

-- SQLite cannot change a CHECK: the table is built anew. The rowids stay, and with them the order
-- in which a start reads the keys.
CREATE TABLE api_keys_new (
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
    -- 'foreign': the text is not known yet; the hash it came with stands in imported.
    digest_scheme TEXT NOT NULL CHECK (digest_scheme IN ('sha256', 'hmac-sha256', 'foreign')),
    digest        BLOB NOT NULL CHECK (length(digest) = 32),
    last_four     TEXT NOT NULL,
    lineage       TEXT NOT NULL,
    predecessor   TEXT,
    revision      INTEGER NOT NULL,
    not_before    INTEGER,
    -- JSON; NULL where nothing is bounded.
    policy        TEXT,
    parent        TEXT,
    -- JSON with the start and the hash of a key from another system.
    imported      TEXT,
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

INSERT INTO api_keys_new (
    rowid, id, project, keyspace, environment, env_tag, name, owner, roles, permissions, metadata,
    tags, created_at, created_by, expires_at, lifecycle, changed_at, reason, successor,
    grace_ends_at, was, digest_scheme, digest, last_four, lineage, predecessor, revision
) SELECT
    rowid, id, project, keyspace, environment, env_tag, name, owner, roles, permissions, metadata,
    tags, created_at, created_by, expires_at, lifecycle, changed_at, reason, successor,
    grace_ends_at, was, digest_scheme, digest, last_four, lineage, predecessor, revision
FROM api_keys;

DROP TABLE api_keys;
ALTER TABLE api_keys_new RENAME TO api_keys;

CREATE INDEX api_keys_by_age ON api_keys (project, created_at, id);
CREATE INDEX api_keys_by_end ON api_keys (project, ends_at, id) WHERE ends_at IS NOT NULL;
CREATE INDEX api_keys_by_owner ON api_keys (project, owner, created_at, id)
    WHERE owner IS NOT NULL;

ALTER TABLE keyspaces ADD COLUMN policy TEXT;
ALTER TABLE owners ADD COLUMN policy TEXT;

-- The most requests ever seen in ten seconds, an hour and a day.
ALTER TABLE key_usage ADD COLUMN peak_10s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_usage ADD COLUMN peak_hour INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_usage ADD COLUMN peak_day INTEGER NOT NULL DEFAULT 0;

-- What of each quota may have been spent: never less than what was.
CREATE TABLE quota_claims (
    project      TEXT NOT NULL REFERENCES projects (name),
    holder       TEXT NOT NULL CHECK (holder IN ('lineage', 'owner')),
    subject      TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    period_end   INTEGER,
    claimed      INTEGER NOT NULL,
    PRIMARY KEY (project, holder, subject)
) STRICT, WITHOUT ROWID;
