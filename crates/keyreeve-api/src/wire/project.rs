//! Projects.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CreatedApiKeyView;

/// Makes a project with its first admin key. Admins of the default project may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProjectRequest {
    /// 1 to 64 characters of a-z, 0-9, '-', '_'.
    pub name: String,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectView {
    /// Its name, unique on the installation.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A new project and its first key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CreatedProjectView {
    /// The project.
    pub project: ProjectView,
    /// A key with the role `admin` in it.
    pub admin_key: CreatedApiKeyView,
}
