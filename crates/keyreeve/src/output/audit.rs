//! The audit, for people.

use keyreeve_api::{AuditEntryView, CheckpointView, Page};

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
];

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
        ]);
    }
    table.draw(canvas)
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
            "api_key 9pQxZs8QbW1c  denied   leaked",
        );
        assert_eq!(entry, expected);
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
