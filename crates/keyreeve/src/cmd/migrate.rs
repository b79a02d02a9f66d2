//! `keyreeve migrate`: from the file in the data folder to the database that nodes share.

use std::{thread, time::Duration};

use anyhow::bail;
use keyreeve_store::transfer::{Copied, Source, Target};
use serde_json::{Map, json};

use super::{Outcome, copying::copy};
use crate::{
    cli::local::MigrateArgs,
    config::Flags,
    context::Context,
    failure::Advised,
    installation::DataFolder,
    output::{
        canvas::Canvas,
        fields::Fields,
        table::{Cell, Column, Table},
    },
    wire,
};

/// How often it is asked whether the old server has stopped.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Copies everything and checks the copy. If a server is running on the file, first while it goes on,
/// then what changed meanwhile with changes kept out, and keeps them out until it has stopped.
pub(super) fn run(args: &MigrateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let config = context.config(Flags::default())?;
    let Some(database) = wire::shared_database(&config, &context.environment)? else {
        bail!(Advised::new(
            "store.url does not say which database to migrate to",
            "set KEYREEVE_STORE__URL to postgres://user:password@host:port/database",
        ));
    };
    let folder = DataFolder::at(&config.store.data_dir);
    if !folder.database().exists() {
        bail!(Advised::new(
            format!("there is no database in {}", folder.path().display()),
            "name the data folder with --data-dir",
        ));
    }
    let mut source = Source::sqlite_live(&folder.database())?;
    let mut target = Target::postgres(&database.url, database.authorities.as_ref())?;
    let served = source.is_served()?;
    let mut copied = copy("copying", &mut source, &mut target, &folder, context)?;
    if served {
        source.keep_changes_out()?;
        let first = copied.changed;
        copied = copy("catching up", &mut source, &mut target, &folder, context)?;
        copied.changed += first;
    }
    // From here on nodes may start on the copy.
    drop(target);
    show(&copied, context)?;
    if served && !args.no_wait {
        context.output.note(
            "The copy is complete and checked. Changes to the old one are kept out; it goes on \
             verifying.\nStart the new servers, send requests to them, then stop the old one; this \
             command ends with it.",
        )?;
        while source.is_served()? {
            thread::sleep(BETWEEN_LOOKS);
        }
    }
    Ok(Outcome::Done)
}

fn show(copied: &Copied, context: &Context) -> anyhow::Result<()> {
    let counted = copied.tables.iter();
    let tables: Map<_, _> = counted.map(|(name, rows)| ((*name).to_owned(), json!(rows))).collect();
    let machine = json!({
        "tables": tables,
        "changed": copied.changed,
        "entries": copied.entries,
        "root": copied.root,
    });
    context.output.show(&machine, |_, canvas| text(copied, canvas))
}

const COLUMNS: &[Column] = &[Column::Whole("TABLE"), Column::Whole("ROWS")];

fn text(copied: &Copied, canvas: &Canvas) -> String {
    let mut table = Table::new(COLUMNS);
    for (name, rows) in &copied.tables {
        table.row([Cell::new(*name), Cell::new(rows.to_string())]);
    }
    let mut fields = Fields::default();
    fields
        .add("written or removed", copied.changed.to_string())
        .add("audit entries checked", copied.entries.to_string())
        .add("root", &copied.root);
    format!("{}\n\n{}", table.draw(canvas), fields.draw(canvas))
}
