//! `keyreeve backend`.

use clap::{Args, Subcommand};

/// Examples of `backend`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve backend list
  keyreeve backend sync team-vault

A backend is another store, such as a Vault, an OpenBao or AWS Secrets Manager, that keeps a folder of
secrets, or is given every version that becomes current. Backends stand in the settings:
`keyreeve manual --settings` shows how.";

const LIST: &str = "\
Examples:
  keyreeve backend list
  keyreeve backend list --format json

Exits with 1 if one cannot be reached or did not take a secret.";

const SYNC: &str = "\
Examples:
  keyreeve backend sync team-vault
  keyreeve backend sync team-vault --overwrite

Secrets are given by themselves as they change; this gives at once what is missing, and what was not
taken before. With --overwrite what somebody else wrote there is written over; the store keeps it as an
older version.";

/// What to do with other stores.
#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// Say which there are, and how they do
    #[command(after_help = LIST)]
    List,
    /// Give one what it lacks
    #[command(after_help = SYNC)]
    Sync(SyncArgs),
}

/// `keyreeve backend sync`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SyncArgs {
    /// What the settings call it
    pub(crate) name: String,
    /// Write over what somebody else wrote there
    #[arg(long)]
    pub(crate) overwrite: bool,
}
