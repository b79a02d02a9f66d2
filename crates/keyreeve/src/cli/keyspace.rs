//! `keyreeve keyspace`.

use clap::{Args, Subcommand, ValueEnum};
use keyreeve_core::name::{KeyPrefix, KeyspaceName};

use super::{
    policy::{LimitArgs, LimitChanges, RestrictionArgs, RestrictionChanges},
    time::{Life, length},
};

/// Examples of `keyspace`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve keyspace create partners --prefix acme_partner
  keyreeve keyspace list";

const CREATE: &str = "\
Examples:
  keyreeve keyspace create partners --prefix acme_partner
  keyreeve keyspace create internal --prefix int --default-expires-in 30d --default-grace 2h
  keyreeve keyspace create web --prefix web --origin https://app.example.com --limit day=1000/1d";

const LIST: &str = "\
Examples:
  keyreeve keyspace list";

const SHOW: &str = "\
Examples:
  keyreeve keyspace show partners";

const UPDATE: &str = "\
Examples:
  keyreeve keyspace update partners --default-expires-in never
  keyreeve keyspace update partners --fail-policy open
  keyreeve keyspace update partners --limit burst=20/10s --no-windows";

const DELETE: &str = "\
Examples:
  keyreeve keyspace delete partners";

/// What to do with keyspaces.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyspaceCommand {
    /// Make a keyspace
    #[command(after_help = CREATE)]
    Create(Box<CreateArgs>),
    /// List keyspaces
    #[command(after_help = LIST)]
    List,
    /// Show a keyspace
    #[command(after_help = SHOW)]
    Show(NameArgs),
    /// Change a keyspace; what is not named stays as it is, and so does the prefix
    #[command(after_help = UPDATE)]
    Update(Box<UpdateArgs>),
    /// Remove a keyspace that has no keys
    #[command(after_help = DELETE)]
    Delete(NameArgs),
}

/// A keyspace.
#[derive(Clone, Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name
    pub(crate) name: KeyspaceName,
}

/// `keyreeve keyspace create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: KeyspaceName,
    /// What its keys begin with; never changes
    #[arg(long)]
    pub(crate) prefix: KeyPrefix,
    /// The life of a key that names none, such as 90d, or never (default: 90d)
    #[arg(long, value_name = "LENGTH")]
    pub(crate) default_expires_in: Option<Life>,
    /// How long a replaced key stays good, if the rotation does not say (default: 1d)
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) default_grace: Option<String>,
    /// What a server answers for keys it cannot vouch for (default: closed)
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) fail_policy: Option<FailPolicy>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) restrictions: RestrictionArgs,
}

/// `keyreeve keyspace update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its name
    pub(crate) name: KeyspaceName,
    #[command(flatten)]
    pub(crate) changes: KeyspaceChanges,
}

/// What to change on a keyspace.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct KeyspaceChanges {
    /// The life of a key that names none, such as 90d, or never
    #[arg(long, value_name = "LENGTH")]
    pub(crate) default_expires_in: Option<Life>,
    /// How long a replaced key stays good, if the rotation does not say
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) default_grace: Option<String>,
    /// What a server answers for keys it cannot vouch for
    #[arg(long, value_enum, value_name = "POLICY")]
    pub(crate) fail_policy: Option<FailPolicy>,
    #[command(flatten)]
    pub(crate) limits: LimitChanges,
    #[command(flatten)]
    pub(crate) restrictions: RestrictionChanges,
}

/// What a server answers for keys it cannot vouch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailPolicy {
    /// Refuse them
    Closed,
    /// Accept what was last known
    Open,
}

impl FailPolicy {
    /// The policy's name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}
