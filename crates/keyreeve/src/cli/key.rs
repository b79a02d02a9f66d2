//! `keyreeve key`.

mod derive;
mod examples;
mod import;
mod questions;

pub(crate) use self::{
    derive::DeriveArgs,
    import::ImportArgs,
    questions::{ExplainArgs, VerifyArgs},
};
pub(super) use examples::ABOUT;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    page::PageArgs,
    policy::{LimitChanges, PolicyArgs, RestrictionChanges, SpendingChanges},
    time::{Life, length, timestamp},
};

/// The states keys can be listed by.
const STATES: [&str; 6] = ["active", "disabled", "rotating", "expired", "revoked", "deleted"];

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; prints it, this once
    #[command(after_help = examples::CREATE)]
    Create(Box<CreateArgs>),
    /// Show a key
    #[command(after_help = examples::SHOW)]
    Show(IdArgs),
    /// List keys, newest first
    #[command(after_help = examples::LIST)]
    List(Box<ListArgs>),
    /// Change a key; what is not named stays as it is
    #[command(after_help = examples::UPDATE)]
    Update(Box<UpdateArgs>),
    /// Replace a key by a new one; prints it, this once. The old one stays good for a while
    #[command(after_help = examples::ROTATE)]
    Rotate(RotateArgs),
    /// End the time in which a replaced key is still good
    #[command(after_help = examples::FINISH_ROTATION)]
    FinishRotation(FinishRotationArgs),
    /// Refuse a key for good, at once
    #[command(after_help = examples::REVOKE)]
    Revoke(ReasonArgs),
    /// Switch a disabled key on again
    #[command(after_help = examples::ENABLE)]
    Enable(IdArgs),
    /// Switch a key off
    #[command(after_help = examples::DISABLE)]
    Disable(ReasonArgs),
    /// Take a key out of sight; for 30 days it can be brought back
    #[command(after_help = examples::DELETE)]
    Delete(IdArgs),
    /// Bring a deleted key back
    #[command(after_help = examples::UNDELETE)]
    Undelete(IdArgs),
    /// Remove a key for good that was deleted more than 30 days ago
    #[command(after_help = examples::PURGE)]
    Purge(IdArgs),
    /// List keys that will soon expire, soonest first
    #[command(after_help = examples::EXPIRING)]
    Expiring(ExpiringArgs),
    /// Delete keys that have expired
    #[command(after_help = examples::CLEANUP_EXPIRED)]
    CleanupExpired(CleanupExpiredArgs),
    /// Make a narrower key from your own; prints it, this once
    #[command(after_help = examples::DERIVE)]
    Derive(Box<DeriveArgs>),
    /// Bring keys of another system in by their hashes; your callers keep their keys
    #[command(after_help = examples::IMPORT)]
    Import(ImportArgs),
    /// Say what would become of a request with a key, check by check; exit code 1 if refused
    #[command(after_help = examples::EXPLAIN)]
    Explain(Box<ExplainArgs>),
    /// Propose limits from how a key was used
    #[command(after_help = examples::SUGGEST_LIMITS)]
    SuggestLimits(IdArgs),
    /// Say whether a key, read from standard input, is good; exit code 0 if it is, else 1
    #[command(after_help = examples::VERIFY)]
    Verify(Box<VerifyArgs>),
}

/// A key.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdArgs {
    /// Its id, as `keyreeve key list` shows it
    pub(crate) id: String,
}

/// A key, and why something is done to it.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReasonArgs {
    /// Its id, as `keyreeve key list` shows it
    pub(crate) id: String,
    /// Why; goes into the audit
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

/// `keyreeve key create`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    /// What people call it
    #[arg(long)]
    pub(crate) name: String,
    /// Keyspace it is made in (default: default)
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
    /// Stage it is for (default: production)
    #[arg(long, short = 'e', visible_alias = "env", value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// Whom it belongs to: your own id for a customer, a user or a service
    #[arg(long, value_name = "ID")]
    pub(crate) owner: Option<String>,
    /// Role it carries; can be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// Permission it carries besides; can be repeated
    #[arg(long = "permission", value_name = "PERMISSION")]
    pub(crate) permissions: Vec<String>,
    /// Connection it may call through; narrows the role client to those named; can be repeated
    #[arg(long = "connection", value_name = "NAME")]
    pub(crate) connections: Vec<String>,
    /// Word to filter by; can be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A JSON object that comes back with every verdict
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// Its life, such as 30d, or never (default: what the keyspace says)
    #[arg(long, value_name = "LENGTH")]
    pub(crate) expires_in: Option<Life>,
    /// When it expires
    #[arg(long, value_name = "TIME", conflicts_with = "expires_in", value_parser = timestamp)]
    pub(crate) expires_at: Option<Timestamp>,
    /// The first moment of use (default: at once)
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    pub(crate) not_before: Option<Timestamp>,
    /// Text of your own: repeating the command with it makes no second key
    #[arg(long, value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// `keyreeve key list`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Of this keyspace
    #[arg(long, value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
    /// Of this stage
    #[arg(long, short = 'e', visible_alias = "env", value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// Of this owner
    #[arg(long, value_name = "ID")]
    pub(crate) owner: Option<String>,
    /// With this role
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// With this tag
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// In this state (default: all but the deleted)
    #[arg(long, value_parser = STATES)]
    pub(crate) state: Option<String>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// `keyreeve key update`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its id, as `keyreeve key list` shows it
    pub(crate) id: String,
    /// Only if nobody has changed it since: its `revision`
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
    #[command(flatten)]
    pub(crate) changes: KeyChanges,
}

