-- Who does the work that must not be done twice, and until when.
CREATE TABLE duties (
    name    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    term    BIGINT NOT NULL CHECK (term > 0),
    holder  TEXT COLLATE "C" NOT NULL,
    ends_ms BIGINT NOT NULL
);
