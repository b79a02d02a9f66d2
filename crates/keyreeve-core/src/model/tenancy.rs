//! What stands around keys: projects, environments, owners, roles.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Metadata, Policy, Revision};
use crate::{
    key::EnvTag,
    name::{EnvironmentName, Label, OwnerId, ProjectName, RoleName},
    permission::PermissionSet,
};

/// A tenant. Everything below starts from one.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// Its name, unique on the installation.
    pub name: ProjectName,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One of a project's stages, such as `production`.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Its name within the project.
    pub name: EnvironmentName,
    /// Whether its keys act on real data.
    pub tag: EnvTag,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Environment {
    /// The environments every project starts with.
    pub const DEFAULTS: [(&'static str, EnvTag); 4] = [
        ("development", EnvTag::Test),
        ("staging", EnvTag::Test),
        ("pilot", EnvTag::Live),
        ("production", EnvTag::Live),
    ];
}

/// The outside identity that keys belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// The team's own id for it.
    pub id: OwnerId,
    /// What people call it.
    pub name: Option<Label>,
    /// Anything the team wants back with a verdict.
    pub metadata: Metadata,
    /// What bounds the use of its keys, all together.
    pub policy: Arc<Policy>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// Stored changes so far.
    pub revision: Revision,
}

/// A named set of permissions of the project's own making.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Its name within the project.
    pub name: RoleName,
    /// One line for people.
    pub description: String,
    /// What it grants.
    pub permissions: PermissionSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// Stored changes so far.
    pub revision: Revision,
}
