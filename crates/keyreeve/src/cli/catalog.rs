//! `keyreeve catalog`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Examples of `catalog`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve catalog list
  keyreeve catalog show stripe
  keyreeve catalog validate own/acme.toml

A folder of your own, named by `catalog.folder` in the settings, adds providers or replaces
ours.";

const LIST: &str = "\
Examples:
  keyreeve catalog list
  keyreeve catalog list maps
  keyreeve catalog list --format json";

const SHOW: &str = "\
Examples:
  keyreeve catalog show stripe
  keyreeve catalog show stripe --format json";

const VALIDATE: &str = "\
Examples:
  keyreeve catalog validate
  keyreeve catalog validate own/acme.toml own/stripe.toml

Each file is checked by itself and together with all others: no variable and no form may belong to
two credentials. Exit code 1 if there is a mistake.";

/// What to do with the catalogue.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// List the providers
    #[command(after_help = LIST)]
    List(ListArgs),
    /// Show what is known of a provider
    #[command(after_help = SHOW)]
    Show(ShowArgs),
    /// Check files of your own
    #[command(after_help = VALIDATE)]
    Validate(ValidateArgs),
}

/// `keyreeve catalog list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those with this in their id, name, category or names of variables
    pub(crate) word: Option<String>,
}

/// `keyreeve catalog show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its id
    pub(crate) provider: String,
}

/// `keyreeve catalog validate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Files; without any, those of `catalog.folder`
    pub(crate) files: Vec<PathBuf>,
}
