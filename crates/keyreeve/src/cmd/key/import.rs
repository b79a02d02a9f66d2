//! `keyreeve key import`.

mod file;

use anyhow::ensure;
use keyreeve_api::{Client, ImportRequest, ImportRowRequest, ImportView, ImportedRowView};

use self::file::{Fault, Row};
use crate::{
    cli::key::ImportArgs,
    cmd::Outcome,
    context::Context,
    output::{Output, import::outcome, progress::bar},
};

/// Rows a server takes in one request.
const MOST_ROWS: usize = 50_000;
/// Rows in a request of which a person waits to see the end.
const ROWS_AT_A_LOOK: usize = 2_000;

pub(super) async fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<Outcome> {
    let rows = file::read(&args.file)?;
    ensure!(
        args.partial || rows.len() <= MOST_ROWS,
        "{} rows are more than the {MOST_ROWS} that can be brought in all or none: split the file, \
         or give --partial",
        rows.len()
    );
    let import = Import { client: &context.client()?, args, output: &context.output };
    let view = import.bring(rows).await;
    context.output.progress("");
    let view = view?;
    context.output.show(&view, outcome)?;
    Ok(if view.refused == 0 { Outcome::Done } else { Outcome::Negative })
}

struct Import<'a> {
    client: &'a Client,
    args: &'a ImportArgs,
    output: &'a Output,
}

impl Import<'_> {
    async fn bring(&self, rows: Vec<Row>) -> anyhow::Result<ImportView> {
        let mut good = Vec::with_capacity(rows.len());
        let mut faults: Vec<Option<Fault>> = Vec::with_capacity(rows.len());
        for row in rows {
            match row {
                Ok(row) => {
                    good.push(row);
                    faults.push(None);
                }
                Err(fault) => faults.push(Some(fault)),
            }
        }
        let readable = good.len() == faults.len();
        let view = if good.is_empty() {
            ImportView::default()
        } else {
            self.bring_good(&good, readable).await?
        };
        let view = ImportView { dry_run: self.args.dry_run, ..view };
        Ok(if readable { view } else { with_faults(view, faults) })
    }

    /// Brings in what could be read; `readable` says whether that is all.
    async fn bring_good(
        &self,
        rows: &[ImportRowRequest],
        readable: bool,
    ) -> anyhow::Result<ImportView> {
        if self.args.partial {
            return self.pass("bringing in", rows, MOST_ROWS, self.args.dry_run).await;
        }
        // A look at a part at a time shows how far it is, and stores nothing. What only all rows
        // together can break, such as a hash that stands twice, the last request finds.
        if rows.len() > ROWS_AT_A_LOOK || !readable {
            let view = self.pass("checking", rows, ROWS_AT_A_LOOK, true).await?;
            if view.refused > 0 || !readable {
                return Ok(view);
            }
        }
        self.pass("bringing in", rows, MOST_ROWS, self.args.dry_run).await
    }

    /// Sends all rows, so many in a request, and counts them through.
    async fn pass(
        &self,
        what: &str,
        rows: &[ImportRowRequest],
        at_once: usize,
        dry_run: bool,
    ) -> anyhow::Result<ImportView> {
        let mut all = ImportView { dry_run, ..ImportView::default() };
        for part in rows.chunks(at_once) {
            let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
            self.output.progress(&bar(what, count(all.rows.len()), count(rows.len())));
            let view = self.client.import_api_keys(&self.request(part, dry_run)).await;
            match view {
                Ok(view) => append(&mut all, view),
                Err(error) if all.stored => {
                    let done = all.rows.len();
                    return Err(anyhow::Error::from(error).context(format!(
                        "rows 1 to {done} are done; the same command finds what is not here yet"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    fn request(&self, rows: &[ImportRowRequest], dry_run: bool) -> ImportRequest {
        ImportRequest {
            keyspace: self.args.keyspace.clone(),
            environment: self.args.environment.clone(),
            keys: rows.to_vec(),
            partial: self.args.partial,
            dry_run,
        }
    }
}

/// Puts the rows that could not be read among those the server judged.
fn with_faults(view: ImportView, faults: Vec<Option<Fault>>) -> ImportView {
    let mut judged = view.rows.into_iter();
    let mut all = ImportView { rows: Vec::with_capacity(faults.len()), ..view };
    for (number, fault) in (1..).zip(faults) {
        all.rows.push(match fault {
            None => ImportedRowView { row: number, ..judged.next().unwrap_or_default() },
            Some(Fault { field, rule }) => {
                all.refused += 1;
                let (field, rule) = (Some(field.to_owned()), Some(rule));
                ImportedRowView { row: number, id: None, field, rule }
            }
        });
    }
    all
}

/// Adds what became of the next rows.
fn append(all: &mut ImportView, part: ImportView) {
    let before = u64::try_from(all.rows.len()).unwrap_or(u64::MAX);
    all.imported += part.imported;
    all.refused += part.refused;
    all.stored |= part.stored;
    let rows = part.rows.into_iter();
    all.rows.extend(rows.map(|row| ImportedRowView { row: row.row.saturating_add(before), ..row }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_through() {
        let row = |row| ImportedRowView { row, ..ImportedRowView::default() };
        let part = |stored| ImportView {
            imported: 2,
            stored,
            rows: vec![row(1), row(2)],
            ..ImportView::default()
        };
        let mut all = ImportView::default();
        append(&mut all, part(true));
        append(&mut all, ImportView { refused: 1, imported: 1, ..part(false) });
        assert_eq!((all.imported, all.refused, all.stored), (3, 1, true));
        let rows: Vec<u64> = all.rows.iter().map(|row| row.row).collect();
        assert_eq!(rows, [1, 2, 3, 4]);
    }
}
