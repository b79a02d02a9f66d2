//! `GET /api/v1/api-keys` and `GET /api/v1/api-keys/expiring`.

use axum::{Json, extract::State};
use jiff::{SignedDuration, Timestamp};
use keyreeve_api::{ApiKeyView, ExpiringQuery, ListApiKeysQuery, Page};
use keyreeve_core::{Invalid, lifecycle::KeyState};
use keyreeve_engine::{action::ListKeys, store::KeyFilter};

use crate::{
    api::fields::Fields,
    extract::{Authenticated, EngineRef, QueryString, page_request},
    problem::{Answer, Failure},
    view,
};

/// Lists keys, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/api-keys",
    tag = "api-keys",
    params(ListApiKeysQuery),
    responses((status = 200, description = "A page of keys", body = Page<ApiKeyView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    QueryString(query): QueryString<ListApiKeysQuery>,
) -> Answer<Json<Page<ApiKeyView>>> {
    let permit = engine.authorize::<ListKeys>(&caller).await?;
    let page = page_request(query.limit, query.cursor.as_deref())?;
    let now = engine.now();
    let found = engine.keys(permit, &filter(query, now)?, &page).await?;
    Ok(Json(view::page(found, |key| view::api_key(key, now))))
}

fn filter(query: ListApiKeysQuery, now: Timestamp) -> Result<KeyFilter, Failure> {
    let mut fields = Fields::default();
    let state = query.state.map(|name| {
        KeyState::named(&name).map(|state| (state, now)).ok_or_else(|| {
            Invalid::new("must be active, disabled, rotating, expired, revoked or deleted")
        })
    });
    let state = state.transpose();
    let filter = KeyFilter {
        keyspace: fields.optional("keyspace", query.keyspace.as_deref()),
        environment: fields.optional("environment", query.environment.as_deref()),
        owner: fields.optional("owner", query.owner.as_deref()),
        role: fields.optional("role", query.role.as_deref()),
        tag: query.tag,
        name_contains: query.name,
        state: fields.take("state", state).flatten(),
    };
    fields.finish(Some(filter))
}

/// Lists active keys that expire soon, soonest first.
#[utoipa::path(
    get,
    path = "/api/v1/api-keys/expiring",
    tag = "api-keys",
    params(ExpiringQuery),
    responses((status = 200, description = "A page of keys", body = Page<ApiKeyView>))
)]
pub(crate) async fn expiring(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    QueryString(query): QueryString<ExpiringQuery>,
) -> Answer<Json<Page<ApiKeyView>>> {
    let permit = engine.authorize::<ListKeys>(&caller).await?;
    let page = page_request(query.limit, query.cursor.as_deref())?;
    let days = query.days.unwrap_or(30);
    if !(1..=3650).contains(&days) {
        return Err(Failure::field("days", "must be 1 to 3650"));
    }
    let length = SignedDuration::from_hours(i64::from(days) * 24);
    let now = engine.now();
    let found = engine.expiring_keys(permit, length, &page).await?;
    Ok(Json(view::page(found, |key| view::api_key(key, now))))
}
