//! A sink that writes down what it sees.

use keyreeve_core::name::ProjectName;
use keyreeve_engine::store::{Change, ChangeSink, QuotaClaim};
use parking_lot::Mutex;

/// Everything a store told it, one line each.
#[derive(Default)]
pub(super) struct Recorder {
    seen: Mutex<Vec<String>>,
    /// Whether keys that are found by their ids need not be told of.
    reads_keys: bool,
}

impl Recorder {
    /// One that reads keys when it needs them.
    pub(super) fn that_reads_keys() -> Self {
        Self { reads_keys: true, ..Self::default() }
    }

    /// What was seen so far; begins anew.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock())
    }
}

impl ChangeSink for Recorder {
    fn apply(&self, project: &ProjectName, change: &Change) {
        self.seen.lock().push(format!("{project}: {}", said(change)));
    }

    fn wants_all_keys(&self) -> bool {
        !self.reads_keys
    }

    fn advance(&self, epoch: u64) {
        self.seen.lock().push(format!("epoch {epoch}"));
    }

    fn lost(&self) {
        self.seen.lock().push("lost".to_owned());
    }
}

fn said(change: &Change) -> String {
    match change {
        Change::CreateProject(new) => format!("create project {}", new.name),
        Change::CreateEnvironment(new) => format!("create environment {}", new.name),
        Change::DeleteEnvironment(name) => format!("delete environment {name}"),
        Change::CreateKeyspace(new) => format!("create keyspace {}", new.name),
        Change::UpdateKeyspace(new) => format!("update keyspace {}", new.name),
        Change::DeleteKeyspace(name) => format!("delete keyspace {name}"),
        Change::CreateOwner(new) => format!("create owner {}", new.id),
        Change::EnsureOwner(new) => format!("ensure owner {}", new.id),
        Change::UpdateOwner(new) => format!("update owner {}", new.id),
        Change::DeleteOwner(id) => format!("delete owner {id}"),
        Change::CreateRole(new) => format!("create role {}", new.name),
        Change::UpdateRole(new) => format!("update role {}", new.name),
        Change::DeleteRole(name) => format!("delete role {name}"),
        Change::CreateKey(new) => format!("create key {} at {}", new.id, new.revision),
        Change::UpdateKey(new) => format!("update key {} at {}", new.id, new.revision),
        Change::PurgeKey { id, .. } => format!("purge key {id}"),
        Change::RecogniseKey { id, .. } => format!("recognise key {id}"),
        Change::ClaimQuota(claims) | Change::SettleQuota(claims) => {
            let claim =
                |claim: &QuotaClaim| format!("{:?} {}", claim.subject, claim.stored.claimed);
            let all: Vec<String> = claims.iter().map(claim).collect();
            format!("quota of {}", all.join(", "))
        }
        Change::AddUsage(deltas) => format!("add usage of {}", deltas.len()),
        Change::AddCalls(batch) => format!("add {} calls", batch.calls),
        Change::ForgetCallsBefore(_) => "forget calls".to_owned(),
        Change::AcceptEvent { event, .. } => format!("accept event {}", event.id),
        Change::EndEvents { source, .. } => format!("end events of {source}"),
        Change::StepEvents(steps) => format!("step {} events", steps.len()),
        Change::ForgetEventsBefore(_) => "forget events".to_owned(),
        Change::RememberResult(_) => "remember a result".to_owned(),
        Change::ForgetResultsBefore(_) => "forget results".to_owned(),
        Change::OnDuty(term) => format!("on duty {}", term.duty),
        Change::PutRecord(new) => format!("put {} {}", new.kind.as_str(), new.id),
        Change::DeleteRecord { kind, id, .. } => format!("delete {} {id}", kind.as_str()),
        Change::PutSealed(row) => format!("put version {} of {}", row.version, row.secret),
        Change::MoveSealed { row, .. } => format!("move version {} of {}", row.version, row.secret),
        Change::DropSealed { secret, .. } => format!("drop versions of {secret}"),
    }
}
