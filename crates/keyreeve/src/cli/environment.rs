//! `keyreeve environment`.

use clap::{Args, Subcommand, ValueEnum};
use keyreeve_core::name::EnvironmentName;

/// Examples of `environment`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve environment create canary --tag live
  keyreeve environment list";

const CREATE: &str = "\
Examples:
  keyreeve environment create canary --tag live
  keyreeve environment create preview --tag test";

const LIST: &str = "\
Examples:
  keyreeve environment list";

const DELETE: &str = "\
Examples:
  keyreeve environment delete preview";

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvironmentCommand {
    /// Make an environment
    #[command(after_help = CREATE)]
    Create(CreateArgs),
    /// List environments
    #[command(after_help = LIST)]
    List,
    /// Remove an environment that has no keys
    #[command(after_help = DELETE)]
    Delete(NameArgs),
}

/// An environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name
    pub(crate) name: EnvironmentName,
}

/// `keyreeve environment create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: EnvironmentName,
    /// What is written into its keys
    #[arg(long, value_enum)]
    pub(crate) tag: Tag,
}

/// Whether keys act on real data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tag {
    /// On real data
    Live,
    /// On test data
    Test,
}

impl Tag {
    /// The tag's name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}
