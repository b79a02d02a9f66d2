//! `keyreeve migrate`: from the file in the data folder to the database that nodes share.

use std::time::Duration;

use anyhow::bail;
use keyreeve_store::transfer::{self, Copied, Proof, Source, Target};
use serde_json::{Map, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Outcome,
    copying::{prepare, proof_in},
};
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
/// How often is copied what changed meanwhile before changes are kept out for as long as that takes.
const MOST_PASSES: u32 = 3;

/// Copies everything and checks the copy. If a server is running on the file, it goes on meanwhile,
/// and what it changes is copied, too; then changes are kept out until it has stopped.
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
    let proof = proof_in(&folder)?;
    let mut source = Source::sqlite_live(&folder.database())?;
    let mut target = Target::postgres(&database.url, database.authorities.as_ref())?;
    let served = source.is_served()?;
    let mut copied = prepare("copying", &mut source, &mut target, &proof, context)?;
    if served {
        catch_up(&mut copied, &mut source, &mut target, &proof, context)?;
    }
    transfer::finish(&mut source, &mut target)?;
    // From here on nodes may start on the copy.
    drop(target);
    show(&copied, context)?;
    if served && !args.no_wait {
        context.output.note(
            "The copy is complete and checked. The old server goes on verifying; changes to it are \
             refused.\nNow start the new servers, send requests to them, and stop the old one before \
             you revoke anything: it learns of nothing that is done on the new ones. This command \
             ends with it.",
        )?;
        wait_for_end(&mut source)?;
    }
    Ok(Outcome::Done)
}

/// Copies what changed meanwhile, until there is nothing more, and keeps changes out from then on. All
/// changes are in the log: one without new entries has not changed.
fn catch_up(
    copied: &mut Copied,
    source: &mut Source,
    target: &mut Target,
    proof: &Proof,
    context: &Context,
) -> anyhow::Result<()> {
    for pass in 1..=MOST_PASSES {
        source.keep_changes_out()?;
        if source.entries()? == copied.entries {
            return Ok(());
        }
        if pass < MOST_PASSES {
            source.let_go()?;
        }
        let before = copied.changed;
        *copied = prepare("catching up", source, target, proof, context)?;
        copied.changed += before;
    }
    Ok(())
}

/// Keeps changes out until the old server has stopped. A terminal that is closed changes nothing about
/// that.
fn wait_for_end(source: &mut Source) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut hang_ups = signal(SignalKind::hangup())?;
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        while source.is_served()? {
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                _ = hang_ups.recv() => {}
                _ = interrupts.recv() => return Err(given_up()),
                _ = terminations.recv() => return Err(given_up()),
            }
        }
        Ok(())
    })
}

fn given_up() -> anyhow::Error {
    Advised::new(
        "the old server takes changes again, and they will not be in the copy",
        "stop it at once; if no new server has been used yet, run this again",
    )
    .into()
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
