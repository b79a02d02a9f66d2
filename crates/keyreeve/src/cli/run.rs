//! `keyreeve run`.

use clap::Args;
use keyreeve_core::vault::{SecretPath, SecretPathPrefix};

/// Examples of `run`.
pub(super) const ABOUT: &str = "\
Examples:
  keyreeve run --environment production -- ./server
  keyreeve run --path production/stripe --path production/db -- env
  keyreeve run --environment production --watch restart -- ./server
  keyreeve run --environment production --watch SIGHUP -- ./server

The program gets the fields of the secrets as variables, besides what is set already; nothing is
written to disk. A field such as STRIPE_SECRET_KEY is called as it is; secret_key of production/stripe
becomes STRIPE_SECRET_KEY. Signals and the exit code pass.

With cache.folder an encrypted copy is kept for a while for when the server cannot be reached: see
[cache] in `keyreeve manual --settings`.";

/// `keyreeve run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// All secrets of this environment
    #[arg(long, short, alias = "env", value_name = "FOLDER")]
    pub(crate) environment: Option<SecretPathPrefix>,
    /// This secret; may be given more than once
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<SecretPath>,
    /// When a secret gets a new version: `restart` the program, or send it a signal such as SIGHUP
    #[arg(long, value_name = "WHAT")]
    pub(crate) watch: Option<String>,
    /// How often to look for new versions, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) interval: u64,
    /// Only the secrets, and of what is set already PATH, HOME, USER, LANG, TERM and TZ
    #[arg(long)]
    pub(crate) clean: bool,
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<std::ffi::OsString>,
}
