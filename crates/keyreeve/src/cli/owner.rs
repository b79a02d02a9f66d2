//! `keyreeve owner`.

use clap::{Args, Subcommand};

use super::{
    page::PageArgs,
    policy::{LimitArgs, LimitChanges, SpendingArgs, SpendingChanges},
};

/// Examples of `owner`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve owner create acme --name 'Acme Ltd'
  keyreeve owner list";

const CREATE: &str = "\
Examples:
  keyreeve owner create acme --name 'Acme Ltd'
  keyreeve owner create acme --metadata '{\"plan\":\"gold\"}'
  keyreeve owner create acme --limit burst=100/10s --quota 50000/month";

const LIST: &str = "\
Examples:
  keyreeve owner list
  keyreeve owner list --all --format json";

const SHOW: &str = "\
Examples:
  keyreeve owner show acme";

const UPDATE: &str = "\
Examples:
  keyreeve owner update acme --name 'Acme Inc'
  keyreeve owner update acme --no-name --metadata '{}'
  keyreeve owner update acme --quota 100000/month --no-limits";

const DELETE: &str = "\
Examples:
  keyreeve owner delete acme";

/// What to do with owners.
#[derive(Debug, Subcommand)]
pub(crate) enum OwnerCommand {
    /// Make an owner; creating a key for an unknown owner does this too
    #[command(after_help = CREATE)]
    Create(CreateArgs),
    /// List owners
    #[command(after_help = LIST)]
    List(PageArgs),
    /// Show an owner
    #[command(after_help = SHOW)]
    Show(IdArgs),
    /// Change an owner; what is not named stays as it is
    #[command(after_help = UPDATE)]
    Update(UpdateArgs),
    /// Remove an owner that has no keys
    #[command(after_help = DELETE)]
    Delete(IdArgs),
}

/// An owner.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdArgs {
    /// Your own id for it
    pub(crate) id: String,
}

/// `keyreeve owner create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Your own id for it
    pub(crate) id: String,
    /// What people call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A JSON object that comes back with every verdict on its keys
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) spending: SpendingArgs,
}

/// `keyreeve owner update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Your own id for it
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) changes: OwnerChanges,
}

/// What to change on an owner.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct OwnerChanges {
    /// What people call it
    #[arg(long, conflicts_with = "no_name")]
    pub(crate) name: Option<String>,
    /// Take the name away
    #[arg(long)]
    pub(crate) no_name: bool,
    /// A JSON object, in place of the one it has
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitChanges,
    #[command(flatten)]
    pub(crate) spending: SpendingChanges,
}
