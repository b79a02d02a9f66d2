//! What a case gets, and what comes of it.

use std::{error::Error, fmt, panic::Location, pin::Pin, sync::Arc};

use keyreeve_core::{
    audit::{AuditEntry, CheckpointVerifier, LogVerifier, Report},
    key::KeyId,
    model::ApiKey,
    name::ProjectName,
};
use keyreeve_engine::store::{
    Change, CommitError, KeyFilter, PageRequest, Receipt, Store, StoreError, StoredKey, begin,
};

use super::samples;

/// A case and its name.
pub type Case = (&'static str, fn(Harness) -> CaseFuture);
/// A case under way.
pub type CaseFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;
/// What comes of a case, if no assertion of it fails.
pub type Outcome = Result<(), Failure>;

/// An error that a case did not expect, and where it came up.
pub struct Failure {
    place: &'static Location<'static>,
    error: Box<dyn Error + Send + Sync>,
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self { place: Location::caller(), error: Box::new(error) }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.place, self.error)
    }
}

/// A store to be tried, and the key that its audit is checked with.
#[derive(Clone)]
pub struct Harness {
    pub(super) store: Arc<dyn Store>,
    pub(super) verifier: CheckpointVerifier,
}

impl Harness {
    /// `store` must be empty.
    pub fn new(store: Arc<dyn Store>, verifier: CheckpointVerifier) -> Self {
        Self { store, verifier }
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Commits changes under an entry that says nothing.
    pub async fn commit(
        &self,
        project: &ProjectName,
        changes: Vec<Change>,
    ) -> Result<Receipt, CommitError> {
        self.record(project, changes, samples::entry(project, "test.change")).await
    }

    /// Commits changes under this entry.
    pub async fn record(
        &self,
        project: &ProjectName,
        changes: Vec<Change>,
        entry: AuditEntry,
    ) -> Result<Receipt, CommitError> {
        let mut tx = begin(&*self.store, project);
        for change in changes {
            tx = tx.with(change);
        }
        tx.commit(entry).await
    }

    /// Makes a project with the environments `production` and `staging` and the keyspace
    /// `default`.
    pub async fn project(&self, name: &str) -> Result<ProjectName, Failure> {
        let project = samples::project(name)?;
        let name = project.name.clone();
        let changes = vec![
            Change::CreateProject(project),
            Change::CreateEnvironment(samples::environment("production")?),
            Change::CreateEnvironment(samples::environment("staging")?),
            Change::CreateKeyspace(samples::keyspace("default")?),
        ];
        self.commit(&name, changes).await?;
        Ok(name)
    }

    /// Stores keys, many in one unit, each in its own project.
    pub async fn create_keys(&self, keys: &[ApiKey]) -> Result<(), Failure> {
        for keys in keys.chunk_by(|one, next| one.project == next.project) {
            let changes = keys.iter().map(|key| Change::CreateKey(Box::new(key.clone())));
            self.commit(&keys[0].project, changes.collect()).await?;
        }
        Ok(())
    }

    /// The ids of all keys that match, in the order of the list.
    pub async fn ids(
        &self,
        project: &ProjectName,
        filter: &KeyFilter,
    ) -> Result<Vec<KeyId>, Failure> {
        Ok(self.all_keys(project, filter, PageRequest::MOST).await?.iter().map(id_of).collect())
    }

    /// All keys that match, read in pages of this many.
    pub(super) async fn all_keys(
        &self,
        project: &ProjectName,
        filter: &KeyFilter,
        per_page: u32,
    ) -> Result<Vec<StoredKey>, StoreError> {
        let mut page = PageRequest::first(per_page);
        let mut found = Vec::new();
        loop {
            let list = self.store.keys(project, filter, &page).await?;
            assert!(list.items.len() <= per_page as usize, "a page is too long");
            assert!(list.next.is_none() || !list.items.is_empty(), "an empty page has a next");
            found.extend(list.items);
            match list.next {
                Some(next) => page.after = Some(next),
                None => return Ok(found),
            }
        }
    }

    /// Checks the whole audit log as an auditor does.
    pub async fn verify_log(&self) -> Result<Report, Failure> {
        let mut heads = Vec::new();
        for note in self.store.checkpoints().await? {
            heads.push(self.verifier.verify(&note)?);
        }
        let mut verifier = LogVerifier::new(heads);
        let mut first = 0;
        loop {
            let records = self.store.audit_log(first, 500).await?;
            let Some(last) = records.last() else {
                return Ok(verifier.finish());
            };
            first = last.seq + 1;
            for record in &records {
                verifier.entry(record.seq, &record.bytes, Some(&record.leaf));
            }
        }
    }

    /// The stored key; that there is one is part of the case.
    pub(super) async fn key(&self, project: &ProjectName, id: KeyId) -> Result<StoredKey, Failure> {
        let found = self.store.key(project, id).await?;
        Ok(found.ok_or_else(|| StoreError::Damaged(format!("key {id} is not there")))?)
    }
}

fn id_of(stored: &StoredKey) -> KeyId {
    stored.key.id
}
