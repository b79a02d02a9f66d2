-- Who does the work that must not be done twice, and until when.
CREATE TABLE duties (
    name    TEXT NOT NULL PRIMARY KEY,
    term    INTEGER NOT NULL CHECK (term > 0),
    holder  TEXT NOT NULL,
    ends_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
