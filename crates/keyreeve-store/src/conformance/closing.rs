//! The end of a store.

use std::sync::Arc;

use keyreeve_engine::store::{CommitError, KeyFilter, PageRequest, StoreError};

use super::{
    harness::{Harness, Outcome},
    recorder::Recorder,
};

pub(super) async fn an_open_store_is_well(h: Harness) -> Outcome {
    h.store.check().await?;
    h.project("acme").await?;
    h.store.check().await?;
    Ok(())
}

pub(super) async fn a_closed_store_says_so(h: Harness) -> Outcome {
    let acme = h.project("acme").await?;
    h.store.close().await;
    let commit = h.commit(&acme, Vec::new()).await;
    assert!(matches!(commit, Err(CommitError::Store(StoreError::Closed))), "{commit:?}");
    let page = PageRequest::first(1);
    let read = h.store.keys(&acme, &KeyFilter::default(), &page).await;
    assert!(matches!(read, Err(StoreError::Closed)), "{read:?}");
    let load = h.store.load(Arc::new(Recorder::default())).await;
    assert!(matches!(load, Err(StoreError::Closed)), "{load:?}");
    let check = h.store.check().await;
    assert!(matches!(check, Err(StoreError::Closed)), "{check:?}");
    // Closing twice is closing once.
    h.store.close().await;
    Ok(())
}
