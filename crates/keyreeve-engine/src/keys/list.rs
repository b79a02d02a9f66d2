//! Seeing keys.

use jiff::SignedDuration;
use keyreeve_core::key::KeyId;

use crate::{
    Engine, Error, Permit,
    action::{ListKeys, ReadKey},
    store::{KeyFilter, ListPage, PageRequest, StoredKey},
};

impl Engine {
    /// One key, with usage counted to this moment.
    pub async fn key(&self, permit: Permit<'_, ReadKey>, id: KeyId) -> Result<StoredKey, Error> {
        Ok(self.with_pending_usage(self.stored_key(&permit, id).await?))
    }

    /// Keys, newest first.
    pub async fn keys(
        &self,
        permit: Permit<'_, ListKeys>,
        filter: &KeyFilter,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, Error> {
        let found = self.store.keys(permit.project(), filter, page).await?;
        Ok(self.page_with_pending_usage(found))
    }

    /// Active keys that expire within `length` from now, soonest first.
    pub async fn expiring_keys(
        &self,
        permit: Permit<'_, ListKeys>,
        length: SignedDuration,
        page: &PageRequest,
    ) -> Result<ListPage<StoredKey>, Error> {
        let now = self.now();
        let until = now.saturating_add(length).unwrap_or(jiff::Timestamp::MAX);
        let found = self.store.expiring_keys(permit.project(), now, until, page).await?;
        Ok(self.page_with_pending_usage(found))
    }

    fn page_with_pending_usage(&self, page: ListPage<StoredKey>) -> ListPage<StoredKey> {
        let items = page.items.into_iter().map(|key| self.with_pending_usage(key)).collect();
        ListPage { items, next: page.next }
    }
}
