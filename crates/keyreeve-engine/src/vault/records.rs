//! Every record of the vault, in memory.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use keyreeve_core::{
    Invalid,
    model::Revision,
    name::ProjectName,
    vault::{Capabilities, Capability, EnvelopeError, Keyring, PathRule, VaultPolicy},
};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::rewrap::is_tagged;
use crate::store::{RecordKind, VaultRecord};

/// What a record says, of the type that its kind is read as.
type Parsed = Arc<dyn Any + Send + Sync>;

/// A record, and what it says once it was found untouched.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) record: Arc<VaultRecord>,
    parsed: OnceLock<Parsed>,
    policy: OnceLock<Arc<VaultPolicy>>,
}

/// A policy as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredPolicy {
    pub(super) text: String,
    pub(super) rules: Vec<StoredRule>,
}

/// A rule as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRule {
    pub(super) path: String,
    pub(super) capabilities: Vec<String>,
}

impl StoredPolicy {
    fn policy(self, name: &str) -> Result<VaultPolicy, Invalid> {
        let rule = |rule: StoredRule| {
            let capabilities = rule.capabilities.iter().map(|it| it.parse::<Capability>());
            let capabilities = capabilities.collect::<Result<Capabilities, Invalid>>()?;
            Ok(PathRule { pattern: rule.path.parse()?, capabilities })
        };
        let rules = self.rules.into_iter().map(rule).collect::<Result<_, Invalid>>()?;
        VaultPolicy::new(name.parse()?, rules, self.text)
    }
}

impl Known {
    pub(super) fn new(record: Arc<VaultRecord>) -> Self {
        Self { record, parsed: OnceLock::new(), policy: OnceLock::new() }
    }

    /// What it says as a policy.
    pub(super) fn policy(
        &self,
        project: &ProjectName,
        keyring: &Keyring,
    ) -> Result<Arc<VaultPolicy>, EnvelopeError> {
        if let Some(policy) = self.policy.get() {
            return Ok(policy.clone());
        }
        let stored: StoredPolicy = read(&self.record, project, keyring)?;
        let policy = stored.policy(&self.record.id).map_err(|_| EnvelopeError::Malformed)?;
        Ok(self.policy.get_or_init(|| Arc::new(policy)).clone())
    }

    /// What it says. The tag is looked at once for each record that is held.
    pub(super) fn parsed<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        project: &ProjectName,
        keyring: &Keyring,
    ) -> Result<Arc<T>, EnvelopeError> {
        let parsed = if let Some(parsed) = self.parsed.get() {
            parsed.clone()
        } else {
            let parsed: Parsed = Arc::new(read::<T>(&self.record, project, keyring)?);
            self.parsed.get_or_init(|| parsed).clone()
        };
        // A kind of record is always read as one type.
        parsed.downcast().map_err(|_| EnvelopeError::Malformed)
    }
}

/// What a record says, if it is as the vault wrote it.
pub(super) fn read<T: DeserializeOwned>(
    record: &VaultRecord,
    project: &ProjectName,
    keyring: &Keyring,
) -> Result<T, EnvelopeError> {
    check(record, project, keyring)?;
    serde_json::from_str(&record.body).map_err(|_| EnvelopeError::Malformed)
}

/// Whether a record is as the vault wrote it.
pub(super) fn check(
    record: &VaultRecord,
    project: &ProjectName,
    keyring: &Keyring,
) -> Result<(), EnvelopeError> {
    let revision = record.revision.to_be_bytes();
    keyring.check_tag(record.key, &authenticated(record, project, &revision), &record.tag)
}

/// Everything of a record that its tag stands for.
pub(super) fn authenticated<'r>(
    record: &'r VaultRecord,
    project: &'r ProjectName,
    revision: &'r [u8; 8],
) -> [&'r [u8]; 5] {
    let (kind, body) = (record.kind.as_str(), record.body.as_str());
    let [project, kind, id, body] = [project.as_str(), kind, &record.id, body].map(str::as_bytes);
    [project, kind, id, revision, body]
}

type OfKind = BTreeMap<Arc<str>, Arc<Known>>;

/// Records by project, kind and id.
#[derive(Debug, Default)]
pub(super) struct RecordTable {
    projects: RwLock<HashMap<ProjectName, HashMap<RecordKind, OfKind>>>,
    /// The revision of the keyring, looked at with every use of the keys.
    keyring: AtomicU64,
    /// How many changes of secrets there were.
    secret_changes: AtomicU64,
}

impl RecordTable {
    /// Takes a record as it is now. One that is older than what is known changes nothing.
    pub(super) fn put(&self, project: &ProjectName, record: Arc<VaultRecord>) {
        let mut projects = self.projects.write();
        if record.kind == RecordKind::Secret {
            // Under the lock: who sees the number sees the change.
            self.secret_changes.fetch_add(1, Ordering::AcqRel);
        }
        let kinds = projects.entry(project.clone()).or_default();
        let records = kinds.entry(record.kind).or_default();
        let newer = |known: &Arc<Known>| known.record.revision > record.revision;
        if !records.get(&record.id).is_some_and(newer) {
            if record.kind == RecordKind::Keyring {
                self.keyring.store(record.revision, Ordering::Release);
            }
            records.insert(record.id.clone(), Arc::new(Known::new(record)));
        }
    }

