//! `/api/v1/webhook-sources` and `/api/v1/webhook-events`.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::StatusCode;
use jiff::SignedDuration;
use keyreeve_api::{
    CreateWebhookSourceRequest, CreatedWebhookSourceView, ListWebhookEventsQuery, Page, Patch,
    RotateWebhookSecretRequest, SecretText, UpdateWebhookSourceRequest, WebhookEventDetailsView,
    WebhookEventPreviewView, WebhookEventView, WebhookSecretView, WebhookSourceView,
    WebhookTallyView,
};
use keyreeve_core::{Invalid, name::ProjectName, vault::SecretPath};
use keyreeve_engine::{
    Engine,
    action::{ManageWebhooks, ReadWebhooks},
    store::{EventFilter, EventState, WebhookEvent},
    webhooks::{SourceChange, SourceProof, SourceSettings, SourceSpec, SourceTally, WebhookSource},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    view,
};

/// The most events of a page, and as many as it has unless set.
const MOST_EVENTS: u32 = 1_000;
const USUAL_EVENTS: u32 = 100;
const USUAL_OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// A field that can be left alone, cleared and set, as the engine takes it.
macro_rules! patched {
    ($patch:expr) => {
        match $patch {
            Patch::Keep => None,
            Patch::Clear => Some(None),
            Patch::Set(value) => Some(Some(value)),
        }
    };
}

/// The fields that two requests have in common, as the engine takes them.
macro_rules! change {
    ($fields:ident, $given:ident, $paused:expr) => {
        SourceChange {
            proof: proof(&mut $fields, $given.scheme, $given.hmac, $given.token),
            secret: $given
                .secret
                .as_deref()
                .and_then(|it| $fields.parse::<SecretPath>("secret", it)),
            field: patched!($given.field),
            public_url: $given.public_url,
            to: $given.to,
            allow_internal: $given.allow_internal,
            allow_plaintext: $given.allow_plaintext,
            tolerance_s: patched!($given.tolerance_s),
            allow_from: $given.allow_from.as_ref().map(|it| $fields.list("allow_from", it)),
            event_id: patched!($given.event_id),
            handshake_field: patched!($given.handshake_field),
            max_body_bytes: $given.max_body_bytes,
            attempts: $given.attempts,
            patience_ms: $given.patience_ms,
            max_concurrent: $given.max_concurrent,
            order_by: patched!($given.order_by),
            answer_within_ms: patched!($given.answer_within_ms),
            paused: $paused,
        }
    };
}

/// Lists sources, by name.
#[utoipa::path(
    get,
    path = "/api/v1/webhook-sources",
    tag = "webhooks",
    responses((status = 200, description = "All sources", body = Page<WebhookSourceView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<Page<WebhookSourceView>>> {
    let permit = engine.authorize::<ReadWebhooks>(&caller).await?;
    let all = engine.webhook_sources(&permit)?;
    let project = caller.project();
    Ok(Json(view::whole(&all, |source| source_view(&engine, project, source))))
}

/// Makes a source. Needs the right to read its secret. What events are signed with is shown once.
#[utoipa::path(
    post,
    path = "/api/v1/webhook-sources",
    tag = "webhooks",
    request_body = CreateWebhookSourceRequest,
    responses((status = 201, description = "Made", body = CreatedWebhookSourceView))
)]
pub(crate) async fn create(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    body: JsonBody<CreateWebhookSourceRequest>,
) -> Answer<(StatusCode, Json<CreatedWebhookSourceView>)> {
    let permit = engine.authorize::<ManageWebhooks>(&caller).await?;
    let (source, secret) = engine.add_webhook_source(&permit, spec(body.value)?).await?;
    // EXPOSE: the answer shows it, this once.
    let signing_secret = SecretText::new(secret.expose().clone());
    let source = source_view(&engine, caller.project(), &source);
    Ok((StatusCode::CREATED, Json(CreatedWebhookSourceView { signing_secret, source })))
}

/// One source.
#[utoipa::path(
    get,
    path = "/api/v1/webhook-sources/{name}",
    tag = "webhooks",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The source", body = WebhookSourceView))
)]
pub(crate) async fn show(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<Json<WebhookSourceView>> {
    let permit = engine.authorize::<ReadWebhooks>(&caller).await?;
    let source = engine.webhook_source(&permit, &name.0)?;
    Ok(Json(source_view(&engine, caller.project(), &source)))
}

/// Changes a source. Needs the right to read its secret.
#[utoipa::path(
    patch,
    path = "/api/v1/webhook-sources/{name}",
    tag = "webhooks",
    params(("name" = String, Path, description = "Its name")),
    request_body = UpdateWebhookSourceRequest,
    responses((status = 200, description = "The source as it is now", body = WebhookSourceView))
)]
pub(crate) async fn update(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
    body: JsonBody<UpdateWebhookSourceRequest>,
) -> Answer<Json<WebhookSourceView>> {
    let permit = engine.authorize::<ManageWebhooks>(&caller).await?;
    let mut fields = Fields::default();
    let request = body.value;
    let change = change!(fields, request, request.paused);
    let change = fields.finish(Some(change))?;
    let source = engine.update_webhook_source(&permit, &name.0, change).await?;
    Ok(Json(source_view(&engine, caller.project(), &source)))
}

