//! Wrapped answers: sealed, and given out once, to whoever shows the token for it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What is known of a wrapped answer; also the form that is stored. The digest of its token is the
/// record's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapping {
    /// What names it without opening anything.
    pub accessor: String,
    /// The call whose answer it is.
    pub creation_path: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// How long it was to live.
    pub ttl: SignedDuration,
    /// The answer, sealed, in base64; `None` once it was given out.
    pub sealed: Option<String>,
}
