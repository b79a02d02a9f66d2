//! Options of `keyreeve key import`.

use std::path::PathBuf;

use clap::Args;

/// `keyreeve key import`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArgs {
    /// The keys: a .csv file with a heading, or a .json file with a list of objects
    pub(crate) file: PathBuf,
    /// Only say what would happen
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Bring in the good rows even if others are refused
    #[arg(long)]
    pub(crate) partial: bool,
    /// Keyspace they go into (default: default)
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
    /// Stage they are for (default: production)
    #[arg(long, short = 'e', visible_alias = "env", value_name = "NAME")]
    pub(crate) environment: Option<String>,
}
