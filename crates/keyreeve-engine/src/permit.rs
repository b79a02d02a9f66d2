//! Authorisation as a value.
//!
//! A use-case takes a [`Permit`] of its own action. A permit can only be got from
//! [`Engine::authorize`](crate::Engine::authorize) or [`Permit::check`], so a check cannot be
//! forgotten, only failed.

use std::marker::PhantomData;

use keyreeve_core::{
    audit::{Actor, AuditEntry, Outcome, Target},
    name::ProjectName,
};

use crate::Caller;

/// Something a caller may be allowed to do.
pub trait Action: Send + Sync + 'static {
    /// What the audit calls it, as `noun.verb`.
    const NAME: &'static str;
    /// What a caller must be granted.
    const PERMISSION: &'static str;
    /// How far it reaches.
    const SCOPE: Scope = Scope::Project;
}

/// How far an action reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The caller's own project.
    Project,
    /// The whole installation: only callers of the default project may.
    Installation,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $audit:literal, $permission:literal $(, $scope:ident)?;)*) => {
        /// The actions, one type each.
        pub mod action {
            use super::{Action, Scope};

            $(
                $(#[$doc])*
                #[derive(Clone, Copy, Debug)]
                pub struct $name;

                impl Action for $name {
                    const NAME: &'static str = $audit;
                    const PERMISSION: &'static str = $permission;
                    $(const SCOPE: Scope = Scope::$scope;)?
                }
            )*

            /// Name and permission of every action.
            pub const ALL: &[(&str, &str, Scope)] =
                &[$(($name::NAME, $name::PERMISSION, $name::SCOPE)),*];
        }
    };
}

actions! {
    /// Make a key.
    IssueKey = "key.create", "keyreeve.keys.manage";
    /// Bring keys of another system in.
    ImportKeys = "key.import", "keyreeve.keys.manage";
    /// Derive a narrower key from one's own.
    DeriveKey = "key.derive", "keyreeve.keys.derive";
    /// See a key.
    ReadKey = "key.read", "keyreeve.keys.read";
    /// List keys.
    ListKeys = "key.list", "keyreeve.keys.list";
    /// Change a key.
    UpdateKey = "key.update", "keyreeve.keys.manage";
    /// Replace a key.
    RotateKey = "key.rotate", "keyreeve.keys.manage";
    /// End a grace.
    FinishRotation = "key.finish_rotation", "keyreeve.keys.manage";
    /// Refuse a key for good.
    RevokeKey = "key.revoke", "keyreeve.keys.manage";
    /// Switch a key on.
    EnableKey = "key.enable", "keyreeve.keys.manage";
    /// Switch a key off.
    DisableKey = "key.disable", "keyreeve.keys.manage";
    /// Take a key out of sight.
    DeleteKey = "key.delete", "keyreeve.keys.manage";
    /// Bring a key back.
    UndeleteKey = "key.undelete", "keyreeve.keys.manage";
    /// Remove a key for good.
    PurgeKey = "key.purge", "keyreeve.keys.manage";
    /// Delete expired keys.
    CleanupExpired = "key.cleanup_expired", "keyreeve.keys.manage";
    /// Ask whether a key is good.
    VerifyKey = "key.verify", "keyreeve.keys.verify";
    /// See keyspaces.
    ReadKeyspaces = "keyspace.read", "keyreeve.keyspaces.read";
    /// Make, change and remove keyspaces.
    ManageKeyspaces = "keyspace.manage", "keyreeve.keyspaces.manage";
    /// See environments.
    ReadEnvironments = "environment.read", "keyreeve.environments.read";
    /// Make and remove environments.
    ManageEnvironments = "environment.manage", "keyreeve.environments.manage";
    /// See owners.
    ReadOwners = "owner.read", "keyreeve.owners.read";
    /// Make, change and remove owners.
    WriteOwners = "owner.write", "keyreeve.owners.write";
    /// See roles.
    ReadRoles = "role.read", "keyreeve.roles.read";
    /// Make, change and remove roles.
    ManageRoles = "role.manage", "keyreeve.roles.manage";
    /// Read the project's audit.
    ReadAudit = "audit.read", "keyreeve.audit.read";
    /// Read the whole installation's audit.
    ExportAudit = "audit.export", "keyreeve.audit.export", Installation;
    /// See projects.
    ReadProjects = "project.read", "keyreeve.projects.manage", Installation;
    /// Make projects.
    ManageProjects = "project.manage", "keyreeve.projects.manage", Installation;
    /// See policies of the vault.
    ReadPolicies = "policy.read", "keyreeve.secrets.manage";
    /// Make, change and remove policies of the vault.
    ManagePolicies = "policy.manage", "keyreeve.secrets.manage";
    /// Make, change and remove roles that programs log in as.
    ManageAppRoles = "approle.manage", "keyreeve.secrets.manage";
    /// Seal the vault, change its keys.
    ManageVault = "vault.manage", "keyreeve.vault.manage", Installation;
    /// See connections.
    ReadConnections = "connection.read", "keyreeve.connections.read";
    /// Make, change and remove connections.
    ManageConnections = "connection.manage", "keyreeve.connections.manage";
    /// Make tokens for clients of connections.
    IssueClientToken = "client_token.create", "keyreeve.client-tokens.create";
    /// See and end tokens of clients.
    ManageClientTokens = "client_token.manage", "keyreeve.connections.manage";
    /// See sources of webhooks, and their events without what came in.
    ReadWebhooks = "webhook.read", "keyreeve.webhooks.read";
    /// Make, change and remove sources, look at events, and have them delivered again.
    ManageWebhooks = "webhook.manage", "keyreeve.webhooks.manage";
    /// See the metrics where they are not open.
    ReadMetrics = "metrics.read", "keyreeve.metrics.read", Installation;
}

