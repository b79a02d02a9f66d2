-- What the vault knows, each as one text that is authenticated with where it stands.
CREATE TABLE vault_records (
    project  TEXT NOT NULL REFERENCES projects (name),
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    -- The number of the key that authenticates it.
    key      INTEGER NOT NULL,
    tag      BLOB NOT NULL CHECK (length(tag) = 32),
    body     TEXT NOT NULL,
    PRIMARY KEY (project, kind, id)
) STRICT, WITHOUT ROWID;

-- The fields of each version, encrypted and bound to their place.
CREATE TABLE vault_versions (
    project TEXT NOT NULL REFERENCES projects (name),
    -- The secret's own id, not its path.
    secret  TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    -- The number of the key-encryption key.
    key     INTEGER NOT NULL,
    sealed  BLOB NOT NULL,
    PRIMARY KEY (project, secret, version)
) STRICT;
CREATE INDEX vault_versions_by_key ON vault_versions (key);
