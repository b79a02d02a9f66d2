-- Entries come one after the other, but of ever other actors about ever other things. An index by
-- those alone changes a page somewhere else with every entry; one that begins with the block of 1024
-- entries changes the same few pages again and again. Whoever asks looks into block after block.
DROP INDEX audit_entries_by_actor;
DROP INDEX audit_entries_by_target;
CREATE INDEX audit_entries_by_actor ON audit_entries ((seq >> 10), project, actor);
-- A target may be long: a list of what was missing.
CREATE INDEX audit_entries_by_target ON audit_entries ((seq >> 10), project, substr(target, 1, 200));
