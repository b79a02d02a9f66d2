//! Putting more of a quota on disk before it is spent.
//!
//! Claims that come together are written together: whoever gets to write takes along all that wait.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use keyreeve_core::{
    audit::{Hash, Outcome, Target},
    name::ProjectName,
    quota::Claim,
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tracing::warn;

use crate::{
    Engine, Error,
    store::{Change, QuotaClaim, QuotaSubject},
    verify::NeededClaim,
};

/// Claims written in one unit of work.
const MOST_IN_ONE: usize = 1_000;
/// How long to wait for what another node claimed; news of it take about as long.
const UNTIL_NEWS: Duration = Duration::from_millis(10);

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
    /// Makes claims durable. Returns whether it is worth deciding anew: they are, or others were
    /// faster and what is left is known by now.
    pub(crate) async fn claim_quota(&self, claims: Vec<NeededClaim>) -> bool {
        let wants_own = !claims.is_empty();
        self.claims.pending.lock().extend(claims.iter().cloned());
        let writing = self.claims.writing.lock().await;
        // Most often somebody has taken ours along meanwhile. If they were dropped half-way, ours
        // are neither waiting nor written, so they are asked for again.
        let unwritten = |claim: &NeededClaim| !claim.counters.quota.lock().is_claimed(&claim.claim);
        let own: Vec<NeededClaim> = claims.into_iter().filter(unwritten).collect();
        if own.is_empty() && wants_own {
            return true;
        }
        let mut all = std::mem::take(&mut *self.claims.pending.lock());
        all.extend(own.iter().cloned());
        let others_were_faster = self.write_claims(all).await;
        // Whether others' were written is for them to know.
        if !own.iter().any(unwritten) {
            return true;
        }
        // Whoever waits for news holds up nobody.
        drop(writing);
        if others_were_faster {
            // What they claimed is on its way here.
            tokio::time::sleep(UNTIL_NEWS).await;
        }
        others_were_faster
    }

    /// Writes claims that were asked for ahead, for as long as it is polled.
    pub async fn serve_claims(&self) {
        loop {
            self.claims.wanted.notified().await;
            self.claim_quota(Vec::new()).await;
        }
    }

    /// Returns whether a claim failed because another node had made one meanwhile.
    async fn write_claims(&self, claims: Vec<NeededClaim>) -> bool {
        let mut others_were_faster = false;
        for (project, claims) in by_project(claims) {
            for some in claims.chunks(MOST_IN_ONE) {
                match self.write_some(&project, some).await {
                    Ok(()) => {}
                    // One of them is not what it was; the others need not suffer for it.
                    Err(Error::ChangedMeanwhile(_)) if some.len() > 1 => {
                        for one in some.chunks(1) {
                            if let Err(error) = self.write_some(&project, one).await {
                                others_were_faster |= give_up(one, &error);
                            }
                        }
                    }
                    Err(error) => others_were_faster |= give_up(some, &error),
                }
            }
        }
        others_were_faster
    }

    async fn write_some(&self, project: &ProjectName, some: &[NeededClaim]) -> Result<(), Error> {
        self.store_quota(project, Change::ClaimQuota, some.iter().map(row).collect()).await
    }

    /// As `settle_quotas`, for callers that can only go on. The last thing before the store is
    /// closed, when nothing is verified any more.
    pub async fn settle_quotas_or_log(&self) {
        if let Err(error) = self.settle_quotas().await {
            warn!(%error, "what was spent of quotas was not settled; they resume as claimed");
        }
    }

    /// Writes down what was really spent, at a graceful stop.
    async fn settle_quotas(&self) -> Result<(), Error> {
        let _writing = self.claims.writing.lock().await;
        let now = self.now();
        let mut by_project: Vec<(ProjectName, Vec<QuotaClaim>)> = Vec::new();
        for (project, subject, counters) in self.live.all_counters() {
            let mut quota = counters.quota.lock();
            let known = quota.known_now();
            let Some(stored) = quota.to_store(now) else { continue };
            let claim = QuotaClaim { subject, stored, known };
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
    ) -> Result<(), Error> {
        let details = summary(&rows);
        let mut entry = self.system_entry(project, "quota", "quota.batch", details);
        entry.outcome = Outcome::Done;
        entry.target = Target::new("project", project);
        self.begin(project).with(change(rows)).commit(entry).await?;
        Ok(())
    }
}

/// The claim as it is stored, on what is known just now: nobody else of this process writes one.
fn row(claim: &NeededClaim) -> QuotaClaim {
    let known = claim.counters.quota.lock().known(claim.claim.period_start);
    QuotaClaim { subject: claim.subject.clone(), stored: claim.claim.into(), known }
}

/// Returns whether the claims failed because another node was faster. Whoever needs one then asks
/// for one that fits.
fn give_up(claims: &[NeededClaim], error: &Error) -> bool {
    let others_were_faster = matches!(error, Error::ChangedMeanwhile(_));
    if !others_were_faster {
        warn!(%error, "a quota could not be claimed");
    }
    for claim in claims {
        claim.counters.quota.lock().claim_failed();
    }
    others_were_faster
}

fn by_project(claims: Vec<NeededClaim>) -> Vec<(ProjectName, Vec<NeededClaim>)> {
    let mut sorted: Vec<(ProjectName, Vec<NeededClaim>)> = Vec::new();
    for claim in claims {
        match sorted.iter_mut().find(|(project, _)| *project == claim.project) {
            Some((_, known)) => {
                // Of several claims on one account the last and highest holds the others.
                let same = |other: &&mut NeededClaim| Arc::ptr_eq(&other.counters, &claim.counters);
                match known.iter_mut().find(same) {
                    Some(other) if extent(&other.claim) >= extent(&claim.claim) => {}
                    Some(other) => *other = claim,
                    None => known.push(claim),
                }
            }
            None => sorted.push((claim.project.clone(), vec![claim])),
        }
    }
    sorted
}

/// A period that never ends reaches furthest.
fn extent(claim: &Claim) -> (Timestamp, Timestamp, u64) {
    (claim.period_start, claim.period_end.unwrap_or(Timestamp::MAX), claim.claim)
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
