//! Whether the nodes count together, for those who look after them.

use std::sync::atomic::Ordering;

use keyreeve_core::name::ProjectName;
use serde_json::{Map, json};

use crate::{Engine, Error};

impl Engine {
    /// Whether limits count as they should: together where nodes do, or else here.
    pub fn counts_together(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.counts.is_reachable())
    }

    /// Requests that were limited on this node alone, for want of the common counts.
    pub fn degraded_requests(&self) -> u64 {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Writes into the audit that the nodes stopped counting together, or do so again. To be called
    /// every second or so; what cannot be written is written at a later call.
    pub async fn note_counting(&self) -> Result<(), Error> {
        let together = self.counts_together();
        if together == self.noted_together.load(Ordering::Acquire) {
            return Ok(());
        }
        let project = ProjectName::default_project();
        let action = if together { "limits.restored" } else { "limits.degraded" };
        let details =
            Map::from_iter([("degraded_requests".to_owned(), json!(self.degraded_requests()))]);
        let entry = self.system_entry(&project, "limits", action, details);
        self.begin(&project).commit(entry).await?;
        self.noted_together.store(together, Ordering::Release);
        Ok(())
    }
}
