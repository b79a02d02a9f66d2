//! Options of `keyreeve key derive`.

use clap::Args;
use jiff::Timestamp;

use crate::cli::{
    policy::PolicyArgs,
    time::{Life, timestamp},
};

/// `keyreeve key derive`. The key to derive from is the one that asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeriveArgs {
    /// What people call it
    #[arg(long)]
    pub(crate) name: String,
    /// Role it carries, one that the key behind it has; can be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// Permission it carries besides; can be repeated. Without roles and permissions it gets those
    /// of the key behind it
    #[arg(long = "permission", value_name = "PERMISSION")]
    pub(crate) permissions: Vec<String>,
    /// Word to filter by; can be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A JSON object that comes back with every verdict
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// Its life, such as 1h (default: as long as that of the key behind it)
    #[arg(long, value_name = "LENGTH")]
    pub(crate) expires_in: Option<Life>,
    /// When it expires
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in", value_parser = timestamp)]
    pub(crate) expires_at: Option<Timestamp>,
    /// The first moment of use
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub(crate) not_before: Option<Timestamp>,
    /// Text of your own: repeating the command with it makes no second key
    #[arg(long, value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}
