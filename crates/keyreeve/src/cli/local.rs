//! Commands of this machine: the server, completions, the manual.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use clap_complete::Shell;

/// Examples of `serve`.
pub(super) const SERVE: &str = "\
Examples:
  keyreeve serve
  keyreeve serve --listen 0.0.0.0:7420 --data-dir /var/lib/keyreeve
  keyreeve serve --config /etc/keyreeve.toml";

/// Examples of `completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  keyreeve completions bash > /etc/bash_completion.d/keyreeve
  keyreeve completions zsh > ~/.zfunc/_keyreeve
  keyreeve completions fish > ~/.config/fish/completions/keyreeve.fish";

/// Examples of `manual`.
pub(super) const MANUAL: &str = "\
Examples:
  keyreeve manual
  keyreeve manual --output /usr/local/share/man/man1
  keyreeve manual --settings > keyreeve.toml";

/// Examples of `migrate`.
pub(super) const MIGRATE: &str = "\
Examples:
  keyreeve migrate --data-dir /var/lib/keyreeve
  keyreeve migrate --no-wait --format json

The database is the one of store.url, most often set as KEYREEVE_STORE__URL; it must be empty, or hold
what an earlier run copied: a run that was broken off is gone on with. The file stays as it is.

A server that runs on the file goes on verifying until you stop it. What changes while this copies is
copied, too; after that, changes are refused until this command ends, which it does with that server.";

/// `keyreeve serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen, an IP address and a port (setting server.listen)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Threads that serve requests; 0 means one per core (setting server.threads)
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<u16>,
}

/// `keyreeve migrate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MigrateArgs {
    /// End when the copy is complete, even if a server goes on changing the file
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// `keyreeve completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// `keyreeve manual`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManualArgs {
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Print every setting, explained, with its default
    #[arg(long, conflicts_with = "output")]
    pub(crate) settings: bool,
}
