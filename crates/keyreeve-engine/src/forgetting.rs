//! Forgetting the answers to repeatable requests once they have been kept for long enough. One node of
//! all does it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::name::ProjectName;
use serde_json::{Map, json};

use crate::{
    Engine, Error,
    store::{Change, DutyTerm},
};

const DUTY: &str = "forgetting";
/// For how long single calls through connections are kept.
const CALLS_KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Engine {
    /// Forgets answers that were kept for as long as they are to be kept, if that is this node's
    /// duty and there are any. It stays its duty for that long; whoever calls this more often goes
    /// on with it.
    pub async fn forget_old_results(&self, duty_length: Duration) -> Result<(), Error> {
        let holder = format!("{:016x}", self.process);
        let Some(term) = self.store.take_duty(DUTY, &holder, duty_length).await? else {
            return Ok(());
        };
        self.forget_old_calls(term).await?;
        self.forget_old_webhooks(term).await?;
        let before = self.now().saturating_sub(self.idempotency_keep).unwrap_or(Timestamp::MIN);
        if !self.store.has_results_before(before).await? {
            return Ok(());
        }
        self.forget_idempotent_results(before, Some(term)).await
    }

    /// Forgets single calls through connections after a month; their sums by day stay.
    async fn forget_old_calls(&self, term: DutyTerm) -> Result<(), Error> {
        let before = self.now().saturating_sub(CALLS_KEPT).unwrap_or(Timestamp::MIN);
        if !self.store.has_calls_before(before).await? {
            return Ok(());
        }
        let project = ProjectName::default_project();
        let details = Map::from_iter([("before".to_owned(), json!(before.to_string()))]);
        let entry = self.system_entry(&project, "proxy", "proxy.forget_calls", details);
        let tx = self.begin(&project).with(Change::OnDuty(term));
        tx.with(Change::ForgetCallsBefore(before)).commit(entry).await?;
        Ok(())
    }

    pub(crate) async fn forget_idempotent_results(
        &self,
        before: Timestamp,
        on_duty: Option<DutyTerm>,
    ) -> Result<(), Error> {
        let project = ProjectName::default_project();
        let details = Map::from_iter([("before".to_owned(), json!(before.to_string()))]);
        let entry = self.system_entry(&project, "idempotency", "idempotency.forget", details);
        let mut tx = self.begin(&project);
        if let Some(term) = on_duty {
            tx = tx.with(Change::OnDuty(term));
        }
        tx.with(Change::ForgetResultsBefore(before)).commit(entry).await?;
        Ok(())
    }

    /// Whether an answer of that time was kept for as long as it is to be kept.
    pub(crate) fn is_forgettable(&self, at: Timestamp) -> bool {
        at.saturating_add(self.idempotency_keep).is_ok_and(|until| until <= self.now())
    }
}
