-- What the vault knows, each as one text that is authenticated with where it stands.
CREATE TABLE vault_records (
    project  TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    kind     TEXT COLLATE "C" NOT NULL,
    id       TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL CHECK (revision > 0),
    -- The number of the key that authenticates it.
    key      BIGINT NOT NULL,
    tag      BYTEA NOT NULL CHECK (length(tag) = 32),
    body     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project, kind, id)
);

-- The fields of each version, encrypted and bound to their place.
CREATE TABLE vault_versions (
    project TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    -- The secret's own id, not its path.
    secret  TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL CHECK (version > 0),
    -- The number of the key-encryption key.
    key     BIGINT NOT NULL,
    sealed  BYTEA NOT NULL,
    PRIMARY KEY (project, secret, version)
);
CREATE INDEX vault_versions_by_key ON vault_versions (key);
