//! `keyreeve backend`.

use anyhow::Context as _;
use keyreeve_api::{BackendView, Client, SyncedView};

use super::Outcome;
use crate::{
    cli::backend::{BackendCommand, SyncArgs},
    context::Context,
    output::{
        canvas::{Canvas, Tone},
        printable::printable,
        table::{Cell, Column, Table},
    },
};

const COLUMNS: &[Column] = &[
    Column::Free("BACKEND"),
    Column::Free("PROJECT"),
    Column::Whole("KIND"),
    Column::Whole("MODE"),
    Column::Free("FOLDER"),
    Column::Free("THERE"),
    Column::Whole("SECRETS"),
    Column::Whole("SEEN"),
    Column::Free("STATE"),
];

pub(super) async fn run(command: &BackendCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    match command {
        BackendCommand::List => list(&client, context).await,
        BackendCommand::Sync(args) => sync(args, &client, context).await,
    }
}

async fn list(client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let backends = client.backends().await?;
    context.output.show(&backends, |backends, canvas| page(backends, canvas))?;
    let is_bad = |it: &BackendView| it.failure.is_some() || !it.faults.is_empty();
    Ok(if backends.iter().any(is_bad) { Outcome::Negative } else { Outcome::Done })
}

async fn sync(args: &SyncArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let mut synced = SyncedView::default();
    loop {
        let after = synced.next.take();
        let turn = client.sync_backend(&args.name, args.overwrite, after.as_deref()).await?;
        let turn =
            turn.with_context(|| format!("there is no backend {}", printable(&args.name)))?;
        synced.written += turn.written;
        synced.deleted += turn.deleted;
        synced.failed += turn.failed;
        synced.put_off |= turn.put_off;
        // Each turn begins behind where the one before ended.
        synced.next = turn.next.filter(|next| Some(next) > after.as_ref());
        let Some(next) = &synced.next else { break };
        context.output.progress(&format!("looked through up to {}", printable(next)));
    }
    context.output.progress("");
    context.output.show(&synced, |synced, _| {
        let mut text = format!("{} written, {} deleted", synced.written, synced.deleted);
        if synced.failed > 0 {
            text.push_str(&format!(
                ", {} not taken: `keyreeve backend list` says why",
                synced.failed
            ));
        }
        if synced.put_off {
            text.push_str("; some follow at the next turn");
        }
        text
    })?;
    Ok(if synced.failed > 0 { Outcome::Negative } else { Outcome::Done })
}

fn page(backends: &[BackendView], canvas: &Canvas) -> String {
    if backends.is_empty() {
        return "no backends: secrets are kept here, and nowhere else".to_owned();
    }
    let mut table = Table::new(COLUMNS);
    let moment = |text: &Option<String>| {
        let at = text.as_ref().and_then(|at| at.parse().ok());
        at.map(|at| canvas.moment(at))
    };
    for backend in backends {
        let state = match &backend.failure {
            Some(failure) => Cell::toned(printable(failure), Tone::Bad),
            None if backend.fault_count > 0 => {
                Cell::toned(format!("{} not taken", backend.fault_count), Tone::Warning)
            }
            None if backend.reached_at.is_none() => Cell::toned("not asked yet", Tone::Faint),
            None => Cell::toned("ok", Tone::Good),
        };
        table.row([
            Cell::new(printable(&backend.name)),
            Cell::new(printable(&backend.project)),
            Cell::new(&backend.kind),
            Cell::new(&backend.mode),
            Cell::new(printable(&backend.folder)),
            Cell::new(printable(&backend.remote_folder)),
            Cell::new(backend.secrets.to_string()),
            Cell::maybe(moment(&backend.oldest).as_deref()),
            state,
        ]);
    }
    let mut lines = vec![table.draw(canvas)];
    for backend in backends {
        for fault in &backend.faults {
            let (name, path) = (printable(&backend.name), printable(&fault.path));
            lines.push(format!("{name} did not take {path}: it {}", printable(&fault.why)));
        }
        let more = backend.fault_count.saturating_sub(backend.faults.len() as u64);
        if more > 0 {
            lines.push(format!("{} did not take {more} more", printable(&backend.name)));
        }
    }
    lines.join("\n")
}
