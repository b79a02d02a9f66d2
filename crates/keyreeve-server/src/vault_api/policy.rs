//! `sys/policies/acl` and, as older clients say it, `sys/policy`.

use axum::body::Body;
use http::{Method, Response};
use keyreeve_core::vault::{PolicyName, VaultPolicy};
use keyreeve_engine::{
    Caller, Engine, RequestId,
    action::{ManagePolicies, ReadPolicies},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    answer::{Refusal, data, done, spread},
    request::VaultRequest,
};
use crate::problem::Failure;

#[derive(Default, Deserialize)]
struct PolicyBody {
    /// `rules` is what `sys/policy` calls it.
    #[serde(default, alias = "rules")]
    policy: Option<String>,
}

/// One policy, by name; or all of them.
pub(super) async fn serve(
    engine: &Engine,
    caller: &Caller,
    request: &VaultRequest,
    name: Option<&str>,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let method = &request.parts.method;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        if !request.lists() && *method != Method::GET {
            return Err(Refusal::unsupported());
        }
        let permit = engine.authorize::<ReadPolicies>(caller).await.map_err(Failure::from)?;
        let names = engine.policies(&permit)?;
        return Ok(spread(id, json!({ "keys": names, "policies": names })));
    };
    let name: PolicyName =
        name.parse().map_err(|rule| Refusal::bad_request(format!("the policy's name {rule}")))?;
    if request.writes() {
        let permit = engine.authorize::<ManagePolicies>(caller).await.map_err(Failure::from)?;
        let text = request.json::<PolicyBody>()?.policy;
        let text = text
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Refusal::bad_request("'policy' parameter not supplied or empty"))?;
        let policy = VaultPolicy::parse(name, &text)
            .map_err(|mistake| Refusal::bad_request(format!("the policy: {mistake}")))?;
        engine.put_policy(&permit, &policy).await?;
        return Ok(done());
    }
    if *method == Method::DELETE {
        let permit = engine.authorize::<ManagePolicies>(caller).await.map_err(Failure::from)?;
        engine.delete_policy(&permit, &name).await?;
        return Ok(done());
    }
    let permit = engine.authorize::<ReadPolicies>(caller).await.map_err(Failure::from)?;
    let policy = engine.policy(&permit, &name).await?.ok_or_else(Refusal::nothing)?;
    let answer = json!({ "name": name.as_str(), "policy": policy.text(), "rules": policy.text() });
    Ok(data(id, answer))
}