/// The right to do `A` once, for one caller in one project.
#[derive(Debug)]
pub struct Permit<'c, A> {
    caller: &'c Caller,
    action: PhantomData<A>,
}

impl<'c, A: Action> Permit<'c, A> {
    /// Checks the caller's rights. A denial from here is not yet in the audit; use
    /// [`Engine::authorize`](crate::Engine::authorize) unless you record it yourself.
    pub fn check(caller: &'c Caller) -> Result<Self, Denied> {
        let in_scope = A::SCOPE == Scope::Project || caller.project().is_default();
        if in_scope && caller.covers(A::PERMISSION) {
            return Ok(Self { caller, action: PhantomData });
        }
        Err(Denied { action: A::NAME, missing: A::PERMISSION })
    }

    /// Who.
    pub fn caller(&self) -> &'c Caller {
        self.caller
    }

    /// In which tenant.
    pub fn project(&self) -> &'c ProjectName {
        self.caller.project()
    }

    /// Who, in the form the audit keeps.
    pub fn actor(&self) -> Actor {
        self.caller.actor()
    }

    /// An audit entry of this action by this caller, done, with nothing special to say.
    pub(crate) fn entry(&self, at: jiff::Timestamp, target: Target) -> AuditEntry {
        AuditEntry {
            at,
            project: self.project().clone(),
            actor: self.actor(),
            action: A::NAME.into(),
            target,
            outcome: Outcome::Done,
            reason: None,
            request: Some(self.caller.request().origin()),
            details: serde_json::Map::new(),
        }
    }
}

/// The caller may not do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} needs {missing}")]
pub struct Denied {
    /// What was tried.
    pub action: &'static str,
    /// The permission that would allow it.
    pub missing: &'static str,
}

#[cfg(test)]
mod tests {
    use keyreeve_core::{permission::Permission, role::BuiltinRole};

    use super::*;

    #[test]
    fn every_permission_is_reserved_and_admins_have_it() {
        for (name, permission, _) in action::ALL {
            assert!(permission.parse::<Permission>().is_ok(), "{name}");
            assert!(permission.starts_with("keyreeve."), "{name}");
            assert!(BuiltinRole::Admin.permissions().covers(permission), "{name}");
            assert!(!BuiltinRole::Client.permissions().covers(permission), "{name}");
        }
    }

    #[test]
    fn viewers_change_nothing() {
        for (name, permission, _) in action::ALL {
            let verb = permission.rsplit('.').next().unwrap();
            let may = BuiltinRole::Viewer.permissions().covers(permission);
            assert_eq!(may, matches!(verb, "read" | "list"), "{name}");
        }
    }
}
