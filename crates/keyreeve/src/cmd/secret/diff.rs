//! `keyreeve secret diff`.

use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::hmac;
use keyreeve_api::Client;
use keyreeve_core::vault::SecretPathPrefix;
use keyreeve_engine::Entropy;
use serde::Serialize;

use super::{Outcome, collect};
use crate::{
    cli::secret::DiffArgs,
    context::Context,
    output::{
        canvas::{Canvas, Tone},
        printable::printable,
        table::{Cell, Column, Table},
    },
    system::SystemEntropy,
};

const COLUMNS: &[Column] = &[
    Column::Free("SECRET"),
    Column::Free("FIELD"),
    Column::Whole("STATE"),
    Column::Whole("ONE"),
    Column::Whole("OTHER"),
];

/// How a field differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Same,
    Different,
    OnlyInOne,
    OnlyInOther,
}

#[derive(Debug, Serialize)]
struct Row {
    secret: String,
    field: String,
    state: State,
    /// Fingerprints, which mean nothing beyond this one comparison.
    one: Option<String>,
    other: Option<String>,
}

/// Fingerprints of fields, by secret and field.
type Fingerprints = BTreeMap<(String, String), String>;

pub(super) async fn run(
    args: &DiffArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let entropy: &dyn Entropy = &SystemEntropy::new();
    // A key of this comparison's own: fingerprints cannot be guessed at later, nor compared.
    let key = hmac::Key::new(hmac::HMAC_SHA256, &entropy.bytes::<32>()?);
    let one = fingerprints(&args.one, &key, client).await?;
    let other = fingerprints(&args.other, &key, client).await?;
    let mut rows = compare(one, other);
    let same = rows.iter().all(|row| row.state == State::Same);
    if !args.all {
        rows.retain(|row| row.state != State::Same);
    }
    context.output.show(&rows, |rows, canvas| table(rows, canvas))?;
    if rows.is_empty() && !context.output.is_json() {
        context.output.note("they are the same")?;
    }
    Ok(if same { Outcome::Done } else { Outcome::Negative })
}

async fn fingerprints(
    folder: &SecretPathPrefix,
    key: &hmac::Key,
    client: &Client,
) -> anyhow::Result<Fingerprints> {
    let mut all = Fingerprints::new();
    for name in collect(client, folder.as_str(), true).await? {
        let path = format!("{}{name}", folder.as_str());
        let found = client.secret(&path, None).await?;
        let Some(fields) = found.and_then(|found| found.data) else { continue };
        for (field, value) in &fields.0 {
            let tag = hmac::sign(key, value.get().as_bytes());
            let text = tag.as_ref().iter().take(4).fold(String::new(), |mut text, byte| {
                // Writing into a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            });
            all.insert((name.clone(), field.clone()), text);
        }
    }
    Ok(all)
}

fn compare(one: Fingerprints, mut other: Fingerprints) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for ((secret, field), print) in one {
        let there = other.remove(&(secret.clone(), field.clone()));
        let state = match &there {
            None => State::OnlyInOne,
            Some(there) if *there == print => State::Same,
            Some(_) => State::Different,
        };
        rows.push(Row { secret, field, state, one: Some(print), other: there });
    }
    rows.extend(other.into_iter().map(|((secret, field), print)| Row {
        secret,
        field,
        state: State::OnlyInOther,
        one: None,
        other: Some(print),
    }));
    rows.sort_by(|a, b| (&a.secret, &a.field).cmp(&(&b.secret, &b.field)));
    rows
}

fn table(rows: &[Row], canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for row in rows {
        let (state, tone) = match row.state {
            State::Same => ("same", Tone::Faint),
            State::Different => ("different", Tone::Bad),
            State::OnlyInOne => ("only in one", Tone::Bad),
            State::OnlyInOther => ("only in other", Tone::Bad),
        };
        table.row([
            Cell::new(printable(&row.secret)),
            Cell::new(printable(&row.field)),
            Cell::toned(state, tone),
            Cell::maybe(row.one.as_deref()),
            Cell::maybe(row.other.as_deref()),
        ]);
    }
    table.draw(canvas)
}

#[cfg(test)]
mod tests {
    use super::{State::*, *};

    #[test]
    fn fields_are_compared_one_by_one() {
        let prints = |pairs: &[(&str, &str, &str)]| {
            let pairs = pairs.iter();
            pairs.map(|(s, f, p)| (((*s).to_owned(), (*f).to_owned()), (*p).to_owned())).collect()
        };
        let one = prints(&[("a", "x", "1"), ("a", "y", "2"), ("b", "x", "3")]);
        let other = prints(&[("a", "x", "1"), ("a", "y", "9"), ("c", "x", "3")]);
        let states: Vec<_> = compare(one, other).iter().map(|row| row.state).collect();
        assert_eq!(states, [Same, Different, OnlyInOne, OnlyInOther]);
    }
}
