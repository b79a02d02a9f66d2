//! The log of changes: what other nodes have to learn of.
//!
//! An entry names what changed and does not hold it. Whoever reads the log reads the thing itself
//! as it is by then, which may be newer than the entry and is never older: so nobody's table can be
//! taken back to an earlier state, in whatever order things come together. Claims of quotas are the
//! exception: there the order is what counts, and the log is in order.

use std::{collections::HashMap, str::FromStr};

use jiff::Timestamp;
use keyreeve_core::{key::KeyId, model::ApiKey, name::ProjectName, quota::Stored};
use keyreeve_engine::store::{Change, QuotaClaim, QuotaSubject, RecordKind};

use crate::{
    millis,
    sql::{
        failure::Broken,
        keys, query,
        session::{Session, Value, values},
        tenancy, vault,
    },
};

/// Epochs whose entries are kept. A node that missed more has to start anew.
pub(super) const KEPT_EPOCHS: u64 = 1_000_000;
/// How often older ones are looked for, in epochs.
const TRIM_EVERY: u64 = 4_096;
/// Entries written by one statement.
const ROWS_AT_ONCE: usize = 64;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) epoch: u64,
    project: ProjectName,
    verb: String,
    subject: String,
    /// The revision that was purged, or what is claimed of a quota.
    number: u64,
    /// Which node did it, and of which period, if it is about a quota.
    node: String,
    period_ms: (i64, i64),
}

/// Stands for a period that never ends.
const NEVER_MS: i64 = i64::MAX;

impl Entry {
    /// The entry for a change; `None` for one that other nodes need not know of.
    pub(super) fn of(epoch: u64, project: &ProjectName, change: &Change) -> Option<Self> {
        let named;
        let (verb, subject) = match change {
            Change::CreateProject(new) => ("create-project", new.name.as_str()),
            Change::CreateEnvironment(new) => ("create-environment", new.name.as_str()),
            Change::DeleteEnvironment(name) => ("delete-environment", name.as_str()),
            Change::CreateKeyspace(new) => ("create-keyspace", new.name.as_str()),
            Change::UpdateKeyspace(new) => ("update-keyspace", new.name.as_str()),
            Change::DeleteKeyspace(name) => ("delete-keyspace", name.as_str()),
            Change::CreateOwner(new) => ("create-owner", new.id.as_str()),
            Change::EnsureOwner(new) => ("ensure-owner", new.id.as_str()),
            Change::UpdateOwner(new) => ("update-owner", new.id.as_str()),
            Change::DeleteOwner(id) => ("delete-owner", id.as_str()),
            Change::CreateRole(new) => ("create-role", new.name.as_str()),
            Change::UpdateRole(new) => ("update-role", new.name.as_str()),
            Change::DeleteRole(name) => ("delete-role", name.as_str()),
            Change::CreateKey(new) => ("create-key", new.id.as_str()),
            Change::UpdateKey(new) => ("update-key", new.id.as_str()),
            Change::PurgeKey { id, .. } => ("purge-key", id.as_str()),
            Change::RecogniseKey { id, .. } => ("recognise-key", id.as_str()),
            Change::PutRecord(new) => {
                named = format!("{} {}", new.kind.as_str(), new.id);
                ("put-record", named.as_str())
            }
            Change::DeleteRecord { kind, id, .. } => {
                named = format!("{} {id}", kind.as_str());
                ("delete-record", named.as_str())
            }
            // Whoever reads a version reads it from the database.
            Change::PutSealed(_)
            | Change::MoveSealed { .. }
            | Change::DropSealed { .. }
            | Change::ClaimQuota(_)
            | Change::SettleQuota(_)
            | Change::AddUsage(_)
            | Change::AddCalls(_)
            | Change::ForgetCallsBefore(_)
            | Change::AcceptEvent { .. }
            | Change::StepEvents(_)
            | Change::EndEvents { .. }
            | Change::ForgetEventsBefore(_)
            | Change::RememberResult(_)
            | Change::ForgetResultsBefore(_)
            | Change::OnDuty(_) => return None,
        };
        let number = match change {
            Change::PurgeKey { revision, .. } | Change::DeleteRecord { revision, .. } => *revision,
            _ => 0,
        };
        Some(Self {
            epoch,
            project: project.clone(),
            verb: verb.to_owned(),
            subject: subject.to_owned(),
            number,
            node: String::new(),
            period_ms: (0, 0),
        })
    }

