//! `keyreeve secret`.

use clap::{Args, Subcommand};
use keyreeve_core::vault::{SecretPath, SecretPathPrefix};

/// Examples of `secret`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve secret put production/stripe secret_key=- < key.txt
  keyreeve secret get production/stripe --field secret_key --reveal
  keyreeve secret list production
  keyreeve secret versions production/stripe

By custom the first part of a path is the environment. Clients of Vault and OpenBao reach the same
secrets under secret/.";

const PUT: &str = "\
Examples:
  keyreeve secret put production/stripe secret_key=- < key.txt
  keyreeve secret put production/db user=@user.txt password=@password.txt
  keyreeve secret put production/stripe secret_key=- --merge --cas 3
  keyreeve secret put demo/app greeting=hello --allow-argument

FIELD=- is read from standard input, FIELD=@FILE from a file; one line end is cut off. On a terminal
FIELD=- asks without showing what is typed.";

const GET: &str = "\
Examples:
  keyreeve secret get production/stripe
  keyreeve secret get production/stripe --field secret_key --reveal
  keyreeve secret get production/stripe --version 2 --format json

On a terminal values are masked unless --reveal is given. Every read is in the audit.";

const LIST: &str = "\
Examples:
  keyreeve secret list
  keyreeve secret list production
  keyreeve secret list --recursive";

const SEARCH: &str = "\
Examples:
  keyreeve secret search stripe";

const VERSIONS: &str = "\
Examples:
  keyreeve secret versions production/stripe";

const ROLLBACK: &str = "\
Examples:
  keyreeve secret rollback production/stripe --to 2

The old version is written again as a new one: history stays.";

const DELETE: &str = "\
Examples:
  keyreeve secret delete production/stripe
  keyreeve secret delete production/stripe --version 1 --version 2";

const UNDELETE: &str = "\
Examples:
  keyreeve secret undelete production/stripe --version 2";

const DESTROY: &str = "\
Examples:
  keyreeve secret destroy production/stripe --version 1
  keyreeve secret destroy production/stripe --all";

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Write a new version
    #[command(after_help = PUT)]
    Put(PutArgs),
    /// Read a version
    #[command(after_help = GET)]
    Get(GetArgs),
    /// List a folder
    #[command(after_help = LIST)]
    List(ListArgs),
    /// Find secrets by a part of their path
    #[command(after_help = SEARCH)]
    Search(SearchArgs),
    /// List the versions of a secret
    #[command(after_help = VERSIONS)]
    Versions(PathArgs),
    /// Write an old version again
    #[command(after_help = ROLLBACK)]
    Rollback(RollbackArgs),
    /// Delete versions so that they can be brought back
    #[command(after_help = DELETE)]
    Delete(VersionsArgs),
    /// Bring deleted versions back
    #[command(after_help = UNDELETE)]
    Undelete(SomeVersionsArgs),
    /// Destroy versions for good
    #[command(after_help = DESTROY)]
    Destroy(DestroyArgs),
}

/// A secret.
#[derive(Clone, Debug, Args)]
pub(crate) struct PathArgs {
    /// Its path
    pub(crate) path: SecretPath,
}

/// `keyreeve secret put`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PutArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Fields: `FIELD=-` from standard input, `FIELD=@FILE` from a file
    #[arg(required = true, value_name = "FIELD=SOURCE")]
    pub(crate) fields: Vec<String>,
    /// Keep the other fields of the current version
    #[arg(long)]
    pub(crate) merge: bool,
    /// Only if this version is the current one; 0 if there must be none
    #[arg(long, value_name = "VERSION")]
    pub(crate) cas: Option<u64>,
    /// Take `FIELD=VALUE`, too, though every user of this machine can see arguments
    #[arg(long)]
    pub(crate) allow_argument: bool,
}

/// `keyreeve secret get`.
#[derive(Clone, Debug, Args)]
pub(crate) struct GetArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Only this field, and nothing around it
    #[arg(long)]
    pub(crate) field: Option<String>,
    /// This version; the current one by default
    #[arg(long)]
    pub(crate) version: Option<u64>,
    /// Show values on a terminal
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// `keyreeve secret list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// The folder; all by default
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) folder: SecretPathPrefix,
    /// All folders below, too
    #[arg(long, short)]
    pub(crate) recursive: bool,
}

/// `keyreeve secret search`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SearchArgs {
    /// A part of the path, in any case
    pub(crate) word: String,
}

/// `keyreeve secret rollback`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// The version to write again
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: u64,
}

/// `keyreeve secret delete`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VersionsArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Which version; the current one by default
    #[arg(long = "version", value_name = "VERSION")]
    pub(crate) versions: Vec<u64>,
}

/// `keyreeve secret undelete`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SomeVersionsArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Which version
    #[arg(long = "version", value_name = "VERSION", required = true)]
    pub(crate) versions: Vec<u64>,
}

/// `keyreeve secret destroy`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DestroyArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Which version
    #[arg(long = "version", value_name = "VERSION", required_unless_present = "all")]
    pub(crate) versions: Vec<u64>,
    /// All versions, and all that is known of the secret
    #[arg(long, conflicts_with = "versions")]
    pub(crate) all: bool,
}
