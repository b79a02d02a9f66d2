//! Lists: page by page, or all of it.

use keyreeve_api::{ClientError, Page, PageQuery};
use serde::Serialize;

use super::Outcome;
use crate::{cli::page::PageArgs, context::Context, output::canvas::Canvas};

/// The most things that `--all` collects.
const MOST_THINGS: usize = 100_000;
/// The most requests that `--all` makes: pages may be short.
const MOST_PAGES: usize = 10_000;
/// Things a request, with `--all`.
const PAGE: u32 = 1_000;

/// Fetches one page, or with `--all` one after the other.
pub(super) async fn collect<T>(
    args: &PageArgs,
    mut fetch: impl AsyncFnMut(PageQuery) -> Result<Page<T>, ClientError>,
) -> Result<Page<T>, ClientError> {
    let limit = if args.all { Some(args.limit.unwrap_or(PAGE)) } else { args.limit };
    let mut page = fetch(PageQuery { limit, cursor: args.cursor.clone() }).await?;
    for _ in 1..MOST_PAGES {
        if !args.all || page.items.len() >= MOST_THINGS {
            break;
        }
        let Some(cursor) = page.next_cursor.take() else {
            break;
        };
        let next = fetch(PageQuery { limit, cursor: Some(cursor) }).await?;
        page.items.extend(next.items);
        page.next_cursor = next.next_cursor;
    }
    Ok(page)
}

/// Shows a page; `things` is the plural of what is in it.
pub(super) fn show<T: Serialize>(
    page: &Page<T>,
    things: &str,
    draw: fn(&Page<T>, &Canvas) -> String,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let output = &context.output;
    output.show(page, draw)?;
    let note = if page.items.is_empty() {
        format!("no {things}")
    } else if page.next_cursor.is_some() {
        format!("these are {} {things}; there are more: see --all", page.items.len())
    } else {
        return Ok(Outcome::Done);
    };
    // Programs see for themselves that nothing came, or that there is a cursor.
    if !output.is_json() {
        output.note(&note)?;
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches from a list of `total` numbers, `limit` at a time, and counts the requests.
    fn numbers(args: &PageArgs, total: usize) -> (Page<usize>, usize) {
        let mut requests = 0;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let fetch = async |query: PageQuery| -> Result<Page<usize>, ClientError> {
            requests += 1;
            let first: usize = query.cursor.map_or(0, |cursor| cursor.parse().unwrap());
            let last = total.min(first + query.limit.map_or(100, |limit| limit as usize));
            let next_cursor = (last < total).then(|| last.to_string());
            Ok(Page { items: (first..last).collect(), next_cursor })
        };
        let page = runtime.block_on(collect(args, fetch)).unwrap();
        (page, requests)
    }

    #[test]
    fn one_page_unless_all_are_wanted() {
        let (page, requests) = numbers(&PageArgs::default(), 250);
        assert_eq!((page.items.len(), requests), (100, 1));
        assert_eq!(page.next_cursor.as_deref(), Some("100"));
    }

    #[test]
    fn all_follows_the_cursors() {
        let args = PageArgs { all: true, limit: Some(100), cursor: None };
        let (page, requests) = numbers(&args, 250);
        assert_eq!((page.items.len(), requests), (250, 3));
        assert_eq!(page.next_cursor, None);
        assert!(page.items.iter().copied().eq(0..250));
    }

    #[test]
    fn all_is_bounded_and_can_be_gone_on_with() {
        let args = PageArgs { all: true, limit: None, cursor: Some("500".to_owned()) };
        let (page, requests) = numbers(&args, 1_000_000);
        assert_eq!((page.items.len(), requests), (MOST_THINGS, 100));
        assert_eq!(page.next_cursor.as_deref(), Some("100500"));
    }
}
