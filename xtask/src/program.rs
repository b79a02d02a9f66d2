//! Where the programs of others are that Keyreeve is tested and measured beside.

use std::env;
use std::path::{Path, PathBuf};

/// Where Debian has nginx, which is not on everybody's path.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";
/// Where `cargo xtask test` puts programs that packages of Python bring, from the root of the
/// repository.
pub(crate) const OF_PYTHON: &str = "target/peers/venv/bin";

/// The program of this name: on the path, or at its usual place.
pub(crate) fn find(name: &str, usual: &Path) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join(name));
    on_path.chain([usual.to_owned()]).find(|program| program.is_file())
}