    /// The entry for what is claimed of a quota since that node claimed or gave back. It holds the
    /// figure itself: who may spend which part of a sum is told by the order of the claims.
    pub(super) fn of_quota(
        epoch: u64,
        project: &ProjectName,
        node: &str,
        claim: &QuotaClaim,
    ) -> Self {
        let (verb, subject) = match &claim.subject {
            QuotaSubject::Lineage(id) => ("quota-of-lineage", id.as_str()),
            QuotaSubject::Owner(id) => ("quota-of-owner", id.as_str()),
        };
        let Stored { period_start, period_end, claimed } = claim.stored;
        Self {
            epoch,
            project: project.clone(),
            verb: verb.to_owned(),
            subject: subject.to_owned(),
            number: claimed,
            node: node.to_owned(),
            period_ms: (millis::floor(period_start), period_end.map_or(NEVER_MS, millis::floor)),
        }
    }

    /// What is claimed of a quota since, and by which node, if that is what it is about.
    pub(super) fn quota(&self) -> Result<Option<(&ProjectName, &str, QuotaClaim)>, Broken> {
        let subject = match self.verb.as_str() {
            "quota-of-lineage" => QuotaSubject::Lineage(self.name()?),
            "quota-of-owner" => QuotaSubject::Owner(self.name()?),
            _ => return Ok(None),
        };
        let at = |ms: i64| {
            Timestamp::from_millisecond(ms).map_err(|_| Broken::damaged("the period of a quota"))
        };
        let (start, end) = self.period_ms;
        let period_end = if end == NEVER_MS { None } else { Some(at(end)?) };
        let stored = Stored { period_start: at(start)?, period_end, claimed: self.number };
        Ok(Some((&self.project, &self.node, QuotaClaim { subject, stored, known: 0 })))
    }

    fn is_about_a_key(&self) -> bool {
        matches!(self.verb.as_str(), "create-key" | "update-key" | "recognise-key")
    }

    /// The record of the vault that it is about.
    fn record(&self) -> Result<(RecordKind, &str), Broken> {
        let parts = self.subject.split_once(' ');
        let named = parts.and_then(|(kind, id)| Some((RecordKind::from_stored(kind)?, id)));
        named.ok_or_else(|| Broken::damaged(format!("the change of epoch {}", self.epoch)))
    }

    fn name<T: FromStr>(&self) -> Result<T, Broken> {
        let Self { epoch, verb, .. } = self;
        let damaged = |_| Broken::damaged(format!("the change {verb} of epoch {epoch}"));
        self.subject.parse().map_err(damaged)
    }
}

/// Stores the entries of a batch: of the epochs after `before`, up to and with `newest`. Drops those
/// that are older than need be.
pub(super) fn write(
    session: &mut dyn Session,
    entries: &[Entry],
    before: u64,
    newest: u64,
) -> Result<(), Broken> {
    let mut ordinals = 0_i64..;
    for entries in entries.chunks(ROWS_AT_ONCE) {
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; entries.len()].join(", ");
        let sql = format!(
            "INSERT INTO changes (epoch, ordinal, project, verb, subject, number, node,
                 period_start, period_end) VALUES {rows}"
        );
        let mut values: Vec<Value<'_>> = Vec::with_capacity(entries.len() * 9);
        for (entry, ordinal) in entries.iter().zip(&mut ordinals) {
            values.extend(values![
                query::count(entry.epoch),
                ordinal,
                entry.project.as_str(),
                &entry.verb,
                &entry.subject,
                query::count(entry.number),
                &entry.node,
                entry.period_ms.0,
                entry.period_ms.1,
            ]);
        }
        session.execute(&sql, &values)?;
    }
    if newest / TRIM_EVERY != before / TRIM_EVERY && newest > KEPT_EPOCHS {
        let sql = "DELETE FROM changes WHERE epoch <= ?1";
        session.execute(sql, &values![query::count(newest - KEPT_EPOCHS)])?;
    }
    Ok(())
}

