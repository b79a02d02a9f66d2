//! Issued keys: the use-cases, one file each family.

mod cleanup;
mod derive;
mod import;
mod issue;
mod list;
mod rotate;
mod state;
mod suggest;
mod update;

use std::sync::Arc;

use keyreeve_core::{
    audit::Target,
    key::{IssuedToken, KeyId},
    model::ApiKey,
    permission::PermissionSet,
};

pub use cleanup::Cleanup;
pub use derive::DeriveSpec;
pub use import::{ImportRow, ImportSpec, Imported, RowOutcome};
pub use issue::{Expiry, Issued, KeySpec};
pub(crate) use issue::{check_policy, policy_json, shared};
pub use rotate::{RotateSpec, Rotated};
pub use update::{KeyChange, PolicyChange, Replace, RestrictionsChange};

use crate::{
    Action, Engine, Error, Permit,
    store::{Kind, StoredKey, Usage},
};

/// How often a change that loses against another is tried again with fresh data.
const TRIES: usize = 5;

/// The text of a key that is about to be shown.
pub(crate) enum ShownText {
    /// Just made.
    Fresh(IssuedToken),
    /// Shown before under the same idempotency key.
    Again(keyreeve_core::Secret<String>),
}

impl Engine {
    async fn stored_key<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        id: KeyId,
    ) -> Result<StoredKey, Error> {
        let found = self.store.key(permit.project(), id).await?;
        found.ok_or(Error::NotFound(Kind::ApiKey))
    }

    /// Everything a key grants: its own permissions and those of its roles as they are now.
    fn effective_grants(&self, key: &ApiKey) -> PermissionSet {
        let roles: Vec<Arc<PermissionSet>> = key
            .roles
            .iter()
            .filter_map(|role| self.live.role_permissions(&key.project, role))
            .collect();
        key.permissions.iter().chain(roles.iter().flat_map(|set| set.iter())).cloned().collect()
    }

    /// Refuses, and records, an act that would put more rights into the caller's hands than the
    /// caller has.
    async fn check_key_grant<A: Action>(
        &self,
        permit: &Permit<'_, A>,
        key: &ApiKey,
    ) -> Result<(), Error> {
        self.check_grant(permit, &self.effective_grants(key)).await
    }

    /// Adds what is counted but not yet stored.
    pub(crate) fn with_pending_usage(&self, mut stored: StoredKey) -> StoredKey {
        let pending = self.live.key(&stored.key.id).and_then(|live| live.pending_usage());
        if let Some(seen) = pending {
            let usage = &mut stored.usage;
            *usage = Usage {
                verifications: usage.verifications + seen.verifications,
                last_used_at: usage.last_used_at.max(Some(seen.last_used_at)),
                last_ip: seen.last_ip.or(usage.last_ip),
                peaks: usage.peaks.max(seen.peaks),
                last_user_agent: seen.last_user_agent.or(usage.last_user_agent.take()),
            };
        }
        stored
    }
}

fn target(id: KeyId) -> Target {
    Target::new("api_key", id)
}
