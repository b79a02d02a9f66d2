//! Why a database could not be opened.

use std::{error::Error, path::PathBuf};

use keyreeve_engine::store::StoreError;

use crate::sql::head::Unfit;

/// A database was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not one of a PostgreSQL server.
    #[error(
        "store.url must be a URL such as postgres://user:password@host:5432/database, with host \
         and user"
    )]
    BadUrl,
    /// The server's certificate could not be checked.
    #[error("cannot read the certificate authorities {}", authorities(.path.as_ref()))]
    Authorities {
        /// Their file, if it is not the system's.
        path: Option<PathBuf>,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server cannot be reached, or refuses.
    #[error("cannot use the database at {place}")]
    Unreachable {
        /// Where it is, without the password.
        place: String,
        /// What the server or the system says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is nothing of Keyreeve's in the database.
    #[error("there is no installation in the database at {place}")]
    Empty {
        /// Where it is.
        place: String,
    },
    /// The database has the schema of an older version, which a reader does not change.
    #[error(
        "the database at {place} has schema {found}, and this version of keyreeve reads schema \
         {known}: start a node of this version first"
    )]
    Older {
        /// Where it is.
        place: String,
        /// The schema of the database.
        found: u64,
        /// The schema read here.
        known: u64,
    },
    /// Nodes are working on the database.
    #[error("the database at {place} is in use by a node: stop all nodes first")]
    InUse {
        /// Where it is.
        place: String,
    },
    /// The database was brought to its schema by a newer version of this program.
    #[error(
        "the database at {place} has schema {found}, and this version of keyreeve knows schemas \
         up to {known}: use a newer one"
    )]
    Newer {
        /// Where it is.
        place: String,
        /// The schema of the database.
        found: u64,
        /// The newest schema known here.
        known: u64,
    },
    /// The audit log is not the one whose head was signed.
    #[error("the audit log at {place} does not match its signed checkpoint ({problem})")]
    AuditDamaged {
        /// Where it is.
        place: String,
        /// What does not match.
        problem: String,
    },
    /// The audit log was signed with another key than the one at hand.
    #[error(
        "the audit log at {place} was signed with another key than the one in this data folder: \
         all nodes need the same audit.key; copy it from the first one"
    )]
    OtherSigner {
        /// Where it is.
        place: String,
    },
}

fn authorities(path: Option<&PathBuf>) -> String {
    path.map_or_else(|| "of the system".to_owned(), |path| format!("in {}", path.display()))
}

impl OpenError {
    /// The database cannot be used, for this reason.
    pub(super) fn unreachable(
        place: &str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Unreachable { place: place.to_owned(), source: source.into() }
    }

    /// What keeps the audit log from being gone on with.
    pub(super) fn of_log(place: &str, unfit: Unfit) -> Self {
        let place = place.to_owned();
        match unfit {
            Unfit::OtherSigner => Self::OtherSigner { place },
            Unfit::Damaged(problem) => Self::AuditDamaged { place, problem },
            Unfit::Broken(broken) => Self::unreachable(&place, StoreError::from(broken)),
        }
    }
}
