-- What calls cost, in units. Before there were units, each call was one.
ALTER TABLE call_counts ADD COLUMN units INTEGER NOT NULL DEFAULT 0;
UPDATE call_counts SET units = calls;
