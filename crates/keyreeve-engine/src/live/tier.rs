//! What a key is to Keyreeve's own API, and so how often it may call.

use keyreeve_core::{
    permission::{Permission, PermissionSet},
    role::BuiltinRole,
};

/// How a caller is limited. The order is that of the limits: a key with several roles has the
/// highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// May only verify or call through connections: no limit but its own.
    Service,
    /// Reads. Also whoever has rights of no built-in role.
    Viewer,
    /// Writes.
    Operator,
    /// May do everything.
    Admin,
}

/// Whether a right under `keyreeve.` makes nobody more than a service.
fn is_of_services(permission: &str) -> bool {
    let one_connection = || {
        let name = permission.strip_prefix("keyreeve.connections.");
        let name = name.and_then(|name| name.strip_suffix(".call"));
        name.is_some_and(|name| !name.contains('*'))
    };
    let of_all =
        ["keyreeve.keys.verify", "keyreeve.connections.call", "keyreeve.client-tokens.create"];
    of_all.contains(&permission) || one_connection()
}

impl Tier {
    /// What a role makes of its bearer; `None` if it opens nothing of Keyreeve's own.
    pub(super) fn of_role(name: &str, permissions: &PermissionSet) -> Option<Self> {
        match BuiltinRole::named(name) {
            Some(BuiltinRole::Admin) => Some(Self::Admin),
            Some(BuiltinRole::Operator) => Some(Self::Operator),
            Some(BuiltinRole::Viewer) => Some(Self::Viewer),
            Some(BuiltinRole::Verifier | BuiltinRole::Client) => Some(Self::Service),
            None => Self::of_permissions(permissions),
        }
    }

    /// What permissions make of their bearer; `None` if they open nothing of Keyreeve's own.
    pub(super) fn of_permissions(permissions: &PermissionSet) -> Option<Self> {
        let own = permissions.iter().map(Permission::as_str);
        own.filter(|permission| permission.starts_with("keyreeve."))
            .map(|permission| if is_of_services(permission) { Self::Service } else { Self::Viewer })
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(permissions: &[&str]) -> Option<Tier> {
        let permissions: Vec<String> = permissions.iter().map(|&text| text.to_owned()).collect();
        Tier::of_permissions(&PermissionSet::parse(&permissions).unwrap())
    }

    #[test]
    fn the_highest_right_decides() {
        assert_eq!(tier(&["documents.read"]), None);
        assert_eq!(tier(&["keyreeve.keys.verify", "documents.read"]), Some(Tier::Service));
        assert_eq!(tier(&["keyreeve.keys.verify", "keyreeve.keys.read"]), Some(Tier::Viewer));
        let calls = ["keyreeve.connections.maps.call", "keyreeve.connections.call"];
        assert_eq!(tier(&calls), Some(Tier::Service));
        assert_eq!(tier(&["keyreeve.connections.*.call"]), Some(Tier::Viewer));
        let admin = BuiltinRole::Admin.permissions();
        assert_eq!(Tier::of_role("admin", admin), Some(Tier::Admin));
        assert_eq!(Tier::of_role("verifier", admin), Some(Tier::Service));
    }
}
