//! Taking in what changed.

use std::sync::atomic::Ordering;

use keyreeve_core::name::ProjectName;

use super::LiveTable;
use crate::store::{Change, ChangeSink, QuotaClaim};

impl ChangeSink for LiveTable {
    fn apply(&self, project: &ProjectName, change: &Change) {
        match change {
            Change::CreateProject(created) => {
                self.project(&created.name);
            }
            Change::CreateKeyspace(keyspace) | Change::UpdateKeyspace(keyspace) => {
                self.project(project).keyspace(&keyspace.name).set(keyspace);
            }
            Change::DeleteKeyspace(name) => {
                self.project(project).keyspaces.pin().remove(name);
                self.forget_shapes_at_hand();
            }
            Change::EnsureOwner(owner) => {
                // Only a new owner takes this value; a known one keeps what it has.
                let project = self.project(project);
                if !project.owners.pin().contains_key(&owner.id) {
                    project.owner(&owner.id).set(owner);
                }
            }
            Change::CreateOwner(owner) | Change::UpdateOwner(owner) => {
                self.owner(project, &owner.id).set(owner);
            }
            Change::DeleteOwner(id) => {
                self.project(project).owners.pin().remove(id);
            }
            Change::CreateRole(role) | Change::UpdateRole(role) => self.put_role(project, role),
            Change::DeleteRole(name) => {
                self.project(project).roles.pin().remove(name);
                self.forget_shapes_at_hand();
            }
            Change::CreateKey(key) => self.put_key(key, true),
            Change::UpdateKey(key) => self.put_key(key, false),
            Change::RecogniseKey { id, digest } => self.recognise(id, *digest),
            Change::PurgeKey { id, .. } => self.remove_key(id),
            Change::ClaimQuota(claims) => {
                for claim in claims {
                    self.claim_quota(project, claim);
                }
            }
            // What is written at a stop, memory knows already.
            Change::SettleQuota(_)
            | Change::CreateEnvironment(_)
            | Change::DeleteEnvironment(_)
            | Change::AddUsage(_)
            | Change::AddCalls(_)
            | Change::ForgetCallsBefore(_)
            | Change::AcceptEvent { .. }
            | Change::StepEvents(_)
            | Change::EndEvents { .. }
            | Change::ForgetEventsBefore(_)
            | Change::RememberResult(_)
            | Change::ForgetResultsBefore(_)
            | Change::OnDuty(_)
            // The vault's affair.
            | Change::PutRecord(_)
            | Change::DeleteRecord { .. }
            | Change::PutSealed(_)
            | Change::MoveSealed { .. }
            | Change::DropSealed { .. } => {}
        }
    }

    fn wants_all_keys(&self) -> bool {
        self.residence.is_none()
    }

    fn advance(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }

    fn claimed_elsewhere(&self, project: &ProjectName, claim: &QuotaClaim) {
        if !self.follows(&claim.subject) {
            return;
        }
        self.counters_of(project, &claim.subject).quota.lock().claimed_elsewhere(claim.stored);
    }

    fn vouch(&self, as_of_ns: u64) {
        self.as_of_ns.store(as_of_ns, Ordering::Release);
    }

    fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }
}
