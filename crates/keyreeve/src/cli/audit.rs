//! `keyreeve audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{page::PageArgs, time::When};

/// Examples of `audit`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve audit list --since 24h
  keyreeve audit export --output audit.jsonl
  keyreeve audit verify --file audit.jsonl --public-key audit.pub";

const LIST: &str = "\
Examples:
  keyreeve audit list --since 24h --outcome denied
  keyreeve audit list --actor key:4Tn0Zs8QbW1c
  keyreeve audit list --action 'key.*' --since 2026-11-01 --until 2026-12-01 --all";

const EXPORT: &str = "\
Examples:
  keyreeve audit export > audit.jsonl
  keyreeve audit export --output audit.jsonl";

const VERIFY: &str = "\
Examples:
  keyreeve audit verify
  keyreeve audit verify --file audit.jsonl --public-key audit.pub
  keyreeve audit verify --file audit.jsonl --public-key audit.pub --checkpoint head.txt

With a file and a public key no server is needed. A checkpoint that was kept elsewhere
finds entries that were cut off since.";

const CHECKPOINT: &str = "\
Examples:
  keyreeve audit checkpoint > head.txt
  keyreeve audit checkpoint --format json";

/// What to do with the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List entries, newest first
    #[command(after_help = LIST)]
    List(Box<ListArgs>),
    /// Write the whole record as JSON lines
    #[command(after_help = EXPORT)]
    Export(ExportArgs),
    /// Check that nothing was changed, removed or put in; exit code 1 if something was
    #[command(after_help = VERIFY)]
    Verify(VerifyArgs),
    /// Print the signed head of the record, to be kept elsewhere
    #[command(after_help = CHECKPOINT)]
    Checkpoint,
}

/// `keyreeve audit list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Who, such as key:4Tn0Zs8QbW1c or local:0
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// What, such as key.revoke; key.* takes all that begin so
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// The public name of the thing acted on
    #[arg(long, value_name = "ID")]
    pub(crate) target: Option<String>,
    /// Whether it was done
    #[arg(long, value_parser = ["done", "denied"])]
    pub(crate) outcome: Option<String>,
    /// From this time on: a time, a date, or how long ago, such as 24h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<When>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<When>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// `keyreeve audit export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write to this file; it appears when it is complete
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `keyreeve audit verify`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// An export to check; without it, the server's record is
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The key that checks signatures: `name+id+base64`, or a file that holds it
    #[arg(long, value_name = "KEY_OR_FILE")]
    pub(crate) public_key: Option<String>,
    /// A signed head that was kept elsewhere
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
}
