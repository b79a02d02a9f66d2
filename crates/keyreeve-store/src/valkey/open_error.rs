//! Why the counts could not be opened.

use std::{error::Error, path::PathBuf};

/// Nothing was opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one of a Valkey or Redis server.
    #[error(
        "valkey.url must be a URL such as redis://:password@host:6379/0, or rediss:// for TLS; \
         valkey:// and valkeys:// mean the same"
    )]
    BadUrl,
    /// The authorities cannot be read.
    #[error("cannot read the certificate authorities {path}")]
    Authorities {
        /// Their file.
        path: PathBuf,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The server does not answer, or refuses.
    #[error("cannot use the Valkey server at {place}")]
    Unreachable {
        /// Where it is, without the password.
        place: String,
        /// What it or the system says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The system gives no thread to reach it with.
    #[error("cannot start a thread that reaches the Valkey server")]
    Thread(#[source] std::io::Error),
}
