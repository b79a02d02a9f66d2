//! Why a copy was not made, or is not good.

use keyreeve_engine::store::StoreError;

use crate::sql::failure::Broken;

/// A copy was not made to the end. Going on with it later does no harm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// A side failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target holds an installation of its own.
    #[error("the target holds an audit log that is not a part of the source's")]
    OtherLog,
    /// What was copied is not what was signed.
    #[error("the copy does not pass the check of its audit log: {0}")]
    Damaged(String),
    /// A table of the copy has more or fewer rows.
    #[error("the copy has {copied} rows in {table}, and the source has {there}")]
    Incomplete {
        /// Which table.
        table: &'static str,
        /// Rows of the source.
        there: u64,
        /// Rows of the copy.
        copied: u64,
    },
}

impl From<Broken> for TransferError {
    fn from(broken: Broken) -> Self {
        Self::Store(broken.into())
    }
}
