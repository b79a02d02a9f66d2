//! Proposing limits from what a key was seen to do.

use keyreeve_core::{
    key::KeyId,
    limit::Limit,
    suggestion::{self, Busiest},
};

use crate::{Engine, Error, Permit, action::ReadKey, store::Peaks};

impl Engine {
    /// Limits that would have let everything through so far, with room to spare; none for a key
    /// that was not used.
    pub async fn suggest_limits(
        &self,
        permit: Permit<'_, ReadKey>,
        id: KeyId,
    ) -> Result<(Vec<Limit>, Peaks), Error> {
        let stored = self.with_pending_usage(self.stored_key(&permit, id).await?);
        let peaks = stored.usage.peaks;
        let limits = suggestion::limits(Busiest {
            ten_seconds: peaks.ten_seconds,
            hour: peaks.hour,
            day: peaks.day,
        });
        Ok((limits, peaks))
    }
}