    /// The revision of the keyring; 0 while there is none.
    pub(super) fn keyring_revision(&self) -> Revision {
        self.keyring.load(Ordering::Acquire)
    }

    /// At most `limit` records whose tag was made by another key than this one.
    pub(super) fn under_other_keys(
        &self,
        key: u32,
        limit: usize,
    ) -> Vec<(ProjectName, Arc<VaultRecord>)> {
        let projects = self.projects.read();
        let all = projects.iter().flat_map(|(project, kinds)| {
            let records = kinds.values().flat_map(BTreeMap::values);
            records.map(move |known| (project, &known.record))
        });
        let older = all.filter(|(_, record)| is_tagged(record.kind) && record.key != key);
        older.take(limit).map(|(project, record)| (project.clone(), record.clone())).collect()
    }

    /// How many changes of secrets there were so far, to tell whether there was another.
    pub(super) fn secret_changes(&self) -> u64 {
        self.secret_changes.load(Ordering::Acquire)
    }

    pub(super) fn remove(&self, project: &ProjectName, kind: RecordKind, id: &str) {
        let mut projects = self.projects.write();
        if kind == RecordKind::Secret {
            self.secret_changes.fetch_add(1, Ordering::AcqRel);
        }
        let records = projects.get_mut(project).and_then(|kinds| kinds.get_mut(&kind));
        if let Some(records) = records {
            records.remove(id);
        }
    }

    /// Whether there is no record of any project.
    pub(super) fn is_empty(&self) -> bool {
        let projects = self.projects.read();
        projects.values().flat_map(HashMap::values).all(BTreeMap::is_empty)
    }

    pub(super) fn get(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
    ) -> Option<Arc<Known>> {
        self.projects.read().get(project)?.get(&kind)?.get(id).cloned()
    }

    /// What somebody makes of a record. It is not kept beyond that: to count who holds it is dear where
    /// all cores use the same one. Nobody may look for another record meanwhile.
    pub(super) fn look<T>(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        id: &str,
        look: impl FnOnce(&Known) -> T,
    ) -> Option<T> {
        self.projects.read().get(project)?.get(&kind)?.get(id).map(|known| look(known))
    }

    /// The records of that kind and id, of every project that has one.
    pub(super) fn named(&self, kind: RecordKind, id: &str) -> Vec<(ProjectName, Arc<Known>)> {
        let projects = self.projects.read();
        let named = projects.iter().filter_map(|(project, kinds)| {
            Some((project.clone(), kinds.get(&kind)?.get(id)?.clone()))
        });
        named.collect()
    }

    /// A record of whichever project.
    pub(super) fn find(&self, kind: RecordKind, id: &str) -> Option<(ProjectName, Arc<Known>)> {
        self.projects.read().iter().find_map(|(project, kinds)| {
            Some((project.clone(), kinds.get(&kind)?.get(id)?.clone()))
        })
    }

    /// How many records of a kind a project has.
    pub(super) fn count(&self, project: &ProjectName, kind: RecordKind) -> usize {
        let projects = self.projects.read();
        projects.get(project).and_then(|kinds| kinds.get(&kind)).map_or(0, BTreeMap::len)
    }

    /// All records of a kind, of every project.
    pub(super) fn everywhere(&self, kind: RecordKind) -> Vec<(ProjectName, Arc<Known>)> {
        let projects = self.projects.read();
        let of_kind =
            projects.iter().filter_map(|(project, kinds)| Some((project, kinds.get(&kind)?)));
        of_kind
            .flat_map(|(project, records)| records.values().map(|it| (project.clone(), it.clone())))
            .collect()
    }

    /// At most `limit` records whose id begins so, from `from` on, in the order of their ids.
    pub(super) fn beginning_with(
        &self,
        project: &ProjectName,
        kind: RecordKind,
        prefix: &str,
        from: Bound<&str>,
        limit: usize,
    ) -> Vec<Arc<Known>> {
        let projects = self.projects.read();
        let Some(records) = projects.get(project).and_then(|kinds| kinds.get(&kind)) else {
            return Vec::new();
        };
        let begin = match from {
            Bound::Unbounded => Bound::Included(prefix),
            other => other,
        };
        let records = records.range::<str, _>((begin, Bound::Unbounded));
        let records = records.take_while(|(id, _)| id.starts_with(prefix));
        records.take(limit).map(|(_, known)| known.clone()).collect()
    }

    /// All records of a kind.
    pub(super) fn all(&self, project: &ProjectName, kind: RecordKind) -> Vec<Arc<Known>> {
        self.beginning_with(project, kind, "", Bound::Unbounded, usize::MAX)
    }
}
