//! What each command does, one file a command.

mod audit;
mod backend;
mod backup;
mod catalog;
mod change;
mod completions;
mod connection;
mod copying;
mod deletion;
mod doctor;
mod environment;
mod init;
mod key;
mod keyspace;
mod listing;
mod manual;
mod metadata;
mod migrate;
mod new_key;
mod owner;
mod project;
mod role;
mod run;
mod secret;
mod serve;
mod vault;
mod webhook;

use anyhow::Context as _;

use crate::{cli::Command, context::Context};

/// How a command that could run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, or nothing bad found.
    Done,
    /// Findings, or a negative verdict.
    Negative,
    /// What a program that was started said.
    Exited(u8),
}

/// Runs a command.
pub(crate) fn run(command: &Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        // These two make runtimes of their own.
        Command::Init => init::run(context),
        Command::Serve(args) => serve::run(args, context),
        Command::Key(command) => block_on(key::run(command, context)),
        Command::Keyspace(command) => block_on(keyspace::run(command, context)),
        Command::Role(command) => block_on(role::run(command, context)),
        Command::Owner(command) => block_on(owner::run(command, context)),
        Command::Environment(command) => block_on(environment::run(command, context)),
        Command::Project(command) => block_on(project::run(command, context)),
        Command::Secret(command) => block_on(secret::run(command, context)),
        Command::Run(args) => block_on(run::run(args, context)),
        Command::Vault(command) => block_on(vault::run(command, context)),
        Command::Backend(command) => block_on(backend::run(command, context)),
        Command::Connection(command) => block_on(connection::run(command, context)),
        Command::Webhook(command) => block_on(webhook::run(command, context)),
        Command::Catalog(command) => catalog::run(command, context),
        Command::Audit(command) => block_on(audit::run(command, context)),
        Command::Backup(args) => backup::backup(args, context),
        Command::Restore(args) => backup::restore(args, context),
        Command::Migrate(args) => migrate::run(args, context),
        Command::Doctor => block_on(doctor::run(context)),
        Command::Completions(args) => completions::run(args, context),
        Command::Manual(args) => manual::run(args, context),
    }
}

/// Runs a command that talks to a server. One thread does.
fn block_on(command: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(command)
}
