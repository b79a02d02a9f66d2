//! Whether the nodes count together, for those who look after them.

use std::sync::atomic::Ordering;

use keyreeve_core::name::ProjectName;
use serde_json::{Map, json};

use crate::{Engine, Error};

/// The least time between two notes of an outage.
const BETWEEN_NOTES_NS: u64 = 60_000_000_000;

impl Engine {
    /// Whether limits count as they should: together where nodes do, or else here.
    pub fn counts_together(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.counts.is_reachable())
    }

    /// Requests that were limited on this node alone, for want of the common counts.
    pub fn degraded_requests(&self) -> u64 {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Writes into the audit that the nodes stopped counting together, and that they do so again. To
    /// be called every second or so; an outage that is over by then is noted all the same, and what
    /// cannot be written is written at a later call.
    pub async fn note_counting(&self) -> Result<(), Error> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let (outages, together) = (shared.counts.outages(), shared.counts.is_reachable());
        let before = self.noted_outages.load(Ordering::Acquire);
        let is_news =
            outages > before || (!together && self.noted_together.load(Ordering::Acquire));
        let now_ns = self.clock.monotonic_ns();
        let noted_ns = self.noted_ns.load(Ordering::Acquire);
        // A connection that comes and goes must not fill the log.
        if is_news && (noted_ns == 0 || now_ns.saturating_sub(noted_ns) >= BETWEEN_NOTES_NS) {
            self.note("limits.degraded", outages - before).await?;
            self.noted_ns.store(now_ns.max(1), Ordering::Release);
            self.noted_outages.store(outages, Ordering::Release);
            self.noted_together.store(false, Ordering::Release);
        }
        if together && !self.noted_together.load(Ordering::Acquire) {
            self.note("limits.restored", 0).await?;
            self.noted_together.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn note(&self, action: &'static str, outages: u64) -> Result<(), Error> {
        let project = ProjectName::default_project();
        let mut details =
            Map::from_iter([("degraded_requests".to_owned(), json!(self.degraded_requests()))]);
        if outages > 0 {
            details.insert("outages".to_owned(), json!(outages));
        }
        let entry = self.system_entry(&project, "limits", action, details);
        self.begin(&project).commit(entry).await?;
        Ok(())
    }
}
