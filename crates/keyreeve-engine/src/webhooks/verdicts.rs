//! How the requests of each source fare: counted on this node since its start, for figures and alerts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keyreeve_core::{
    audit::Target,
    name::ProjectName,
    webhook::{Counts, Reason, RecentVerdicts, is_burst},
};
use parking_lot::Mutex;
use serde_json::{Map, json};

use crate::{Engine, connections::Place};

/// What became of a request for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookVerdict {
    /// It is kept.
    Accepted,
    /// It was here before.
    Duplicate,
    /// It only asked whether we are there.
    Handshake,
    /// It was refused.
    Refused(Reason),
}

impl HookVerdict {
    /// As it is counted: `accepted`, `duplicate`, `handshake` or the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Handshake => "handshake",
            Self::Refused(reason) => reason.as_str(),
        }
    }
}

/// How the requests of a source fared on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTally {
    /// By verdict, since the start.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Of the last five minutes.
    pub recent: Counts,
    /// Whether so many of those were refused that somebody should look.
    pub is_burst: bool,
}

#[derive(Debug, Default)]
struct Tally {
    verdicts: BTreeMap<&'static str, u64>,
    recent: RecentVerdicts,
}

impl Tally {
    fn seen(&self, now: Timestamp) -> SourceTally {
        let recent = self.recent.counts(now);
        SourceTally { verdicts: self.verdicts.clone(), recent, is_burst: is_burst(recent) }
    }
}

/// The tallies of all sources.
#[derive(Debug, Default)]
pub(crate) struct VerdictLedger(Mutex<BTreeMap<Place, Tally>>);

impl VerdictLedger {
    /// Lets go of what was counted for a source that is gone.
    pub(crate) fn forget(&self, project: &ProjectName, source: &str) {
        self.0.lock().remove(&(project.clone(), source.to_owned()));
    }
}

impl Engine {
    /// Counts a verdict. When a burst of refused requests begins, that is in the log and in the audit,
    /// once in ten minutes.
    pub async fn note_webhook_verdict(
        &self,
        project: &ProjectName,
        source: &str,
        verdict: HookVerdict,
    ) {
        let now = self.now();
        let began = {
            let mut tallies = self.verdicts.0.lock();
            let tally = tallies.entry((project.clone(), source.to_owned())).or_default();
            *tally.verdicts.entry(verdict.as_str()).or_default() += 1;
            tally.recent.note(now, matches!(verdict, HookVerdict::Refused(_)));
            tally.recent.begins_burst(now)
        };
        let Some(Counts { accepted, refused }) = began else { return };
        tracing::warn!(source, refused, accepted, "a burst of webhooks that are refused");
        let details = Map::from_iter([
            ("refused".to_owned(), json!(refused)),
            ("accepted".to_owned(), json!(accepted)),
            ("minutes".to_owned(), json!(5)),
            ("last_reason".to_owned(), json!(verdict.as_str())),
        ]);
        let mut entry = self.system_entry(project, "webhooks", "webhook.failure_burst", details);
        entry.target = Target::new("webhook_source", source);
        if let Err(error) = self.begin(project).commit(entry).await {
            tracing::error!(%error, source, "that a burst began is not in the audit");
        }
    }

    /// How the requests of a source fared on this node.
    pub fn webhook_tally(&self, project: &ProjectName, source: &str) -> SourceTally {
        let tallies = self.verdicts.0.lock();
        let place = (project.clone(), source.to_owned());
        tallies.get(&place).map(|tally| tally.seen(self.now())).unwrap_or_default()
    }

    /// Gives every source's counts by verdict, and whether too many are refused of late.
    pub fn each_webhook_tally(&self, mut each: impl FnMut(&ProjectName, &str, &SourceTally)) {
        let now = self.now();
        for ((project, source), tally) in &*self.verdicts.0.lock() {
            each(project, source, &tally.seen(now));
        }
    }
}
