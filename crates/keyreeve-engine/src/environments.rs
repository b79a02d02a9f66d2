//! Environments.

use keyreeve_core::{audit::Target, key::EnvTag, model::Environment, name::EnvironmentName};

use crate::{
    Engine, Error, Permit,
    action::{ManageEnvironments, ReadEnvironments},
    store::Change,
};

/// What a new environment is to be.
#[derive(Clone, Debug)]
pub struct EnvironmentSpec {
    /// Its name.
    pub name: EnvironmentName,
    /// Live or test.
    pub tag: EnvTag,
}

impl Engine {
    /// Makes an environment.
    pub async fn create_environment(
        &self,
        permit: Permit<'_, ManageEnvironments>,
        spec: EnvironmentSpec,
    ) -> Result<Environment, Error> {
        let now = self.now();
        let environment = Environment { name: spec.name, tag: spec.tag, created_at: now };
        let mut entry = permit.entry(now, Target::new("environment", &environment.name));
        entry.action = "environment.create".into();
        let change = Change::CreateEnvironment(environment.clone());
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(environment)
    }

    /// All environments of the project, by name.
    pub async fn environments(
        &self,
        permit: Permit<'_, ReadEnvironments>,
    ) -> Result<Vec<Environment>, Error> {
        Ok(self.store.environments(permit.project()).await?)
    }

    /// Removes an environment that has no keys.
    pub async fn delete_environment(
        &self,
        permit: Permit<'_, ManageEnvironments>,
        name: EnvironmentName,
    ) -> Result<(), Error> {
        let mut entry = permit.entry(self.now(), Target::new("environment", &name));
        entry.action = "environment.delete".into();
        let change = Change::DeleteEnvironment(name);
        self.begin(permit.project()).with(change).commit(entry).await?;
        Ok(())
    }
}
