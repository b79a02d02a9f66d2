//! `keyreeve doctor`: looks for what is wrong with this installation.

mod checks;
mod offline;
mod shared_counts;
mod shared_database;
mod vault;

use serde::Serialize;

use super::Outcome;
use crate::{
    config::{Config, Flags},
    context::Context,
    output::{
        canvas::{Canvas, Tone},
        table::{Cell, Column, Table},
    },
};

/// How one check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// As it should be.
    Ok,
    /// Works, but is worth a look.
    Warning,
    /// Broken.
    Failed,
    /// Could not be decided, and why.
    Skipped,
}

/// One check and what it found.
#[derive(Clone, Debug, Serialize)]
struct Check {
    check: &'static str,
    status: Status,
    detail: String,
}

impl Check {
    fn new(check: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self { check, status, detail: detail.into() }
    }
}

/// Runs every check; exit code 1 if one failed.
pub(super) async fn run(context: &Context) -> anyhow::Result<Outcome> {
    let mut found = Vec::new();
    match context.config(Flags::default()) {
        Ok(config) => {
            found.push(Check::new("configuration", Status::Ok, "every setting is valid"));
            look(&config, context, &mut found).await;
        }
        Err(error) => {
            found.push(Check::new("configuration", Status::Failed, error.to_string()));
        }
    }
    let failed = found.iter().any(|check| check.status == Status::Failed);
    context.output.show(&found, |found, canvas| table(found, canvas))?;
    Ok(if failed { Outcome::Negative } else { Outcome::Done })
}

async fn look(config: &Config, context: &Context, found: &mut Vec<Check>) {
    checks::transport(config, found);
    checks::pepper(config, &context.environment, found);
    checks::open_files(config, found);
    let folder = checks::folder(config, found);
    if let Some(folder) = folder {
        checks::private_files(&folder, found);
        match &config.store.url {
            None => checks::database(&folder, found),
            Some(url) => shared_database::look(config, url, context, &folder, found).await,
        }
    }
    shared_counts::look(config, context, found).await;
    offline::look(config, context, found);
    checks::server(context, found).await;
    vault::look(context, found).await;
}

const COLUMNS: &[Column] =
    &[Column::Whole("CHECK"), Column::Whole("STATUS"), Column::Free("DETAIL")];

fn table(found: &[Check], canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for check in found {
        let (word, tone) = match check.status {
            Status::Ok => ("ok", Tone::Good),
            Status::Warning => ("warning", Tone::Warning),
            Status::Failed => ("FAILED", Tone::Bad),
            Status::Skipped => ("skipped", Tone::Faint),
        };
        table.row([Cell::new(check.check), Cell::toned(word, tone), Cell::new(&check.detail)]);
    }
    table.draw(canvas)
}
