//! A set of granted permissions.

use std::sync::Arc;

use super::Permission;
use crate::Invalid;

/// Granted permissions in order, each once. At most 100. Cheap to clone: many keys have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PermissionSet(Arc<[Permission]>);

impl PermissionSet {
    /// The most permissions one key or role can carry.
    pub const MOST: usize = 100;

    /// Builds a set from text; sorts and drops duplicates.
    pub fn parse(texts: &[String]) -> Result<Self, Invalid> {
        if texts.len() > Self::MOST {
            return Err(Invalid::new("must hold at most 100 permissions"));
        }
        texts.iter().map(|text| text.parse()).collect()
    }

    /// Whether some permission of the set covers all of `wanted`.
    pub fn covers(&self, wanted: &str) -> bool {
        self.0.iter().any(|granted| granted.covers(wanted))
    }

    /// The permissions in order.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }

    /// Whether the set grants nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The permissions as text, in order.
    pub fn to_strings(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).collect()
    }
}

impl FromIterator<Permission> for PermissionSet {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        let mut permissions: Vec<_> = permissions.into_iter().collect();
        permissions.sort();
        permissions.dedup();
        Self(permissions.into())
    }
}
