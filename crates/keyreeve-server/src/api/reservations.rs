//! `/api/v1/reservations` and `/api/v1/leases`: what a verification set aside or took.

use axum::{Json, extract::State};
use http::StatusCode;
use keyreeve_api::{CommitReservationRequest, QuotaLevelView};
use keyreeve_engine::action::VerifyKey;

use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::Answer,
};

/// Spends from what was set aside; what is over is free again.
#[utoipa::path(
    post,
    path = "/api/v1/reservations/{id}/commit",
    tag = "verify",
    params(("id" = String, Path, description = "As the verification named it")),
    request_body = CommitReservationRequest,
    responses((status = 200, description = "The quota as it stands now", body = QuotaLevelView))
)]
pub(crate) async fn commit(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: JsonBody<CommitReservationRequest>,
) -> Answer<Json<QuotaLevelView>> {
    let permit = engine.authorize::<VerifyKey>(&caller).await?;
    let state = engine.commit_reservation(&permit, id.parse("id")?, body.value.amount).await?;
    Ok(Json(QuotaLevelView {
        amount: state.amount,
        remaining: state.remaining,
        resets_at: state.resets_at,
        exceeded: state.exceeded,
    }))
}

/// Frees what was set aside.
#[utoipa::path(
    post,
    path = "/api/v1/reservations/{id}/cancel",
    tag = "verify",
    params(("id" = String, Path, description = "As the verification named it")),
    responses((status = 204, description = "Free again"))
)]
pub(crate) async fn cancel(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<VerifyKey>(&caller).await?;
    engine.cancel_reservation(&permit, id.parse("id")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives up a place among the requests in flight.
#[utoipa::path(
    post,
    path = "/api/v1/leases/{id}/release",
    tag = "verify",
    params(("id" = String, Path, description = "As the verification named it")),
    responses((status = 204, description = "Given up"))
)]
pub(crate) async fn release(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<StatusCode> {
    let permit = engine.authorize::<VerifyKey>(&caller).await?;
    engine.release_lease(&permit, id.parse("id")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
