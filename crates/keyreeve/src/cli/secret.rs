//! `keyreeve secret`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use keyreeve_core::vault::{SecretPath, SecretPathPrefix};

use super::time::timestamp;
use crate::secret_files::export::ExportFormat;

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

const DESCRIBE: &str = "\
Examples:
  keyreeve secret describe production/stripe
  keyreeve secret describe production/stripe --owner payments --risk high --rotate-every-days 90
  keyreeve secret describe production/stripe --expires 2027-01-31

Without options it shows what is known. The provider is found by the catalogue when a secret is written.";

const PROMOTE: &str = "\
Examples:
  keyreeve secret promote production/stripe
  keyreeve secret promote production/stripe --version 4

Without a number it is the version that was put with --pending. The one that was current is previous.";

const LABEL: &str = "\
Examples:
  keyreeve secret label production/stripe blue --version 3
  keyreeve secret label production/stripe blue";

const EXPLAIN: &str = "\
Examples:
  keyreeve secret explain production/stripe
  keyreeve secret explain production/stripe --policy web --policy ops

Says which rule decides what whoever asks may do at a path, or what these policies grant together: of
all patterns that match the most particular one counts, and deny wins.";

const USED: &str = "\
Examples:
  keyreeve secret used production/stripe

Who read which version, and when last, as far as the newest 10000 reads in the audit tell.";

const DIFF: &str = "\
Examples:
  keyreeve secret diff staging production
  keyreeve secret diff staging production --all

Values are compared by fingerprints under a key that is made for this one comparison; they are never
shown. Exits with 1 if anything differs.";

const IMPORT: &str = "\
Examples:
  keyreeve secret import .env --environment production --dry-run
  keyreeve secret import .env --environment production --by-provider
  keyreeve secret import secrets.yaml --environment staging --name web
  keyreeve secret import --from-vault https://vault.example.com --mount kv
  keyreeve secret import --from-aws eu-central-1 --from-path production

What each value is says the catalogue. Placeholders, values in the wrong place and test keys for
production are left out, and the command exits with 1, unless --force is given. From another vault,
whose token is in VAULT_TOKEN, all versions are taken over, from AWS those at AWSPREVIOUS, AWSCURRENT
and AWSPENDING; secrets that are here already are left alone.";

const EXPORT: &str = "\
Examples:
  keyreeve secret export --environment production --form dotenv --output production.env
  keyreeve secret export --path production/stripe --form kubernetes --name stripe --output stripe.yaml
  keyreeve secret export --environment development --form env --output development.sh";

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
    /// Make a version the current one
    #[command(after_help = PROMOTE)]
    Promote(PromoteArgs),
    /// Give a version another name
    #[command(after_help = LABEL)]
    Label(LabelArgs),
    /// Say whose a secret is and what is to be done with it
    #[command(after_help = DESCRIBE)]
    Describe(DescribeArgs),
    /// Say which rule decides what may be done at a path
    #[command(after_help = EXPLAIN)]
    Explain(ExplainArgs),
    /// Say who read a secret, which version, and when last
    #[command(after_help = USED)]
    Used(PathArgs),
    /// Compare two environments, field by field, without showing values
    #[command(after_help = DIFF)]
    Diff(DiffArgs),
    /// Take over secrets from files or another vault
    #[command(after_help = IMPORT)]
    Import(ImportArgs),
    /// Write secrets in the form of another tool
    #[command(after_help = EXPORT)]
    Export(ExportArgs),
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
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
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
    /// Keep it to be read only once it is promoted
    #[arg(long)]
    pub(crate) pending: bool,
    /// Write it even if it looks like a placeholder or is in the wrong place; goes into the audit
    #[arg(long)]
    pub(crate) force: bool,
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
    /// The version of this name: previous, pending, or one that `keyreeve secret label` gave
    #[arg(long, conflicts_with = "version")]
    pub(crate) label: Option<String>,
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

/// `keyreeve secret diff`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DiffArgs {
    /// One environment
    pub(crate) one: SecretPathPrefix,
    /// The other
    pub(crate) other: SecretPathPrefix,
    /// What is the same, too
    #[arg(long)]
    pub(crate) all: bool,
}

