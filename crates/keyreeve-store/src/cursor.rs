//! What the cursor of each list says. Both backends give out and take the same ones.

use jiff::Timestamp;
use keyreeve_core::{key::KeyId, name::OwnerId};
use keyreeve_engine::store::{Cursor, PageRequest, StoreError};

use crate::millis;

/// How many things the page may hold.
pub(crate) fn limit(page: &PageRequest) -> u32 {
    page.limit.clamp(1, PageRequest::MOST)
}

/// The place of a key in a list ordered by one of its times.
pub(crate) fn of_key(time: Timestamp, id: KeyId) -> Cursor {
    Cursor { order: millis::floor(time), id: id.to_string() }
}

/// The place of an owner in the list by id.
pub(crate) fn of_owner(id: &OwnerId) -> Cursor {
    Cursor { order: 0, id: id.to_string() }
}

/// The place of an audit entry.
pub(crate) fn of_entry(seq: u64) -> Cursor {
    Cursor { order: i64::try_from(seq).unwrap_or(i64::MAX), id: String::new() }
}

/// Milliseconds and id after which a page of keys begins.
pub(crate) fn key_place(page: &PageRequest) -> Result<Option<(i64, KeyId)>, StoreError> {
    let Some(cursor) = &page.after else {
        return Ok(None);
    };
    let id = cursor.id.parse().map_err(|_| StoreError::BadCursor)?;
    Ok(Some((cursor.order, id)))
}

/// The id after which a page of owners begins.
pub(crate) fn owner_place(page: &PageRequest) -> Result<Option<OwnerId>, StoreError> {
    match &page.after {
        None => Ok(None),
        Some(Cursor { order: 0, id }) => id.parse().map(Some).map_err(|_| StoreError::BadCursor),
        Some(_) => Err(StoreError::BadCursor),
    }
}

/// The position before which a page of audit entries begins: the newest come first.
pub(crate) fn entry_place(page: &PageRequest) -> Result<Option<u64>, StoreError> {
    match &page.after {
        None => Ok(None),
        Some(Cursor { order, id }) if id.is_empty() => {
            u64::try_from(*order).map(Some).map_err(|_| StoreError::BadCursor)
        }
        Some(_) => Err(StoreError::BadCursor),
    }
}
