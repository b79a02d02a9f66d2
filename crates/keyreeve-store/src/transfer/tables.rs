//! What there is to copy: the same tables with the same columns in every database.

/// One table whose rows can change.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// How many of the columns, from the first on, tell rows apart.
    pub(super) key: usize,
    pub(super) columns: &'static [&'static str],
}

impl Table {
    /// The columns that tell rows apart.
    pub(super) fn key_columns(&self) -> &'static [&'static str] {
        &self.columns[..self.key]
    }
}

/// Every table but the audit's, those that others refer to first.
pub(super) const TABLES: &[Table] = &[
    Table { name: "projects", key: 1, columns: &["name", "created_at"] },
    Table { name: "environments", key: 2, columns: &["project", "name", "env_tag", "created_at"] },
    Table {
        name: "keyspaces",
        key: 2,
        columns: &[
            "project",
            "name",
            "prefix",
            "default_expires_in",
            "default_grace",
            "fail_policy",
            "created_at",
            "revision",
            "policy",
        ],
    },
    Table {
        name: "owners",
        key: 2,
        columns: &["project", "id", "name", "metadata", "created_at", "revision", "policy"],
    },
    Table {
        name: "roles",
        key: 2,
        columns: &["project", "name", "description", "permissions", "created_at", "revision"],
    },
    Table {
        name: "api_keys",
        key: 1,
        columns: &[
            "id",
            "project",
            "keyspace",
            "environment",
            "env_tag",
            "name",
            "owner",
            "roles",
            "permissions",
            "metadata",
            "tags",
            "created_at",
            "created_by",
            "expires_at",
            "lifecycle",
            "changed_at",
            "reason",
            "successor",
            "grace_ends_at",
            "was",
            "digest_scheme",
            "digest",
            "last_four",
            "lineage",
            "predecessor",
            "revision",
            "not_before",
            "policy",
            "parent",
            "imported",
        ],
    },
    Table { name: "api_key_roles", key: 4, columns: &["project", "role", "created_at", "key_id"] },
    Table { name: "api_key_tags", key: 4, columns: &["project", "tag", "created_at", "key_id"] },
    Table {
        name: "key_usage",
        key: 1,
        columns: &[
            "key_id",
            "verifications",
            "last_used_at",
            "last_ip",
            "last_user_agent",
            "peak_10s",
            "peak_hour",
            "peak_day",
        ],
    },
    Table {
        name: "idempotent_results",
        key: 2,
        columns: &["project", "lookup", "fingerprint", "key_id", "sealed", "at"],
    },
    Table {
        name: "quota_claims",
        key: 3,
        columns: &["project", "holder", "subject", "period_start", "period_end", "claimed"],
    },
    Table {
        name: "vault_records",
        key: 3,
        columns: &["project", "kind", "id", "revision", "key", "tag", "body"],
    },
    Table {
        name: "vault_versions",
        key: 3,
        columns: &["project", "secret", "version", "key", "sealed"],
    },
    Table {
        name: "call_batches",
        key: 3,
        columns: &["project", "until_ms", "sha256", "from_ms", "calls", "rows"],
    },
    Table {
        name: "call_counts",
        key: 4,
        columns: &[
            "project",
            "day",
            "connection",
            "client",
            "calls",
            "failed",
            "request_bytes",
            "answer_bytes",
            "took_us",
            "units",
        ],
    },
    Table {
        name: "webhook_events",
        key: 2,
        columns: &[
            "project",
            "id",
            "source",
            "event",
            "received_ms",
            "bytes",
            "state",
            "attempts",
            "due_ms",
            "status",
            "failure",
            "changed_ms",
            "sealed",
            "order_key",
            "order_number",
        ],
    },
    Table { name: "webhook_marks", key: 3, columns: &["project", "source", "mark", "left_ms"] },
];

/// Entries are only ever added, so they are copied from where the copy ends.
pub(super) const ENTRIES: Table = Table {
    name: "audit_entries",
    key: 1,
    columns: &["seq", "project", "at_ms", "actor", "action", "target", "outcome", "body", "leaf"],
};

pub(super) const CHECKPOINTS: Table =
    Table { name: "audit_checkpoints", key: 1, columns: &["size", "note"] };

/// The signed head over all entries. Copied last: a log without it, or with one that does not fit,
/// is opened by no server.
pub(super) const HEAD: Table =
    Table { name: "audit_state", key: 1, columns: &["id", "size", "frontier", "note"] };

/// What each database keeps for itself: who does what, and what nodes have yet to learn.
#[cfg(test)]
const NOT_COPIED: &[&str] = &["duties", "changes", "keyreeve_schema"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A column that a migration adds must not be forgotten here.
    #[test]
    fn everything_that_is_kept_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::sqlite::transfer::make(&folder.path().join("keyreeve.db")).unwrap();
        let sql = "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_xinfo(m.name) c
                   WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND c.hidden = 0
                   ORDER BY m.name, c.cid";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in rows {
            let (table, column): (String, String) = row.unwrap();
            kept.entry(table).or_default().push(column);
        }
        kept.retain(|table, _| !NOT_COPIED.contains(&table.as_str()));
        let mut copied = BTreeMap::new();
        for table in TABLES.iter().chain([&ENTRIES, &CHECKPOINTS, &HEAD]) {
            let columns = table.columns.iter().map(|column| (*column).to_owned());
            copied.insert(table.name.to_owned(), columns.collect::<Vec<_>>());
        }
        for columns in kept.values_mut().chain(copied.values_mut()) {
            columns.sort();
        }
        assert_eq!(kept, copied);
    }
}