/// A form that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// `.env` files of all dialects
    Dotenv,
    /// A JSON object
    Json,
    /// A flat YAML mapping
    Yaml,
}

/// `keyreeve secret import`.
#[derive(Clone, Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct ImportArgs {
    /// The files
    #[arg(conflicts_with_all = ["from_vault", "from_aws"])]
    pub(crate) files: Vec<PathBuf>,
    /// The environment that they are for: the folder that the secrets come into
    #[arg(long, short, alias = "env", value_name = "FOLDER")]
    pub(crate) environment: Option<SecretPathPrefix>,
    /// The secret in that folder that gets the values
    #[arg(long, default_value = "app")]
    pub(crate) name: String,
    /// One secret for each provider that the catalogue knows
    #[arg(long)]
    pub(crate) by_provider: bool,
    /// The form of the files; by default what their names end in, else `dotenv`
    #[arg(long, value_enum)]
    pub(crate) form: Option<ImportFormat>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace values that are there and differ
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Take placeholders and misplaced values, too; goes into the audit
    #[arg(long)]
    pub(crate) force: bool,
    /// Take over from the Vault or OpenBao at this address, with the token in `VAULT_TOKEN`
    #[arg(long, value_name = "URL")]
    pub(crate) from_vault: Option<String>,
    /// Take over from AWS Secrets Manager in this region, with the access key in `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`
    #[arg(long, value_name = "REGION", conflicts_with = "from_vault")]
    pub(crate) from_aws: Option<String>,
    /// The other vault's mount, of the kind KV version 2
    #[arg(long, default_value = "secret")]
    pub(crate) mount: String,
    /// Only what is in this folder of the other store
    #[arg(long, default_value = "", hide_default_value = true, value_name = "FOLDER")]
    pub(crate) from_path: SecretPathPrefix,
}

impl ImportArgs {
    /// The folder that secrets come into.
    pub(crate) fn target(&self) -> &str {
        self.environment.as_ref().map_or("", SecretPathPrefix::as_str)
    }
}

/// `keyreeve secret export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// All secrets of this environment
    #[arg(long, short, alias = "env", value_name = "FOLDER")]
    pub(crate) environment: Option<SecretPathPrefix>,
    /// This secret; may be given more than once
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<SecretPath>,
    /// The form
    #[arg(long, value_enum)]
    pub(crate) form: ExportFormat,
    /// What the Secret of Kubernetes is called
    #[arg(long, default_value = "keyreeve")]
    pub(crate) name: String,
    /// The file to write, which must not be there yet; only you can read it
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
    /// Show the values on a terminal
    #[arg(long)]
    pub(crate) reveal: bool,
}

/// `keyreeve secret describe`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Whose credentials it holds, as `keyreeve catalog list` names them
    #[arg(long)]
    pub(crate) provider: Option<String>,
    /// Who answers for it
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// How much it opens
    #[arg(long, value_parser = ["low", "medium", "high"])]
    pub(crate) risk: Option<String>,
    /// When the provider ends it
    #[arg(long, value_parser = timestamp, value_name = "TIME")]
    pub(crate) expires: Option<Timestamp>,
    /// How often it is to be changed
    #[arg(long, value_name = "DAYS")]
    pub(crate) rotate_every_days: Option<u32>,
}

/// `keyreeve secret explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The path, of a secret or of none
    pub(crate) path: SecretPath,
    /// Of this policy, not of one's own; may be given more than once
    #[arg(long = "policy", value_name = "NAME")]
    pub(crate) policies: Vec<String>,
}

/// `keyreeve secret promote`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// Which version; the one that waits by default
    #[arg(long)]
    pub(crate) version: Option<u64>,
}

/// `keyreeve secret label`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabelArgs {
    /// Its path
    pub(crate) path: SecretPath,
    /// The name
    pub(crate) label: String,
    /// The version; without one the name is taken away
    #[arg(long)]
    pub(crate) version: Option<u64>,
}