/// What to change on a key.
#[derive(Clone, Debug, Default, Args)]
#[group(skip)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that can be typed")]
pub(crate) struct KeyChanges {
    /// What people call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Whom it belongs to
    #[arg(long, value_name = "ID", conflicts_with = "no_owner")]
    pub(crate) owner: Option<String>,
    /// Take it from its owner
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// Role it carries, in place of those it has; can be repeated
    #[arg(long = "role", value_name = "ROLE", conflicts_with = "no_roles")]
    pub(crate) roles: Vec<String>,
    /// Take all roles from it
    #[arg(long)]
    pub(crate) no_roles: bool,
    /// Permission it carries, in place of those it has; can be repeated
    #[arg(long = "permission", value_name = "PERMISSION", conflicts_with = "no_permissions")]
    pub(crate) permissions: Vec<String>,
    /// Take all permissions from it that no role gives
    #[arg(long)]
    pub(crate) no_permissions: bool,
    /// Word to filter by, in place of those it has; can be repeated
    #[arg(long = "tag", value_name = "TAG", conflicts_with = "no_tags")]
    pub(crate) tags: Vec<String>,
    /// Take all tags from it
    #[arg(long)]
    pub(crate) no_tags: bool,
    /// A JSON object, in place of the one it has
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// When it expires
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    #[arg(conflicts_with_all = ["expires_in", "never_expires"])]
    pub(crate) expires_at: Option<Timestamp>,
    /// In how long it expires, such as 30d
    #[arg(long, value_name = "LENGTH", conflicts_with = "never_expires")]
    pub(crate) expires_in: Option<Life>,
    /// It does not expire
    #[arg(long)]
    pub(crate) never_expires: bool,
    /// The first moment of use
    #[arg(long, value_name = "TIME", value_parser = timestamp, conflicts_with = "no_not_before")]
    pub(crate) not_before: Option<Timestamp>,
    /// It can be used at once
    #[arg(long)]
    pub(crate) no_not_before: bool,
    #[command(flatten)]
    pub(crate) limits: LimitChanges,
    #[command(flatten)]
    pub(crate) spending: SpendingChanges,
    #[command(flatten)]
    pub(crate) restrictions: RestrictionChanges,
}

/// `keyreeve key rotate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RotateArgs {
    /// Its id, as `keyreeve key list` shows it
    pub(crate) id: String,
    /// How long the old key stays good, such as 24h (default: what the keyspace says)
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) grace: Option<String>,
    /// The new key's life, such as 30d, or never (default: as long as the old one's)
    #[arg(long, value_name = "LENGTH")]
    pub(crate) expires_in: Option<Life>,
    /// Text of your own: repeating the command with it makes no second key
    #[arg(long, value_name = "TEXT")]
    pub(crate) idempotency_key: Option<String>,
}

/// `keyreeve key finish-rotation`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FinishRotationArgs {
    /// The id of the old key
    pub(crate) id: String,
    /// Only if it was not used for this long, such as 1h
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) if_silent_for: Option<String>,
}

/// `keyreeve key expiring`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExpiringArgs {
    /// Within so many days, 1 to 3650
    #[arg(long, value_name = "N", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) page: PageArgs,
}

/// `keyreeve key cleanup-expired`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CleanupExpiredArgs {
    /// Only those that expired at least this long ago, such as 30d
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub(crate) expired_for: Option<String>,
    /// Only say which
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use keyreeve_core::lifecycle::KeyState;

    use super::*;

    #[test]
    fn every_state_can_be_listed() {
        assert_eq!(KeyState::ALL.map(KeyState::as_str), STATES);
    }
}
