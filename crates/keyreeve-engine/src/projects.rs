//! Projects.

use keyreeve_core::{audit::Target, model::Project, name::ProjectName};

use crate::{
    Engine, Error, FirstKey, Permit,
    action::{ManageProjects, ReadProjects},
};

/// A new project and its first key.
#[derive(Debug)]
pub struct CreatedProject {
    /// The project.
    pub project: Project,
    /// A key with the role admin in it.
    pub first_key: FirstKey,
}

impl Engine {
    /// Makes a project with default environments, a default keyspace and an admin key.
    pub async fn create_project(
        &self,
        permit: Permit<'_, ManageProjects>,
        name: ProjectName,
    ) -> Result<CreatedProject, Error> {
        let now = self.now();
        let actor = permit.actor();
        let first_key = FirstKey::make(&name, &actor, now, &*self.entropy, &self.digester)?;
        let mut entry = permit.entry(now, Target::new("project", &name));
        entry.project = name.clone();
        entry.action = "project.create".into();
        entry.details.insert("admin_key".to_owned(), first_key.key.id.to_string().into());
        first_key.with_project(self.begin(&name), &name, now)?.commit(entry).await?;
        Ok(CreatedProject { project: Project { name, created_at: now }, first_key })
    }

    /// All projects, by name.
    pub async fn projects(&self, _permit: Permit<'_, ReadProjects>) -> Result<Vec<Project>, Error> {
        Ok(self.store.projects().await?)
    }
}
