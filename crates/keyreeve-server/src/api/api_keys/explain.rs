//! `POST /api/v1/api-keys/{id}/explain` and `GET /api/v1/api-keys/{id}/suggested-limits`.

use axum::{Json, extract::State};
use keyreeve_api::{CheckView, ExplainRequest, ExplanationView, SuggestedLimitsView};
use keyreeve_core::{permission::Query, verdict::VerdictCode};
use keyreeve_engine::{Simulation, VerifyInput, action::ReadKey};

use crate::{
    extract::{Authenticated, EngineRef, JsonBody, Segment},
    problem::{Answer, Failure},
    verify, view,
};

/// Says what would become of a request with this key, check by check. Spends nothing.
#[utoipa::path(
    post,
    path = "/api/v1/api-keys/{id}/explain",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    request_body = ExplainRequest,
    responses((status = 200, description = "Every check", body = ExplanationView))
)]
pub(crate) async fn explain(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
    body: JsonBody<ExplainRequest>,
) -> Answer<Json<ExplanationView>> {
    let permit = engine.authorize::<ReadKey>(&caller).await?;
    let request = body.value;
    let query = request.require.as_deref().map(Query::parse).transpose();
    let query = query.map_err(|rule| Failure::field("require", rule.rule()))?;
    let limits: Vec<(&str, u32)> = request
        .cost
        .iter()
        .flat_map(|cost| &cost.limits)
        .map(|(name, cost)| (name.as_str(), *cost))
        .collect();
    let at = request.request.as_ref().and_then(|context| context.at);
    let input = VerifyInput {
        require: query.as_ref(),
        request: verify::facts(request.request.as_ref()),
        cost: verify::cost(request.cost.as_ref(), &limits),
        simulate: Some(Simulation { at }),
        ..VerifyInput::new("")
    };
    let explained = engine.explain_key(&permit, id.parse("id")?, &input).await?;
    let checks = explained.checks.into_iter().map(|outcome| CheckView {
        check: outcome.check.to_owned(),
        passed: outcome.passed,
        detail: outcome.detail,
    });
    Ok(Json(ExplanationView {
        valid: explained.verdict.code == VerdictCode::Valid,
        code: explained.verdict.code.as_str().to_owned(),
        at: explained.verdict.at,
        checks: checks.collect(),
    }))
}

/// Proposes limits from how the key was used.
#[utoipa::path(
    get,
    path = "/api/v1/api-keys/{id}/suggested-limits",
    tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    responses((status = 200, description = "The proposal", body = SuggestedLimitsView))
)]
pub(crate) async fn suggested_limits(
    State(engine): State<EngineRef>,
    Authenticated(caller): Authenticated,
    id: Segment,
) -> Answer<Json<SuggestedLimitsView>> {
    let permit = engine.authorize::<ReadKey>(&caller).await?;
    let (limits, peaks) = engine.suggest_limits(permit, id.parse("id")?).await?;
    Ok(Json(SuggestedLimitsView {
        limits: limits.iter().map(view::limit).collect(),
        peaks: (!limits.is_empty()).then(|| view::peaks(peaks)),
    }))
}
