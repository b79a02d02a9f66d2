//! What may be done at a path, in the words of Vault's policies and two more: what Vault tells apart
//! by the paths of its API, we tell apart by `destroy` and `configure`.

use std::{fmt, str::FromStr};

use crate::Invalid;

/// One thing that may be done at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Make what is not there.
    Create,
    /// Read a value.
    Read,
    /// Change what is there.
    Update,
    /// Change members of what is there.
    Patch,
    /// Delete versions so that they can be brought back, and bring them back.
    Delete,
    /// Remove for good.
    Destroy,
    /// Change bounds and notes.
    Configure,
    /// List names.
    List,
    /// List names in all folders below.
    Scan,
    /// Do what only operators do.
    Sudo,
    /// Nothing, whatever else is granted.
    Deny,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Read,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::Destroy,
        Self::Configure,
        Self::List,
        Self::Scan,
        Self::Sudo,
        Self::Deny,
    ];

    /// As policies write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Destroy => "destroy",
            Self::Configure => "configure",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Sudo => "sudo",
            Self::Deny => "deny",
        }
    }
}

impl FromStr for Capability {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or_else(|| {
            Invalid::new(
                "must be of create, read, update, patch, delete, destroy, configure, list, scan, \
                 sudo and deny",
            )
        })
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u16);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);

    /// Everything but deny.
    pub fn everything() -> Self {
        Capability::ALL.into_iter().filter(|it| *it != Capability::Deny).collect()
    }

    /// Whether it is there, and deny is not.
    pub fn allow(self, capability: Capability) -> bool {
        self.has(capability) && !self.has(Capability::Deny)
    }

    /// Whether it is there.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & Self::bit(capability) != 0
    }

    /// Those of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// In the order in which they are declared. Deny stands for all others.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        let denied = self.has(Capability::Deny);
        Capability::ALL
            .into_iter()
            .filter(move |it| self.has(*it) && (!denied || *it == Capability::Deny))
    }

    fn bit(capability: Capability) -> u16 {
        1 << capability as u16
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, it| bits | Self::bit(it)))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
