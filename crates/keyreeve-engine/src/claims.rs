//! Putting more of a quota on disk before it is spent.
//!
//! Claims that come together are written together: whoever gets to write takes along all that wait.

use std::sync::Arc;

use keyreeve_core::{
    audit::{Hash, Outcome, Target},
    name::ProjectName,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tracing::warn;

use crate::{
    Engine,
    store::{Change, QuotaClaim, QuotaSubject},
    verify::NeededClaim,
};

/// Claims written in one unit of work.
const MOST_IN_ONE: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct ClaimQueue {
    pending: Mutex<Vec<NeededClaim>>,
    writing: AsyncMutex<()>,
    wanted: Notify,
}

impl ClaimQueue {
    /// Asks for more before it is needed, so that no request has to wait for it.
    pub(crate) fn ahead(&self, claim: NeededClaim) {
        self.pending.lock().push(claim);
        self.wanted.notify_one();
    }
}

impl Engine {
    /// Makes claims durable. Returns whether all of them are.
    pub(crate) async fn claim_quota(&self, claims: Vec<NeededClaim>) -> bool {
        let wants_own = !claims.is_empty();
        self.claims.pending.lock().extend(claims.iter().cloned());
        let _writing = self.claims.writing.lock().await;
        // Most often somebody has taken ours along meanwhile. If they were dropped half-way, ours
        // are neither waiting nor written, so they are asked for again.
        let unwritten = |claim: &NeededClaim| !claim.counters.quota.lock().is_claimed(&claim.claim);
        let own: Vec<NeededClaim> = claims.into_iter().filter(unwritten).collect();
        if own.is_empty() && wants_own {
            return true;
        }
        let mut all = std::mem::take(&mut *self.claims.pending.lock());
        all.extend(own.iter().cloned());
        self.write_claims(all).await;
        // Whether others' were written is for them to know.
        !own.iter().any(unwritten)
    }

    /// Writes claims that were asked for ahead, for as long as it is polled.
    pub async fn serve_claims(&self) {
        loop {
            self.claims.wanted.notified().await;
            self.claim_quota(Vec::new()).await;
        }
    }

    async fn write_claims(&self, claims: Vec<NeededClaim>) {
        for (project, claims) in by_project(claims) {
            for some in claims.chunks(MOST_IN_ONE) {
                let rows = some.iter().map(row).collect();
                if let Err(error) = self.store_quota(&project, Change::ClaimQuota, rows).await {
                    warn!(%error, "a quota could not be claimed");
                    for claim in some {
                        claim.counters.quota.lock().claim_failed();
                    }
                }
            }
        }
    }

    /// As `settle_quotas`, for callers that can only go on. The last thing before the store is
    /// closed, when nothing is verified any more.
    pub async fn settle_quotas_or_log(&self) {
        if let Err(error) = self.settle_quotas().await {
            warn!(%error, "what was spent of quotas was not settled; they resume as claimed");
        }
    }

    /// Writes down what was really spent, at a graceful stop.
    async fn settle_quotas(&self) -> Result<(), crate::Error> {
        let _writing = self.claims.writing.lock().await;
        let now = self.now();
        let mut by_project: Vec<(ProjectName, Vec<QuotaClaim>)> = Vec::new();
        for (project, subject, counters) in self.live.all_counters() {
            let Some(stored) = counters.quota.lock().to_store(now) else { continue };
            let claim = QuotaClaim { subject, stored };
            match by_project.iter_mut().find(|(known, _)| *known == project) {
                Some((_, claims)) => claims.push(claim),
                None => by_project.push((project, vec![claim])),
            }
        }
        for (project, claims) in by_project {
            for some in claims.chunks(MOST_IN_ONE) {
                self.store_quota(&project, Change::SettleQuota, some.to_vec()).await?;
            }
        }
        Ok(())
    }

    async fn store_quota(
        &self,
        project: &ProjectName,
        change: impl FnOnce(Vec<QuotaClaim>) -> Change,
        rows: Vec<QuotaClaim>,
    ) -> Result<(), crate::Error> {
        let details = summary(&rows);
        let mut entry = self.system_entry(project, "quota", "quota.batch", details);
        entry.outcome = Outcome::Done;
        entry.target = Target::new("project", project);
        self.begin(project).with(change(rows)).commit(entry).await?;
        Ok(())
    }
}

fn row(claim: &NeededClaim) -> QuotaClaim {
    QuotaClaim { subject: claim.subject.clone(), stored: claim.claim.into() }
}

fn by_project(claims: Vec<NeededClaim>) -> Vec<(ProjectName, Vec<NeededClaim>)> {
    let mut sorted: Vec<(ProjectName, Vec<NeededClaim>)> = Vec::new();
    for claim in claims {
        match sorted.iter_mut().find(|(project, _)| *project == claim.project) {
            Some((_, known)) => {
                // The same claim twice is one claim.
                let same = |other: &&mut NeededClaim| Arc::ptr_eq(&other.counters, &claim.counters);
                match known.iter_mut().find(same) {
                    Some(other) if other.claim == claim.claim => {}
                    _ => known.push(claim),
                }
            }
            None => sorted.push((claim.project.clone(), vec![claim])),
        }
    }
    sorted
}

/// What the audit keeps of a batch: how many, and the digest of the rows.
fn summary(rows: &[QuotaClaim]) -> Map<String, Value> {
    let mut text = String::new();
    for claim in rows {
        let subject = match &claim.subject {
            QuotaSubject::Lineage(id) => format!("key {id}"),
            QuotaSubject::Owner(id) => format!("owner {id}"),
        };
        let stored = &claim.stored;
        text.push_str(&format!(
            "{subject} {} {}\n",
            stored.period_start.as_millisecond(),
            stored.claimed
        ));
    }
    Map::from_iter([
        ("quotas".to_owned(), json!(rows.len())),
        ("sha256".to_owned(), json!(Hash::of(text.as_bytes()).to_string())),
    ])
}
