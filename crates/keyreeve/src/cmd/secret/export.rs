//! `keyreeve secret export`.

use std::{
    fs::OpenOptions,
    io::{IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::Context as _;
use keyreeve_api::Client;
use keyreeve_core::Secret;

use super::{Outcome, variables::Chosen};
use crate::{
    cli::secret::ExportArgs,
    context::Context,
    failure::Advised,
    secret_files::export::{ExportFormat, render},
};

pub(super) async fn run(
    args: &ExportArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    if args.output.is_none() && !args.reveal && std::io::stdout().is_terminal() {
        let hint = "--output FILE writes a file that only you can read; --reveal shows them here";
        return Err(Advised::new("the secrets would be shown on this terminal", hint).into());
    }
    let chosen = Chosen { environment: args.environment.clone(), paths: args.paths.clone() };
    let variables = chosen.fallback(context).ask(chosen.read(client)).await?;
    let count = variables.len();
    let values = variables.into_iter().map(|(name, variable)| (name, variable.value)).collect();
    let page = render(args.form, &args.name, &values)?;
    match &args.output {
        Some(path) => {
            let cannot = || format!("cannot write {}", path.display());
            let mut options = OpenOptions::new();
            options.write(true).mode(0o600);
            // What GitHub Actions reads is a file that others write to, too.
            if args.form == ExportFormat::GithubActions {
                options.append(true).create(true);
            } else {
                options.create_new(true);
            }
            let mut file = options.open(path).with_context(cannot)?;
            // EXPOSE: written to a file of the asker's.
            file.write_all(page.expose().as_bytes()).with_context(cannot)?;
            context.output.note(&format!("{count} variables are in {}", path.display()))?;
        }
        None => {
            // EXPOSE: shown to whoever asked for it.
            context.output.bytes(page.expose().as_bytes())?;
        }
    }
    if args.form == ExportFormat::GithubActions && args.output.is_some() {
        mask(values.values(), context)?;
    }
    Ok(Outcome::Done)
}

/// Tells the runner of GitHub Actions to hide the values in its logs.
fn mask<'v>(
    values: impl Iterator<Item = &'v Secret<String>>,
    context: &Context,
) -> anyhow::Result<()> {
    for value in values {
        // EXPOSE: the runner hides what it is told here.
        for line in value.expose().lines().filter(|line| !line.is_empty()) {
            let line = line.replace('%', "%25").replace('\r', "%0D");
            context.output.bytes(format!("::add-mask::{line}\n").as_bytes())?;
        }
    }
    Ok(())
}
