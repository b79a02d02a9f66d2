//! What can be typed: every command, option and example.
//!
//! Only shapes are checked here. Whether a name or a permission is good is for the server to
//! say, except where a mistake is better explained on the spot. Nothing here takes a key or a
//! token: arguments are visible to every user of the machine and stay in the shell's history.

pub(crate) mod audit;
pub(crate) mod backend;
pub(crate) mod backup;
pub(crate) mod catalog;
pub(crate) mod connection;
pub(crate) mod environment;
pub(crate) mod key;
pub(crate) mod keyspace;
pub(crate) mod local;
pub(crate) mod owner;
pub(crate) mod page;
pub(crate) mod policy;
pub(crate) mod project;
pub(crate) mod role;
pub(crate) mod run;
pub(crate) mod secret;
pub(crate) mod time;
pub(crate) mod vault;
pub(crate) mod webhook;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::{
    audit::AuditCommand,
    backend::BackendCommand,
    backup::{BackupArgs, RestoreArgs},
    catalog::CatalogCommand,
    connection::ConnectionCommand,
    environment::EnvironmentCommand,
    key::KeyCommand,
    keyspace::KeyspaceCommand,
    local::{CompletionsArgs, ManualArgs, MigrateArgs, ServeArgs},
    owner::OwnerCommand,
    project::ProjectCommand,
    role::RoleCommand,
    secret::SecretCommand,
    vault::VaultCommand,
    webhook::WebhookCommand,
};

const ABOUT: &str = "\
Examples:
  keyreeve serve
  keyreeve key create --name billing --env production --role verifier
  keyreeve --url https://keys.example.com key list
  keyreeve doctor

The key to act with is read from KEYREEVE_TOKEN. On the server's own machine none is
needed: the socket in the data folder knows its owner.

Exit codes: 0 done, 1 findings or a negative verdict, 2 wrong usage or could not run.";

const INIT: &str = "\
Examples:
  keyreeve init
  keyreeve init --data-dir /var/lib/keyreeve";

const DOCTOR: &str = "\
Examples:
  keyreeve doctor
  keyreeve doctor --config /etc/keyreeve.toml --format json";

/// Looks after every API key and credential a team has
#[derive(Debug, Parser)]
#[command(name = "keyreeve", version, max_term_width = 100, after_help = ABOUT)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Print for people or for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Address of the server; without it, the socket in the data folder is used
    #[arg(long, global = true, env = "KEYREEVE_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// Folder of the server's data, by default `keyreeve-data`
    #[arg(long, global = true, value_name = "DIR", env = "KEYREEVE_DATA_DIR")]
    #[arg(hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Project to act on; over HTTP the key decides
    #[arg(long, global = true, value_name = "NAME", env = "KEYREEVE_PROJECT")]
    #[arg(hide_env_values = true)]
    pub(crate) project: Option<String>,
    /// File with settings, by default `keyreeve.toml` if it is there
    #[arg(long, global = true, value_name = "FILE", env = "KEYREEVE_CONFIG")]
    #[arg(hide_env_values = true)]
    pub(crate) config: Option<PathBuf>,
    /// When to use colours
    #[arg(long = "color", visible_alias = "colour", global = true, value_name = "WHEN")]
    #[arg(value_enum, default_value_t = ColourChoice::Auto)]
    pub(crate) colour: ColourChoice,
}

/// For whom output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables and lists for people
    Text,
    /// JSON for programs
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColourChoice {
    /// On a terminal, unless the variable `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the data folder with its first admin key
    #[command(after_help = INIT)]
    Init,
    /// Run the server; makes the data folder if there is none
    #[command(after_help = local::SERVE)]
    Serve(ServeArgs),
    /// Create, look at, change, rotate, revoke and verify API keys
    #[command(subcommand, after_help = key::ABOUT)]
    Key(KeyCommand),
    /// Sets of keys with one prefix and shared defaults
    #[command(subcommand, after_help = keyspace::ABOUT)]
    Keyspace(KeyspaceCommand),
    /// Named sets of permissions
    #[command(subcommand, after_help = role::ABOUT)]
    Role(RoleCommand),
    /// Customers, users or services that keys belong to
    #[command(subcommand, after_help = owner::ABOUT)]
    Owner(OwnerCommand),
    /// Stages such as staging and production
    #[command(subcommand, after_help = environment::ABOUT)]
    Environment(EnvironmentCommand),
    /// Tenants: each has its own keys, roles and owners
    #[command(subcommand, after_help = project::ABOUT)]
    Project(ProjectCommand),
    /// Keep, read and look after secrets in the vault
    #[command(subcommand, after_help = secret::ABOUT)]
    Secret(SecretCommand),
    /// Start a program with secrets in its environment
    #[command(after_help = run::ABOUT)]
    Run(run::RunArgs),
    /// Open and seal the vault, and change its keys
    #[command(subcommand, after_help = vault::ABOUT)]
    Vault(VaultCommand),
    /// Other stores that keep secrets, or are given them
    #[command(subcommand, after_help = backend::ABOUT)]
    Backend(BackendCommand),
    /// Outside services that are called through Keyreeve, with secrets that callers never see
    #[command(subcommand, after_help = connection::ABOUT)]
    Connection(ConnectionCommand),
    /// Requests that others send when something happened: who signed them, and how
    #[command(subcommand, after_help = webhook::ABOUT)]
    Webhook(WebhookCommand),
    /// What is known of providers: their credentials, how they are checked, sent and changed
    #[command(subcommand, after_help = catalog::ABOUT)]
    Catalog(CatalogCommand),
    /// Read, export and check the record of who did what
    #[command(subcommand, after_help = audit::ABOUT)]
    Audit(AuditCommand),
    /// Copy all data into a folder, beside a running server, and check the copy
    #[command(after_help = backup::BACKUP)]
    Backup(BackupArgs),
    /// Make an installation from a backup: a data folder, or a database that nodes share
    #[command(after_help = backup::RESTORE)]
    Restore(RestoreArgs),
    /// Copy all data from the file in the data folder to the PostgreSQL database of store.url
    #[command(after_help = local::MIGRATE)]
    Migrate(MigrateArgs),
    /// Look for what is wrong with this installation
    #[command(after_help = DOCTOR)]
    Doctor,
    /// Print completions for a shell
    #[command(after_help = local::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Print the manual page, or the settings, or write all pages into a folder
    #[command(after_help = local::MANUAL)]
    Manual(ManualArgs),
}

#[cfg(test)]
mod tests;
