//! `keyreeve role`.

use clap::{Args, Subcommand};
use keyreeve_core::{name::RoleName, permission::Permission};

/// Examples of `role`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve role create editor --permission documents.read --permission documents.write
  keyreeve role list";

const CREATE: &str = "\
Examples:
  keyreeve role create editor --permission documents.read --permission documents.write
  keyreeve role create reader --permission '*.read' --description 'reads everything'";

const LIST: &str = "\
Examples:
  keyreeve role list";

const SHOW: &str = "\
Examples:
  keyreeve role show editor";

const UPDATE: &str = "\
Examples:
  keyreeve role update editor --permission 'documents.*'
  keyreeve role update editor --description 'edits documents'";

const DELETE: &str = "\
Examples:
  keyreeve role delete editor";

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Make a role
    #[command(after_help = CREATE)]
    Create(CreateArgs),
    /// List roles, the built-in ones first
    #[command(after_help = LIST)]
    List,
    /// Show a role
    #[command(after_help = SHOW)]
    Show(NameArgs),
    /// Change a role; keys that carry it follow at once
    #[command(after_help = UPDATE)]
    Update(UpdateArgs),
    /// Remove a role that no key carries
    #[command(after_help = DELETE)]
    Delete(NameArgs),
}

/// A role.
#[derive(Clone, Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name
    pub(crate) name: RoleName,
}

/// `keyreeve role create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: RoleName,
    /// What it grants, such as documents.read; can be repeated
    #[arg(long = "permission", value_name = "PERMISSION", required = true)]
    pub(crate) permissions: Vec<Permission>,
    /// One line for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}

/// `keyreeve role update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its name
    pub(crate) name: RoleName,
    #[command(flatten)]
    pub(crate) changes: RoleChanges,
}

/// What to change on a role.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
pub(crate) struct RoleChanges {
    /// What it grants, in place of what it does; can be repeated
    #[arg(long = "permission", value_name = "PERMISSION", conflicts_with = "no_permissions")]
    pub(crate) permissions: Vec<Permission>,
    /// Let it grant nothing
    #[arg(long)]
    pub(crate) no_permissions: bool,
    /// One line for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}