/// The entries of the epochs after `after`, up to and with `until`.
pub(super) fn read(
    session: &mut dyn Session,
    after: u64,
    until: u64,
) -> Result<Vec<Entry>, Broken> {
    let sql = "SELECT epoch, project, verb, subject, number, node, period_start, period_end
               FROM changes WHERE epoch > ?1 AND epoch <= ?2 ORDER BY epoch, ordinal";
    query::all(session, sql, &values![query::count(after), query::count(until)], |columns| {
        Ok(Entry {
            epoch: columns.count()?,
            project: columns.parsed()?,
            verb: columns.text()?.to_owned(),
            subject: columns.text()?.to_owned(),
            number: columns.count()?,
            node: columns.text()?.to_owned(),
            period_ms: (columns.number()?, columns.number()?),
        })
    })
}

/// What stands in the database of what the entries name.
pub(super) struct Present {
    keys: HashMap<KeyId, ApiKey>,
}

impl Present {
    /// Reads all keys that are named.
    pub(super) fn of(session: &mut dyn Session, entries: &[Entry]) -> Result<Self, Broken> {
        let named = entries.iter().filter(|entry| entry.is_about_a_key());
        let mut ids: Vec<KeyId> = named.map(Entry::name).collect::<Result<_, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        let keys = keys::with_ids(session, &ids)?;
        Ok(Self { keys: keys.into_iter().map(|key| (key.id, key)).collect() })
    }

    /// The project and the change that an entry stands for by now; `None` if what it names is gone,
    /// which a later entry tells.
    pub(super) fn change(
        &self,
        session: &mut dyn Session,
        entry: &Entry,
    ) -> Result<Option<(ProjectName, Change)>, Broken> {
        let project = &entry.project;
        let key = || Ok::<_, Broken>(self.keys.get(&entry.name()?).cloned().map(Box::new));
        let change = match entry.verb.as_str() {
            "create-project" => {
                let name: ProjectName = entry.name()?;
                let mut projects = tenancy::projects(session)?.into_iter();
                projects.find(|project| project.name == name).map(Change::CreateProject)
            }
            "create-environment" => {
                let mut found = tenancy::environments(session, project)?.into_iter();
                let found = found.find(|environment| environment.name.as_str() == entry.subject);
                found.map(Change::CreateEnvironment)
            }
            "delete-environment" => Some(Change::DeleteEnvironment(entry.name()?)),
            "create-keyspace" => {
                tenancy::keyspace(session, project, &entry.name()?)?.map(Change::CreateKeyspace)
            }
            "update-keyspace" => {
                tenancy::keyspace(session, project, &entry.name()?)?.map(Change::UpdateKeyspace)
            }
            "delete-keyspace" => Some(Change::DeleteKeyspace(entry.name()?)),
            "create-owner" => {
                tenancy::owner(session, project, &entry.name()?)?.map(Change::CreateOwner)
            }
            "ensure-owner" => {
                tenancy::owner(session, project, &entry.name()?)?.map(Change::EnsureOwner)
            }
            "update-owner" => {
                tenancy::owner(session, project, &entry.name()?)?.map(Change::UpdateOwner)
            }
            "delete-owner" => Some(Change::DeleteOwner(entry.name()?)),
            "create-role" => {
                tenancy::role(session, project, &entry.name()?)?.map(Change::CreateRole)
            }
            "update-role" => {
                tenancy::role(session, project, &entry.name()?)?.map(Change::UpdateRole)
            }
            "delete-role" => Some(Change::DeleteRole(entry.name()?)),
            "create-key" => key()?.map(Change::CreateKey),
            "update-key" => key()?.map(Change::UpdateKey),
            "recognise-key" => {
                key()?.map(|key| Change::RecogniseKey { id: key.id, digest: key.digest })
            }
            "purge-key" => Some(Change::PurgeKey { id: entry.name()?, revision: entry.number }),
            "put-record" => {
                let (kind, id) = entry.record()?;
                let record = vault::record(session, project, kind, id)?;
                record.map(|record| Change::PutRecord(record.into()))
            }
            "delete-record" => {
                let (kind, id) = entry.record()?;
                Some(Change::DeleteRecord { kind, id: id.into(), revision: entry.number })
            }
            // Of a newer version of this program. What it means, only that one knows.
            verb => return Err(Broken::damaged(format!("the change {verb} is not known here"))),
        };
        Ok(change.map(|change| (project.clone(), change)))
    }
}