/// Removes a source. Events that wait are dead.
#[utoipa::path(
    delete,
    path = "/api/v1/webhook-sources/{name}",
    tag = "webhooks",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Gone"))
)]
pub(crate) async fn delete(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<ManageWebhooks>(&caller).await?;
    engine.remove_webhook_source(&permit, &name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a new secret that events are signed with; for a while the one before signs, too.
#[utoipa::path(
    post,
    path = "/api/v1/webhook-sources/{name}/rotate-secret",
    tag = "webhooks",
    params(("name" = String, Path, description = "Its name")),
    request_body = RotateWebhookSecretRequest,
    responses((status = 200, description = "The new secret", body = WebhookSecretView))
)]
pub(crate) async fn rotate_secret(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    name: Segment,
    body: JsonBody<RotateWebhookSecretRequest>,
) -> Answer<Json<WebhookSecretView>> {
    let permit = engine.authorize::<ManageWebhooks>(&caller).await?;
    let mut fields = Fields::default();
    let overlap = fields.duration("overlap", body.value.overlap.as_deref());
    fields.finish(Some(()))?;
    let overlap = overlap.unwrap_or(USUAL_OVERLAP);
    let secret = engine.rotate_webhook_secret(&permit, &name.0, overlap).await?;
    // EXPOSE: the answer shows it, this once.
    let signing_secret = SecretText::new(secret.expose().clone());
    Ok(Json(WebhookSecretView { signing_secret }))
}

/// Lists events without what came in, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/webhook-events",
    tag = "webhooks",
    params(ListWebhookEventsQuery),
    responses((status = 200, description = "Events", body = Page<WebhookEventView>))
)]
pub(crate) async fn events(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    query: Result<Query<ListWebhookEventsQuery>, QueryRejection>,
) -> Answer<Json<Page<WebhookEventView>>> {
    let permit = engine.authorize::<ReadWebhooks>(&caller).await?;
    let Query(query) = query.map_err(|_| Failure::field("limit", "must be 1 to 1000"))?;
    let limit = query.limit.unwrap_or(USUAL_EVENTS);
    if !(1..=MOST_EVENTS).contains(&limit) {
        return Err(Failure::field("limit", "must be 1 to 1000"));
    }
    let state = query.state.as_deref().map(|text| {
        EventState::named(text)
            .ok_or_else(|| Failure::field("state", "must be waiting, delivered or dead"))
    });
    let filter =
        EventFilter { source: query.source, state: state.transpose()?, before: query.cursor };
    let events = engine.webhook_events(&permit, &filter, limit).await?;
    let is_full = u32::try_from(events.len()).is_ok_and(|count| count == limit);
    let next_cursor = events.last().filter(|_| is_full).map(|event| event.id.clone());
    Ok(Json(Page { items: events.iter().map(event_view).collect(), next_cursor }))
}

