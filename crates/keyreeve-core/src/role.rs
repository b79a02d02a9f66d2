//! Built-in roles.

use std::sync::LazyLock;

use crate::permission::PermissionSet;

/// A role that exists in every project and cannot be changed.
///
/// Built-in roles open Keyreeve's own API, so they are for the team's people and services. Keys
/// for customers take permissions or custom roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinRole {
    /// Reads and lists.
    Viewer,
    /// Reads, lists, writes, executes.
    Operator,
    /// Everything, including keys, roles and projects.
    Admin,
    /// May only ask whether a key is valid: what a gateway or a backend uses.
    Verifier,
    /// May only call through connections.
    Client,
}

impl BuiltinRole {
    /// All of them, in the order they are listed.
    pub const ALL: [Self; 5] =
        [Self::Viewer, Self::Operator, Self::Admin, Self::Verifier, Self::Client];

    /// The name keys refer to.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Verifier => "verifier",
            Self::Client => "client",
        }
    }

    /// One line for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Viewer => "reads and lists",
            Self::Operator => "reads, lists, writes and executes",
            Self::Admin => "everything, including keys, roles and projects",
            Self::Verifier => "may only verify keys",
            Self::Client => "may only call through connections",
        }
    }

    /// The role of that name, if it is built in.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What the role grants.
    pub fn permissions(self) -> &'static PermissionSet {
        static GRANTS: LazyLock<[PermissionSet; 5]> = LazyLock::new(|| {
            BuiltinRole::ALL.map(|role| {
                role.granted().iter().filter_map(|permission| permission.parse().ok()).collect()
            })
        });
        &GRANTS[self as usize]
    }

    fn granted(self) -> &'static [&'static str] {
        match self {
            Self::Viewer => &["*.read", "*.list", "keyreeve.*.read", "keyreeve.*.list"],
            Self::Operator => &[
                "*.read",
                "*.list",
                "*.write",
                "*.execute",
                "keyreeve.*.read",
                "keyreeve.*.list",
                "keyreeve.*.write",
                "keyreeve.*.execute",
            ],
            Self::Admin => &["*", "keyreeve.*"],
            Self::Verifier => &["keyreeve.keys.verify"],
            Self::Client => &["keyreeve.connections.call"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_permission_is_well_formed() {
        for role in BuiltinRole::ALL {
            assert_eq!(role.permissions().iter().count(), role.granted().len(), "{role:?}");
            assert_eq!(BuiltinRole::named(role.name()), Some(role));
        }
    }

    #[test]
    fn service_roles_do_one_thing() {
        let verifier = BuiltinRole::Verifier.permissions();
        assert!(verifier.covers("keyreeve.keys.verify"));
        for other in ["keyreeve.keys.read", "keyreeve.keys.manage", "documents.read", "*"] {
            assert!(!verifier.covers(other), "{other}");
        }
    }

    #[test]
    fn each_tier_holds_the_one_below() {
        let [viewer, operator, admin, ..] = BuiltinRole::ALL;
        for (lower, higher) in [(viewer, operator), (operator, admin)] {
            for permission in lower.permissions().iter() {
                assert!(higher.permissions().covers(permission.as_str()), "{permission}");
            }
        }
        assert!(!operator.permissions().covers("keyreeve.keys.manage"));
        assert!(admin.permissions().covers("keyreeve.keys.manage"));
    }
}
