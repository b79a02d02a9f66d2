//! The life of a key: what state it is in and which changes are allowed.
//!
//! Transitions take the state by value and the time as an argument, and return the next state or
//! why there is none. Expiry is not a transition: a key expires by the clock alone.

use jiff::{SignedDuration, Timestamp};

use crate::key::KeyId;

/// How long a deleted key can be brought back: 30 days.
pub const UNDELETE_WINDOW: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Where a key stands, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// In use.
    Active,
    /// Switched off; can be switched on again.
    Disabled {
        /// When it was switched off.
        at: Timestamp,
        /// What it goes back to.
        was: Box<Lifecycle>,
    },
    /// Replaced; still accepted until the grace ends.
    Rotating {
        /// The key that replaces this one.
        successor: KeyId,
        /// The first moment at which this key is refused.
        grace_ends_at: Timestamp,
    },
    /// Refused for good.
    Revoked {
        /// When.
        at: Timestamp,
        /// Why, in the words of whoever revoked it.
        reason: Option<String>,
    },
    /// Out of sight; can be brought back within [`UNDELETE_WINDOW`].
    Deleted {
        /// When.
        at: Timestamp,
        /// What it goes back to.
        was: Box<Lifecycle>,
    },
}

/// Where a key stands at a moment, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// In use.
    Active,
    /// Switched off.
    Disabled,
    /// Replaced, grace running.
    Rotating,
    /// Past its expiry or past its grace.
    Expired,
    /// Refused for good.
    Revoked,
    /// Deleted, restorable.
    Deleted,
}

impl KeyState {
    /// All states, in the order of a key's life.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Disabled, Self::Rotating, Self::Expired, Self::Revoked, Self::Deleted];

    /// The state's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Rotating => "rotating",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A change that the key's state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransition {
    /// The key is already in that state.
    #[error("the key is already {}", .0.as_str())]
    Already(KeyState),
    /// The state rules the change out.
    #[error("a key that is {} cannot be {attempted}", .state.as_str())]
    NotFrom {
        /// The key's state.
        state: KeyState,
        /// What was tried, as a participle.
        attempted: &'static str,
    },
    /// The time to bring the key back is over.
    #[error("the key was deleted more than 30 days ago and can only be purged")]
    UndeleteWindowOver,
    /// The key may still be brought back.
    #[error("a deleted key can be purged 30 days after its deletion")]
    PurgeTooEarly,
}

impl Lifecycle {
    /// The state people see at `now`, with the key's expiry taken into account.
    pub fn state(&self, expires_at: Option<Timestamp>, now: Timestamp) -> KeyState {
        let expired = expires_at.is_some_and(|at| at <= now);
        match self {
            Self::Deleted { .. } => KeyState::Deleted,
            Self::Revoked { .. } => KeyState::Revoked,
            Self::Rotating { grace_ends_at, .. } if *grace_ends_at <= now => KeyState::Expired,
            Self::Disabled { .. } => KeyState::Disabled,
            Self::Active | Self::Rotating { .. } if expired => KeyState::Expired,
            Self::Active => KeyState::Active,
            Self::Rotating { .. } => KeyState::Rotating,
        }
    }

    /// Switches the key off.
    pub fn disable(self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Active | Self::Rotating { .. } => {
                Ok(Self::Disabled { at: now, was: Box::new(self) })
            }
            Self::Disabled { .. } => Err(InvalidTransition::Already(KeyState::Disabled)),
            Self::Revoked { .. } => Err(not_from(KeyState::Revoked, "disabled")),
            Self::Deleted { .. } => Err(not_from(KeyState::Deleted, "disabled")),
        }
    }

    /// Switches a disabled key on again.
    pub fn enable(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::Disabled { was, .. } => Ok(*was),
            Self::Active | Self::Rotating { .. } => {
                Err(InvalidTransition::Already(KeyState::Active))
            }
            Self::Revoked { .. } => Err(not_from(KeyState::Revoked, "enabled")),
            Self::Deleted { .. } => Err(not_from(KeyState::Deleted, "enabled")),
        }
    }

    /// Replaces the key by `successor`. The grace ends at `now + grace`, or at the key's own
    /// expiry if that is sooner: rotation never lengthens a life.
    pub fn rotate(
        self,
        successor: KeyId,
        grace: SignedDuration,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, InvalidTransition> {
        match self.state(expires_at, now) {
            KeyState::Active => {
                let wanted = now.saturating_add(grace).unwrap_or(Timestamp::MAX);
                let grace_ends_at = expires_at.map_or(wanted, |expiry| expiry.min(wanted));
                Ok(Self::Rotating { successor, grace_ends_at })
            }
            KeyState::Rotating => Err(InvalidTransition::Already(KeyState::Rotating)),
            state => Err(not_from(state, "rotated")),
        }
    }

    /// Ends a running grace now.
    pub fn finish_rotation(self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Rotating { successor, grace_ends_at } => {
                Ok(Self::Rotating { successor, grace_ends_at: grace_ends_at.min(now) })
            }
            other => Err(not_from(other.state(None, now), "taken out of rotation")),
        }
    }

    /// Refuses the key for good.
    pub fn revoke(self, reason: Option<String>, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Revoked { .. } => Err(InvalidTransition::Already(KeyState::Revoked)),
            Self::Deleted { .. } => Err(not_from(KeyState::Deleted, "revoked")),
            Self::Active | Self::Disabled { .. } | Self::Rotating { .. } => {
                Ok(Self::Revoked { at: now, reason })
            }
        }
    }

    /// Takes the key out of sight.
    pub fn delete(self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Deleted { .. } => Err(InvalidTransition::Already(KeyState::Deleted)),
            other => Ok(Self::Deleted { at: now, was: Box::new(other) }),
        }
    }

    /// Brings a deleted key back as it was.
    pub fn undelete(self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::Deleted { at, was } if now.duration_since(at) <= UNDELETE_WINDOW => Ok(*was),
            Self::Deleted { .. } => Err(InvalidTransition::UndeleteWindowOver),
            other => Err(not_from(other.state(None, now), "undeleted")),
        }
    }

    /// Whether the key may be removed for good.
    pub fn check_purge(&self, now: Timestamp) -> Result<(), InvalidTransition> {
        match self {
            Self::Deleted { at, .. } if now.duration_since(*at) > UNDELETE_WINDOW => Ok(()),
            Self::Deleted { .. } => Err(InvalidTransition::PurgeTooEarly),
            other => Err(not_from(other.state(None, now), "purged")),
        }
    }
}

fn not_from(state: KeyState, attempted: &'static str) -> InvalidTransition {
    InvalidTransition::NotFrom { state, attempted }
}

#[cfg(test)]
mod tests;
