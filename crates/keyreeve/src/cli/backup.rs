//! Options of `keyreeve backup` and `keyreeve restore`.

use std::path::PathBuf;

use clap::Args;

/// Examples of `backup`.
pub(super) const BACKUP: &str = "\
Examples:
  keyreeve backup /backups/keyreeve-2026-11-21
  keyreeve backup /backups/keyreeve-2026-11-21 --data-dir /var/lib/keyreeve

A backup is a folder: the database as it was at one moment, in a file, and the keys of the audit.
Servers may go on running. With store.url the data comes from there, and the keys from the data folder. Keep it as secret as the data folder itself. A pepper and other secrets that the
settings name are not in it.";

/// Examples of `restore`.
pub(super) const RESTORE: &str = "\
Examples:
  keyreeve restore /backups/keyreeve-2026-11-21 --data-dir /var/lib/keyreeve

With store.url the data goes to that database, which must be empty, and the keys into the data folder,
from where other nodes get them. What was changed after the backup was made is not in it: keys revoked since are good again.";

/// `keyreeve backup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArgs {
    /// Folder to make; must not exist
    pub(crate) folder: PathBuf,
}

/// `keyreeve restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Folder that `keyreeve backup` made
    pub(crate) folder: PathBuf,
}
