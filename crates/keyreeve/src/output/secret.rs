//! Secrets, for people: masked where somebody may look over a shoulder.

use std::io::IsTerminal as _;

use keyreeve_api::{SecretFields, SecretMetadataView, SecretView, field_text};
use keyreeve_core::vault::SecretPath;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    Output,
    canvas::{Canvas, Tone},
    fields::Fields,
    printable::{printable, printable_lines},
    table::{Cell, Column, Table},
};

const VERSIONS: &[Column] = &[
    Column::Whole("VERSION"),
    Column::Free("WRITTEN"),
    Column::Whole("STATE"),
    Column::Free("DELETED"),
];

/// Whether values are shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    masked: bool,
}

impl Values {
    /// On a terminal values are masked unless they are asked for.
    pub(crate) fn for_output(reveal: bool) -> Self {
        Self { masked: !reveal && std::io::stdout().is_terminal() }
    }

    /// Fields as they are shown.
    pub(crate) fn of(self, fields: &SecretFields) -> SecretFields {
        let shown = fields.0.iter().map(|(name, value)| (name.clone(), self.one(value)));
        SecretFields(shown.collect())
    }

    /// A value as it is shown.
    pub(crate) fn one(self, value: &RawValue) -> Box<RawValue> {
        if !self.masked {
            return value.to_owned();
        }
        // Text can always be written as JSON.
        to_raw_value(&mask(&field_text(value))).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Says how to see what is masked.
    pub(crate) fn tell_masked(self, output: &Output) -> anyhow::Result<()> {
        if self.masked && !output.is_json() {
            output.note("values are masked: --reveal shows them")?;
        }
        Ok(())
    }
}

/// Dots, and the last four characters of what is long enough not to be told by them.
fn mask(text: &str) -> String {
    let length = text.chars().count();
    let shown = if length >= 20 { length - 4 } else { length };
    let last: String = text.chars().skip(shown).collect();
    format!("••••••••{last}")
}

/// One version.
pub(crate) fn page(path: &SecretPath, found: &SecretView, canvas: &Canvas) -> String {
    let mut head = Fields::default();
    head.add("path", path.as_str())
        .add("version", found.metadata.version.to_string())
        .add("written", written(&found.metadata.created_time, canvas));
    let fields = found.data.clone().unwrap_or_default();
    let width = fields.0.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    let lines: Vec<String> = fields
        .0
        .iter()
        .map(|(name, value)| {
            let name = printable(name);
            format!("{name:width$}  {}", printable_lines(&field_text(value)))
        })
        .collect();
    format!("{}\n\n{}", head.draw(canvas), lines.join("\n"))
}

/// The versions of a secret, the newest first.
pub(crate) fn versions(found: &SecretMetadataView, canvas: &Canvas) -> String {
    let mut known: Vec<(u64, _)> =
        found.versions.iter().filter_map(|(number, it)| Some((number.parse().ok()?, it))).collect();
    known.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
    let mut table = Table::new(VERSIONS);
    for (number, version) in known {
        let past =
            version.deletion_time.parse::<jiff::Timestamp>().is_ok_and(|at| at <= canvas.now());
        let (state, tone) = match (version.destroyed, past, number == found.current_version) {
            (true, ..) => ("destroyed", Tone::Bad),
            (_, true, _) => ("deleted", Tone::Faint),
            (.., true) => ("current", Tone::Good),
            _ => ("kept", Tone::Plain),
        };
        let deleted = Some(&version.deletion_time).filter(|at| !at.is_empty());
        table.row([
            Cell::new(number.to_string()),
            Cell::new(written(&version.created_time, canvas)),
            Cell::toned(state, tone),
            Cell::maybe(deleted.map(|at| written(at, canvas))),
        ]);
    }
    table.draw(canvas)
}

fn written(time: &str, canvas: &Canvas) -> String {
    time.parse().map_or_else(|_| time.to_owned(), |at| canvas.moment(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_do_not_tell_short_values() {
        assert_eq!(mask("short"), "••••••••");
        assert_eq!(mask("0123456789abcdefghi"), "••••••••");
        assert_eq!(mask("0123456789abcdefghij"), "••••••••ghij");
    }
}
