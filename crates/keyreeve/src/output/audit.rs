//! The audit, for people.

use keyreeve_api::{AuditEntryView, CheckpointView, MetadataView, Page};

use super::{
    canvas::{Canvas, Tone},
    printable::printable_lines,
    table::{Cell, Column, Table},
};

const COLUMNS: &[Column] = &[
    Column::Whole("SEQ"),
    Column::Whole("AT"),
    Column::Free("ACTOR"),
    Column::Free("ACTION"),
    Column::Free("TARGET"),
    Column::Whole("OUTCOME"),
    Column::Free("REASON"),
    Column::Free("DETAILS"),
];

/// The most characters of an entry's details. Programs read all of them as JSON.
const MOST_DETAILS: usize = 60;

/// Many entries.
pub(crate) fn table(page: &Page<AuditEntryView>, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for entry in &page.items {
        let tone = if entry.outcome == "denied" { Tone::Bad } else { Tone::Plain };
        table.row([
            Cell::new(entry.seq.to_string()),
            // To the second: the order of events is what an audit is read for.
            Cell::new(entry.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
            Cell::new(&entry.actor),
            Cell::new(&entry.action),
            Cell::new(format!("{} {}", entry.target.kind, entry.target.id)),
            Cell::toned(&entry.outcome, tone),
            Cell::maybe(entry.reason.as_ref()),
            Cell::maybe(details(&entry.details)),
        ]);
    }
    table.draw(canvas)
}

fn details(details: &MetadataView) -> Option<String> {
    if details.is_empty() {
        return None;
    }
    let text = serde_json::to_string(details).ok()?;
    if text.chars().count() <= MOST_DETAILS {
        return Some(text);
    }
    Some(text.chars().take(MOST_DETAILS - 1).chain(['…']).collect())
}

/// The signed note as it is, so that it can be stored and checked elsewhere.
pub(crate) fn note(view: &CheckpointView, _canvas: &Canvas) -> String {
    // The note ends with a line end of its own, and printing adds one.
    let note = view.checkpoint.strip_suffix('\n').unwrap_or(&view.checkpoint);
    printable_lines(note).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_a_table() {
        let json = r#"{"items": [{
            "seq": 7, "at": "2026-11-21T08:59:58.5Z", "actor": "key:4Tn0Zs8QbW1c",
            "action": "key.revoke", "target": {"kind": "api_key", "id": "9pQxZs8QbW1c"},
            "outcome": "denied", "reason": "leaked"
        }]}"#;
        let page = serde_json::from_str(json).unwrap();
        let text = table(&page, &Canvas::wide());
        let entry = text.lines().nth(1).unwrap();
        let expected = concat!(
            "7    2026-11-21 08:59:58 UTC  key:4Tn0Zs8QbW1c  key.revoke  ",
            "api_key 9pQxZs8QbW1c  denied   leaked  -",
        );
        assert_eq!(entry, expected);
    }

    #[test]
    fn details_are_short_and_do_nothing_to_the_terminal() {
        let view = |json: &str| -> MetadataView { serde_json::from_str(json).unwrap() };
        let short = view(r#"{"name": "edge"}"#);
        assert_eq!(details(&short).as_deref(), Some(r#"{"name":"edge"}"#));
        assert_eq!(details(&view("{}")), None);
        let long = details(&view(&format!(r#"{{"name": "{}"}}"#, "ü".repeat(200)))).unwrap();
        assert_eq!(long.chars().count(), MOST_DETAILS);
        assert!(long.starts_with(r#"{"name":"ü"#) && long.ends_with("ü…"), "{long}");

        let json = r#"{"items": [{
            "seq": 7, "at": "2026-11-21T08:59:58.5Z", "actor": "local:0", "action": "key.update",
            "target": {"kind": "api_key", "id": "9pQxZs8QbW1c"}, "outcome": "done",
            "details": {"name": "a\u202eb\u001b[31m"}
        }]}"#;
        let text = table(&serde_json::from_str(json).unwrap(), &Canvas::wide());
        let entry = text.lines().nth(1).unwrap();
        assert!(entry.ends_with(r#"-       {"name":"a�b\u001b[31m"}"#), "{entry}");
    }

    #[test]
    fn a_note_is_printed_as_it_was_signed() {
        let view = CheckpointView {
            size: 1,
            root: "AAAA".to_owned(),
            checkpoint: "log\n1\nAAAA\n\n\u{2014} log BBBB\n".to_owned(),
            public_key: "log+00000000+AAAA".to_owned(),
        };
        assert_eq!(note(&view, &Canvas::for_tests()), "log\n1\nAAAA\n\n\u{2014} log BBBB");
    }
}
