//! `/api/v1/audit`.

use axum::{Json, body::Body, extract::State, response::Response};
use futures_util::stream;
use http::{HeaderValue, header};
use keyreeve_api::{AuditEntryView, CheckpointView, ListAuditQuery, Page};
use keyreeve_core::{
    Invalid,
    audit::{Checkpoint, Outcome},
};
use keyreeve_engine::{
    action::{ExportAudit, ReadAudit},
    store::AuditFilter,
};

use super::fields::Fields;
use crate::{
    extract::{Authenticated, EngineRef, QueryString, page_request},
    problem::{Answer, Failure},
    view,
};

/// Lists the project's audit entries, newest first. Reading them is itself recorded.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "audit",
    params(ListAuditQuery),
    responses((status = 200, description = "A page of entries", body = Page<AuditEntryView>))
)]
pub(crate) async fn list(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    QueryString(query): QueryString<ListAuditQuery>,
) -> Answer<Json<Page<AuditEntryView>>> {
    let permit = engine.authorize::<ReadAudit>(&caller).await?;
    let page = page_request(query.limit, query.cursor.as_deref())?;
    let found = engine.audit_entries(permit, &filter(query)?, &page).await?;
    Ok(Json(view::page(found, view::audit_entry)))
}

fn filter(query: ListAuditQuery) -> Result<AuditFilter, Failure> {
    let mut fields = Fields::default();
    let outcome = query.outcome.as_deref().map(|outcome| match outcome {
        "done" => Ok(Outcome::Done),
        "denied" => Ok(Outcome::Denied),
        _ => Err(Invalid::new("must be done or denied")),
    });
    let filter = AuditFilter {
        actor: query.actor,
        action: query.action,
        target: query.target,
        outcome: fields.take("outcome", outcome.transpose()).flatten(),
        since: query.since,
        until: query.until,
    };
    fields.finish(Some(filter))
}

/// The signed tree head over all entries so far. Keep it elsewhere: it proves later that nothing before it was altered.
#[utoipa::path(
    get,
    path = "/api/v1/audit/checkpoint",
    tag = "audit",
    responses((status = 200, description = "The signed tree head", body = CheckpointView))
)]
pub(crate) async fn checkpoint(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Json<CheckpointView>> {
    let permit = engine.authorize::<ReadAudit>(&caller).await?;
    let (note, public_key) = engine.audit_checkpoint(&permit).await?;
    let head = Checkpoint::parse_note(&note).map_err(|_| damaged())?;
    Ok(Json(CheckpointView {
        size: head.size(),
        root: head.root().to_base64(),
        checkpoint: note,
        public_key: public_key.to_owned(),
    }))
}

fn damaged() -> Failure {
    Failure::new(keyreeve_api::ErrorCode::StoreUnavailable)
}

/// The whole installation's log as JSON lines that can be checked offline. Admins of the default project may.
#[utoipa::path(
    get,
    path = "/api/v1/audit/export",
    tag = "audit",
    responses((status = 200, description = "JSON lines: header, entries, signed tree heads", body = String))
)]
pub(crate) async fn export(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
) -> Answer<Response> {
    let permit = engine.authorize::<ExportAudit>(&caller).await?;
    let export = engine.begin_audit_export(&permit).await?;
    // Read piece by piece as the caller takes them: a log can be larger than memory.
    let pieces = stream::try_unfold((engine, export), async |(engine, mut export)| {
        let piece = engine.audit_export_chunk(&mut export).await?;
        Ok::<_, keyreeve_engine::store::StoreError>(piece.map(|piece| (piece, (engine, export))))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(response)
}
