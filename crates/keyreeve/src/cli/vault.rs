//! `keyreeve vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Examples of `vault`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve vault status
  keyreeve vault rotate-key
  keyreeve vault rekey --to shares --shares 5 --threshold 3 --output shares
  keyreeve vault unseal < share.txt";

const STATUS: &str = "\
Examples:
  keyreeve vault status
  keyreeve vault status --format json";

const UNSEAL: &str = "\
Examples:
  keyreeve vault unseal
  keyreeve vault unseal < passphrase.txt

What is asked for is the passphrase, the root key or, one after the other, as many shares as are
needed, whichever the vault is sealed by. It is read from standard input; a terminal does not show
what is typed. Every node of a cluster is opened by itself.";

const SEAL: &str = "\
Examples:
  keyreeve vault seal

Until it is opened again the node that is asked serves no secret. A server that finds its root key
where the settings say opens its vault by itself when it starts.";

const ROTATE: &str = "\
Examples:
  keyreeve vault rotate-key

New versions are sealed under the new key at once. Old ones follow in the background, without being
decrypted; `keyreeve vault status` says whether they have.";

const REKEY: &str = "\
Examples:
  keyreeve vault rekey --to passphrase
  keyreeve vault rekey --to shares --shares 5 --threshold 3 --output shares
  keyreeve vault rekey --to key --output new-root.key

Secrets stay as they are: only the keys over them are wrapped by the new root key. It is made here and
written down before the server learns of it. A key protects against whoever gets the database alone; a
passphrase and shares, which are nowhere on the machine, also against whoever gets the machine while it
is switched off, but somebody has to be there when it starts.";

/// What to do with the vault itself.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Say whether the vault is open, and under which key
    #[command(after_help = STATUS)]
    Status,
    /// Open the vault
    #[command(after_help = UNSEAL)]
    Unseal(UnsealArgs),
    /// Close the vault on the node that is asked
    #[command(after_help = SEAL)]
    Seal,
    /// Make a new key over everything
    #[command(after_help = ROTATE)]
    RotateKey,
    /// Change what the root key comes from
    #[command(after_help = REKEY)]
    Rekey(RekeyArgs),
}

/// `keyreeve vault unseal`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UnsealArgs {
    /// Forget the shares that were given, and take none
    #[arg(long)]
    pub(crate) reset: bool,
}

/// What a root key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RootSource {
    /// A key in a file, the environment or a credential of systemd
    Key,
    /// A passphrase
    Passphrase,
    /// Shares, of which some number is needed
    Shares,
}

/// `keyreeve vault rekey`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RekeyArgs {
    /// What the new root key comes from
    #[arg(long, value_enum)]
    pub(crate) to: RootSource,
    /// How many shares there are to be
    #[arg(long, default_value_t = 5)]
    pub(crate) shares: u8,
    /// How many of them are needed
    #[arg(long, default_value_t = 3)]
    pub(crate) threshold: u8,
    /// The new file for the key, or the new folder for the shares
    #[arg(long, required_if_eq_any([("to", "key"), ("to", "shares")]))]
    pub(crate) output: Option<PathBuf>,
}
