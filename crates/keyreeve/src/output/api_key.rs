//! API keys, for people.

use keyreeve_api::{ApiKeyView, CleanupExpiredView, Page};

use super::{
    canvas::{Canvas, Tone},
    fields::Fields,
    policy,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[
    Column::Whole("ID"),
    Column::Free("NAME"),
    Column::Whole("STATE"),
    Column::Free("KEYSPACE"),
    Column::Free("ENVIRONMENT"),
    Column::Free("OWNER"),
    Column::Free("EXPIRES"),
    Column::Free("LAST USED"),
];

/// Many keys.
pub(crate) fn table(page: &Page<ApiKeyView>, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for key in &page.items {
        let last_used = key.usage.as_ref().and_then(|usage| usage.last_used_at);
        table.row([
            Cell::new(&key.id),
            Cell::new(&key.name),
            Cell::toned(&key.state, Tone::of_state(&key.state)),
            Cell::new(&key.keyspace),
            Cell::new(&key.environment),
            Cell::maybe(key.owner.as_ref()),
            key.expires_at.map_or_else(
                || Cell::toned("never", Tone::Faint),
                |at| Cell::new(canvas.moment(at)),
            ),
            Cell::maybe(last_used.map(|at| canvas.distance(at))),
        ]);
    }
    table.draw(canvas)
}

/// One key.
pub(crate) fn fields(key: &ApiKeyView, canvas: &Canvas) -> String {
    let mut fields = Fields::default();
    fields
        .add("id", &key.id)
        .add("name", &key.name)
        .toned("state", &key.state, Tone::of_state(&key.state))
        .add("keyspace", &key.keyspace)
        .add("environment", format!("{} ({})", key.environment, key.tag))
        .add("ends in", &key.last_four)
        .maybe("owner", key.owner.as_ref())
        .list("roles", &key.roles)
        .list("permissions", &key.permissions)
        .list("tags", &key.tags)
        .object("metadata", &key.metadata)
        .add("created", format!("{} by {}", canvas.moment(key.created_at), key.created_by))
        .add("expires", key.expires_at.map_or("never".to_owned(), |at| canvas.moment(at)));
    bounds(&mut fields, key, canvas);
    history(&mut fields, key, canvas);
    usage(&mut fields, key, canvas);
    fields.add("revision", key.revision.to_string());
    fields.draw(canvas)
}

fn bounds(fields: &mut Fields, key: &ApiKeyView, canvas: &Canvas) {
    fields
        .maybe("not before", key.not_before.map(|at| canvas.moment(at)))
        .maybe("derived from", key.parent.as_ref())
        .maybe("imported", key.imported.then_some("by its hash"));
    policy::restrictions(fields, &key.restrictions);
    policy::limits(fields, &key.limits);
    policy::spending(fields, key.quota.as_ref(), key.concurrency.as_ref());
}

fn history(fields: &mut Fields, key: &ApiKeyView, canvas: &Canvas) {
    if let Some(rotation) = &key.rotation {
        fields
            .maybe("replaces", rotation.predecessor.as_ref())
            .maybe("replaced by", rotation.successor.as_ref())
            .maybe("grace ends", rotation.grace_ends_at.map(|at| canvas.moment(at)));
    }
    if let Some(revocation) = &key.revocation {
        fields
            .add("revoked", canvas.moment(revocation.at))
            .maybe("because", revocation.reason.as_ref());
    }
    fields
        .maybe("disabled", key.disabled_at.map(|at| canvas.moment(at)))
        .maybe("deleted", key.deleted_at.map(|at| canvas.moment(at)));
}

fn usage(fields: &mut Fields, key: &ApiKeyView, canvas: &Canvas) {
    let Some(usage) = &key.usage else {
        fields.add("last used", "never");
        return;
    };
    fields
        .add("last used", usage.last_used_at.map_or("never".to_owned(), |at| canvas.moment(at)))
        .maybe("from", usage.last_ip.as_ref())
        .maybe("with", usage.last_user_agent.as_ref())
        .add("verifications", usage.verifications.to_string());
}

/// What a clean-up did.
pub(crate) fn cleaned_up(view: &CleanupExpiredView, _canvas: &Canvas) -> String {
    let verb = if view.dry_run { "would delete" } else { "deleted" };
    let noun = if view.count == 1 { "key" } else { "keys" };
    let mut lines = vec![format!("{verb} {} expired {noun}", view.count)];
    lines.extend(view.ids.iter().map(|id| super::printable::printable(id).into_owned()));
    lines.join("\n")
}

/// A key as the wire has it, for tests of everything that shows one.
#[cfg(test)]
pub(crate) fn example() -> ApiKeyView {
    let json = r#"{
        "id": "4Tn0Zs8QbW1c",
        "name": "billing",
        "keyspace": "default",
        "environment": "production",
        "tag": "live",
        "last_four": "9pQx",
        "state": "active",
        "owner": "acme",
        "roles": ["verifier"],
        "permissions": ["documents.read"],
        "metadata": {"team": "payments"},
        "tags": ["eu"],
        "created_at": "2026-11-20T09:00:00Z",
        "created_by": "local:1000",
        "expires_at": "2026-12-21T09:00:00Z",
        "usage": {
            "verifications": 12,
            "last_used_at": "2026-11-21T08:55:00Z",
            "last_ip": "192.0.2.7",
            "last_user_agent": "curl/8.5"
        },
        "revision": 2
    }"#;
    serde_json::from_str(json).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_a_table() {
        let page = Page { items: vec![example()], next_cursor: None };
        let text = table(&page, &Canvas::wide());
        let lines: Vec<&str> = text.lines().collect();
        let heading = concat!(
            "ID            NAME     STATE   KEYSPACE  ENVIRONMENT  OWNER  EXPIRES",
            "                            LAST USED",
        );
        let key = concat!(
            "4Tn0Zs8QbW1c  billing  active  default   production   acme   ",
            "2026-12-21 09:00 UTC (in 30 days)  5 minutes ago",
        );
        assert_eq!(lines, [heading, key]);
    }

    #[test]
    fn a_narrow_table_keeps_ids_whole() {
        let page = Page { items: vec![example()], next_cursor: None };
        let text = table(&page, &Canvas::for_tests());
        assert!(text.lines().count() > 2, "{text}");
        assert!(text.contains("4Tn0Zs8QbW1c") && text.contains("active"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_key_as_a_list() {
        let expected = "\
id             4Tn0Zs8QbW1c
name           billing
state          active
keyspace       default
environment    production (live)
ends in        9pQx
owner          acme
roles          verifier
permissions    documents.read
tags           eu
metadata       {\"team\":\"payments\"}
created        2026-11-20 09:00 UTC (24 hours ago) by local:1000
expires        2026-12-21 09:00 UTC (in 30 days)
last used      2026-11-21 08:55 UTC (5 minutes ago)
from           192.0.2.7
with           curl/8.5
verifications  12
revision       2";
        assert_eq!(fields(&example(), &Canvas::for_tests()), expected);
    }

    #[test]
    fn a_clean_up_says_what_it_did() {
        let mut view =
            CleanupExpiredView { count: 1, ids: vec!["4Tn0Zs8QbW1c".to_owned()], dry_run: true };
        let canvas = Canvas::for_tests();
        assert_eq!(cleaned_up(&view, &canvas), "would delete 1 expired key\n4Tn0Zs8QbW1c");
        view.dry_run = false;
        assert!(cleaned_up(&view, &canvas).starts_with("deleted 1 expired key\n"));
    }
}
