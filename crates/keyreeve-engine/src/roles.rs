//! Roles.

use jiff::Timestamp;
use keyreeve_core::{
    audit::Target, model::Role, name::RoleName, permission::PermissionSet, role::BuiltinRole,
};

use crate::{
    Action, Engine, Error, Permit,
    action::{ManageRoles, ReadRoles},
    store::{Change, Kind},
};

/// What a new role is to be.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    /// Its name.
    pub name: RoleName,
    /// One line for people.
    pub description: String,
    /// What it grants.
    pub permissions: PermissionSet,
}

/// What of a role is to be different.
#[derive(Clone, Debug, Default)]
pub struct RoleChange {
    /// One line for people.
    pub description: Option<String>,
    /// What it grants.
    pub permissions: Option<PermissionSet>,
}

/// A role of either kind.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleRecord {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// What it grants.
    pub permissions: PermissionSet,
    /// When it was made; `None` for a built-in role.
    pub created_at: Option<Timestamp>,
    /// Changes so far; 0 for a built-in role.
    pub revision: u64,
}

impl From<BuiltinRole> for RoleRecord {
    fn from(role: BuiltinRole) -> Self {
        Self {
            name: role.name().to_owned(),
            description: role.description().to_owned(),
            permissions: role.permissions().clone(),
            created_at: None,
            revision: 0,
        }
    }
}

impl From<Role> for RoleRecord {
    fn from(role: Role) -> Self {
        Self {
            name: role.name.to_string(),
            description: role.description,
            permissions: role.permissions,
            created_at: Some(role.created_at),
            revision: role.revision,
        }
    }
}

impl Engine {
    /// Makes a role. It cannot grant more than its maker has.
    pub async fn create_role(
        &self,
        permit: Permit<'_, ManageRoles>,
        spec: RoleSpec,
    ) -> Result<RoleRecord, Error> {
        if BuiltinRole::named(spec.name.as_str()).is_some() {
            return Err(Error::AlreadyExists(Kind::Role));
        }
        self.check_grant(&permit, &spec.permissions).await?;
        let now = self.now();
        let role = Role {
            name: spec.name,
            description: spec.description,
            permissions: spec.permissions,
            created_at: now,
            revision: 1,
        };
        let mut entry = permit.entry(now, Target::new("role", &role.name));
        entry.action = "role.create".into();
        entry.details.insert("permissions".to_owned(), role.permissions.to_strings().into());
        let change = Change::CreateRole(role.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(role.into())
    }

    /// All roles: the built-in ones, then the project's own by name.
    pub async fn roles(&self, permit: Permit<'_, ReadRoles>) -> Result<Vec<RoleRecord>, Error> {
        let own = self.store.roles(permit.project()).await?;
        let builtin = BuiltinRole::ALL.into_iter().map(RoleRecord::from);
        Ok(builtin.chain(own.into_iter().map(RoleRecord::from)).collect())
    }

    /// One role.
    pub async fn role(
        &self,
        permit: Permit<'_, ReadRoles>,
        name: &RoleName,
    ) -> Result<RoleRecord, Error> {
        if let Some(builtin) = BuiltinRole::named(name.as_str()) {
            return Ok(builtin.into());
        }
        let found = self.store.role(permit.project(), name).await?;
        found.map(RoleRecord::from).ok_or(Error::NotFound(Kind::Role))
    }

    /// Changes a role; keys that carry it follow before this returns.
    pub async fn update_role(
        &self,
        permit: Permit<'_, ManageRoles>,
        name: &RoleName,
        change: RoleChange,
    ) -> Result<RoleRecord, Error> {
        let found = self.store.role(permit.project(), name).await?;
        let mut role = found.ok_or(Error::NotFound(Kind::Role))?;
        let old = role.clone();
        let mut entry = permit.entry(self.now(), Target::new("role", name));
        entry.action = "role.update".into();
        if let Some(permissions) = change.permissions {
            self.check_grant(&permit, &permissions).await?;
            entry.details.insert("was".to_owned(), role.permissions.to_strings().into());
            entry.details.insert("permissions".to_owned(), permissions.to_strings().into());
            role.permissions = permissions;
        }
        role.description = change.description.unwrap_or(role.description);
        if role == old {
            return Ok(role.into());
        }
        role.revision += 1;
        let change = Change::UpdateRole(role.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(role.into())
    }

    /// Removes a role that no key carries.
    pub async fn delete_role(
        &self,
        permit: Permit<'_, ManageRoles>,
        name: RoleName,
    ) -> Result<(), Error> {
        let mut entry = permit.entry(self.now(), Target::new("role", &name));
        entry.action = "role.delete".into();
        self.begin(permit.project()).with(Change::DeleteRole(name)).commit(entry).await?;
        Ok(())
    }

    /// Refuses, and records, a grant of more than the caller has.
    pub(crate) async fn check_grant<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        permissions: &PermissionSet,
    ) -> Result<(), Error> {
        let missing = Self::beyond_caller(permit, permissions);
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.refuse_escalation(permit, missing).await)
    }

    /// What of the permissions the caller lacks.
    pub(crate) fn beyond_caller<A: Action>(
        permit: &Permit<'_, A>,
        permissions: &PermissionSet,
    ) -> Vec<String> {
        let beyond = |permission: &&keyreeve_core::permission::Permission| {
            !permit.caller().covers(permission.as_str())
        };
        permissions.iter().filter(beyond).map(ToString::to_string).collect()
    }
}