/// One event with what came in, without what customers sent.
#[utoipa::path(
    get,
    path = "/api/v1/webhook-events/{id}",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The event", body = WebhookEventPreviewView))
)]
pub(crate) async fn preview(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<WebhookEventPreviewView>> {
    let permit = engine.authorize::<ReadWebhooks>(&caller).await?;
    let (event, preview) = engine.webhook_event_preview(&permit, &id.0).await?;
    Ok(Json(WebhookEventPreviewView {
        event: event_view(&event),
        method: preview.method,
        header_names: preview.header_names,
        content_type: preview.content_type,
        preview: preview.body,
    }))
}

/// One event with what came in. That somebody looked is in the audit.
#[utoipa::path(
    get,
    path = "/api/v1/webhook-events/{id}/request",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The event", body = WebhookEventDetailsView))
)]
pub(crate) async fn event(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<WebhookEventDetailsView>> {
    let permit = engine.authorize::<ManageWebhooks>(&caller).await?;
    let (event, request) = engine.webhook_event(&permit, &id.0).await?;
    Ok(Json(WebhookEventDetailsView {
        event: event_view(&event),
        body: BASE64_STANDARD.encode(&request.body),
        method: request.method,
        rest: request.rest,
        query: request.query,
        headers: request.headers,
    }))
}

/// Has an event delivered again, from the first attempt on.
#[utoipa::path(
    post,
    path = "/api/v1/webhook-events/{id}/replay",
    tag = "webhooks",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "The event as it is now", body = WebhookEventView))
)]
pub(crate) async fn replay(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<WebhookEventView>> {
    let permit = engine.authorize::<ManageWebhooks>(&caller).await?;
    let event = engine.replay_webhook_event(&permit, &id.0).await?;
    Ok(Json(event_view(&event)))
}

/// How the sender proves itself; nothing where nothing is said.
fn proof(
    fields: &mut Fields,
    scheme: Option<String>,
    hmac: Option<Value>,
    token: Option<Value>,
) -> Option<SourceProof> {
    match (scheme, hmac, token) {
        (None, None, None) => None,
        (Some(name), None, None) => Some(SourceProof::Scheme(name)),
        (None, Some(described), None) => read(fields, "hmac", described).map(SourceProof::Hmac),
        (None, None, Some(place)) => read(fields, "token", place).map(SourceProof::Token),
        _ => fields.take("scheme", Err(Invalid::new("must not stand beside hmac or token"))),
    }
}

fn read<T: DeserializeOwned>(fields: &mut Fields, field: &'static str, value: Value) -> Option<T> {
    // Only names of members are in the error: what is described here is no secret.
    let read = serde_json::from_value(value);
    fields.take(field, read.map_err(|error| Invalid::new(format!("cannot be read: {error}"))))
}

fn spec(request: CreateWebhookSourceRequest) -> Result<SourceSpec, Failure> {
    let mut fields = Fields::default();
    let name = request.name.clone();
    let change = change!(fields, request, None);
    fields.finish(Some(()))?;
    let missing = |field: &'static str| move || Failure::field(field, "must be given");
    let settings = SourceSettings {
        proof: change.proof.ok_or_else(|| {
            Failure::field("scheme", "must be given, or `hmac` or `token` instead: one of them")
        })?,
        secret: change.secret.ok_or_else(missing("secret"))?,
        field: change.field.flatten(),
        public_url: change.public_url.ok_or_else(missing("public_url"))?,
        to: change.to.ok_or_else(missing("to"))?,
        allow_internal: change.allow_internal.unwrap_or_default(),
        allow_plaintext: change.allow_plaintext.unwrap_or_default(),
        tolerance_s: change.tolerance_s.flatten(),
        allow_from: change.allow_from.unwrap_or_default(),
        event_id: change.event_id.flatten(),
        handshake_field: change.handshake_field.flatten(),
        max_body_bytes: change.max_body_bytes.unwrap_or(SourceSettings::USUAL_BODY),
        attempts: change.attempts.unwrap_or(SourceSettings::USUAL_ATTEMPTS),
        patience_ms: change.patience_ms.unwrap_or(SourceSettings::USUAL_PATIENCE_MS),
        max_concurrent: change.max_concurrent.unwrap_or(SourceSettings::USUAL_CONCURRENCY),
        order_by: change.order_by.flatten(),
        answer_within_ms: change.answer_within_ms.flatten(),
    };
    Ok(SourceSpec { name, settings })
}

fn tally_view(tally: &SourceTally) -> WebhookTallyView {
    let verdicts = tally.verdicts.iter().map(|(verdict, count)| ((*verdict).to_owned(), *count));
    WebhookTallyView {
        verdicts: verdicts.collect(),
        recently_taken: tally.recent.accepted,
        recently_refused: tally.recent.refused,
        failure_burst: tally.is_burst,
    }
}

fn source_view(
    engine: &Engine,
    project: &ProjectName,
    source: &WebhookSource,
) -> WebhookSourceView {
    let settings = source.settings.clone();
    let (hmac, token) = match settings.proof {
        SourceProof::Scheme(_) => (None, None),
        SourceProof::Hmac(described) => (serde_json::to_value(described).ok(), None),
        SourceProof::Token(place) => (None, serde_json::to_value(place).ok()),
    };
    let of_project = if project.is_default() { String::new() } else { format!("@{project}/") };
    WebhookSourceView {
        path: format!("/hooks/{of_project}{}", source.name),
        name: source.name.clone(),
        scheme: source.scheme().name().to_owned(),
        hmac,
        token,
        secret: settings.secret.as_str().to_owned(),
        field: settings.field,
        public_url: settings.public_url,
        to: settings.to,
        allow_internal: settings.allow_internal,
        allow_plaintext: settings.allow_plaintext,
        tolerance_s: settings.tolerance_s.or(source.scheme().tolerance_s()),
        allow_from: settings.allow_from.iter().map(ToString::to_string).collect(),
        event_id: settings.event_id,
        handshake_field: settings.handshake_field,
        max_body_bytes: settings.max_body_bytes,
        attempts: settings.attempts,
        patience_ms: settings.patience_ms,
        max_concurrent: settings.max_concurrent,
        order_by: settings.order_by,
        answer_within_ms: settings.answer_within_ms,
        tally: tally_view(&engine.webhook_tally(project, &source.name)),
        paused: source.paused,
        created_by: source.created_by.clone(),
        created_at: source.created_at,
        updated_at: source.updated_at,
    }
}

fn event_view(event: &WebhookEvent) -> WebhookEventView {
    let progress = &event.progress;
    WebhookEventView {
        id: event.id.clone(),
        source: event.source.clone(),
        event_id: event.event_id.clone(),
        received_at: event.received_at,
        bytes: event.bytes,
        state: progress.state.as_str().to_owned(),
        attempts: progress.attempts,
        next_attempt_at: progress.due_at,
        status: progress.status,
        failure: progress.failure.clone(),
        updated_at: progress.changed_at,
    }
}
