//! Pages of long lists.

/// Which page: how many things, after which one.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// How many at most.
    pub limit: u32,
    /// After the thing this stands for; from the beginning if `None`.
    pub after: Option<Cursor>,
}

impl PageRequest {
    /// The most things on one page.
    pub const MOST: u32 = 1000;

    /// The first page.
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }
}

/// One page.
#[derive(Clone, Debug, PartialEq)]
pub struct ListPage<T> {
    /// The things.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

impl<T> ListPage<T> {
    /// Makes a page of what a store read when it asked for one thing more than the limit.
    pub fn from_overfull(
        mut items: Vec<T>,
        limit: u32,
        cursor_of: impl FnOnce(&T) -> Cursor,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor_of);
        Self { items, next }
    }
}

/// A place in a list: a number to order by and a text to tell equals apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What the list is ordered by first, such as milliseconds.
    pub order: i64,
    /// What tells equals apart, such as an id.
    pub id: String,
}

impl Cursor {
    /// The cursor as callers carry it.
    pub fn to_text(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(format!("{}.{}", self.order, self.id))
    }

    /// Reads what [`Cursor::to_text`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        if text.len() > 2048 {
            return None;
        }
        let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (order, id) = decoded.split_once('.')?;
        Some(Self { order: order.parse().ok()?, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_survive_the_journey(order: i64, id in ".{0,40}") {
            let cursor = Cursor { order, id };
            prop_assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,60}") {
            let _ = Cursor::parse(&text);
        }
    }
}
