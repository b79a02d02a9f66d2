//! `keyreeve project`.

use clap::{Args, Subcommand};
use keyreeve_core::name::ProjectName;

/// Examples of `project`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve project create shop
  keyreeve project list";

const CREATE: &str = "\
Examples:
  keyreeve project create shop
  keyreeve project create shop > shop-admin.key

The project's first admin key is the only thing on standard output.";

const LIST: &str = "\
Examples:
  keyreeve project list";

/// What to do with projects.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Make a project; prints its first admin key, this once
    #[command(after_help = CREATE)]
    Create(CreateArgs),
    /// List projects
    #[command(after_help = LIST)]
    List,
}

/// `keyreeve project create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: ProjectName,
}
