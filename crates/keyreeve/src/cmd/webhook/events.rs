//! Commands about events.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, ensure};
use keyreeve_api::{
    Client, ClientError, ErrorCode, ListWebhookEventsQuery, PageQuery, WebhookEventView,
};

use crate::{
    cli::webhook::{EventsArgs, FilterArgs, ReplayArgs, ShowArgs, TailArgs},
    cmd::{Outcome, listing},
    context::Context,
    output::webhook as view,
};

/// How often it is looked for new events.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most events of one look.
const MOST: u32 = 1_000;
/// Events that were shown and may be seen again.
const REMEMBERED: usize = 10_000;

fn query(filter: &FilterArgs) -> ListWebhookEventsQuery {
    ListWebhookEventsQuery {
        source: filter.source.clone(),
        state: filter.state.clone(),
        ..ListWebhookEventsQuery::default()
    }
}

pub(super) async fn list(
    client: &Client,
    args: &EventsArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let query = query(&args.filter);
    let page = listing::collect(&args.page, async |PageQuery { limit, cursor }| {
        let query = ListWebhookEventsQuery { limit, cursor, ..query.clone() };
        client.list_webhook_events(&query).await
    });
    listing::show(&page.await?, "events", view::events, context)
}

pub(super) async fn show(
    client: &Client,
    args: &ShowArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    if args.reveal {
        let request = client.webhook_event_request(&args.what).await?;
        context.output.show(&request, view::event)?;
    } else {
        let preview = client.webhook_event(&args.what).await?;
        context.output.show(&preview, view::preview)?;
    }
    Ok(Outcome::Done)
}

pub(super) async fn replay(
    client: &Client,
    args: &ReplayArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let mut ids = args.ids.clone();
    if ids.is_empty() {
        let mut query = ListWebhookEventsQuery { limit: Some(MOST), ..query(&args.filter) };
        loop {
            let page = client.list_webhook_events(&query).await?;
            ids.extend(page.items.into_iter().map(|event| event.id));
            if page.next_cursor.is_none() {
                break;
            }
            query.cursor = page.next_cursor;
        }
    }
    ensure!(!ids.is_empty(), "there is no such event");
    if args.ids.is_empty() {
        // The list has the latest first; what came in first is to go first.
        ids.reverse();
    }
    let count = ids.len();
    let mut replayed = Vec::new();
    let mut gone = 0_usize;
    for (number, id) in ids.iter().enumerate() {
        context.output.progress(&format!("{number} of {count}"));
        match client.replay_webhook_event(id).await {
            Ok(event) => replayed.push(event),
            // Of a filter, there may be some whose source was removed.
            Err(ClientError::Refused(problem))
                if args.ids.is_empty() && problem.code == ErrorCode::NotFound.as_str() =>
            {
                gone += 1;
            }
            Err(error) => {
                context.output.progress("");
                let done = replayed.len();
                return Err(error)
                    .with_context(|| format!("{done} of {count} are sent again; {id}"));
            }
        }
    }
    context.output.progress("");
    if gone > 0 {
        context.output.note(&format!("Left out, for their source was removed: {gone}"))?;
    }
    let page = keyreeve_api::Page { items: replayed, next_cursor: None };
    listing::show(&page, "events", view::events, context)
}

/// Shows events as they come in, until somebody ends it.
pub(super) async fn tail(
    client: &Client,
    args: &TailArgs,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let query = ListWebhookEventsQuery {
        source: args.source.clone(),
        limit: Some(MOST),
        ..ListWebhookEventsQuery::default()
    };
    let mut shown: VecDeque<(String, String)> = VecDeque::new();
    for event in client.list_webhook_events(&query).await?.items {
        shown.push_back(mark(&event));
    }
    if !context.output.is_json() {
        context.output.note("waiting for events; Ctrl-C ends this")?;
    }
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut events = client.list_webhook_events(&query).await?.items;
        events.reverse();
        for event in events {
            if shown.contains(&mark(&event)) {
                continue;
            }
            shown.push_back(mark(&event));
            if shown.len() > REMEMBERED {
                shown.pop_front();
            }
            if context.output.is_json() {
                context.output.line(&serde_json::to_string(&event)?)?;
            } else {
                context.output.line(&view::event_line(&event, context.output.canvas()))?;
            }
        }
    }
}

/// What tells one look at an event from another.
fn mark(event: &WebhookEventView) -> (String, String) {
    (event.id.clone(), format!("{} {}", event.state, event.attempts))
}
