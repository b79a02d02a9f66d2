//! Ours beside Vault's: what a secret is, and why somebody may do something.

use axum::body::Body;
use http::{Method, Response};
use keyreeve_core::vault::{About, Capability, SecretPath};
use keyreeve_engine::{
    Engine, RequestId,
    action::ReadPolicies,
    vault::{Explanation, VaultAccess},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    answer::{Refusal, data, done},
    request::VaultRequest,
    visitor::Visitor,
};
use crate::problem::Failure;

/// `secret/about/…`: whose a secret is and what is to be done with it.
pub(super) async fn serve(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let path: SecretPath =
        path.parse().map_err(|rule| Refusal::bad_request(format!("the path {rule}")))?;
    if request.parts.method == Method::GET {
        let secret = engine.secret_metadata(access, &path).await?;
        return Ok(data(id, json!(secret.about)));
    }
    if !request.writes() && request.parts.method != Method::PATCH {
        return Err(Refusal::unsupported());
    }
    let change = Change::read(request.json()?)?;
    engine.describe_secret(access, &path, |about| change.apply(about)).await?;
    Ok(done())
}

/// Members that are named change; `null` takes them away.
struct Change(About, Vec<&'static str>);

impl Change {
    fn read(body: Map<String, Value>) -> Result<Self, Refusal> {
        fn of<T: DeserializeOwned>(name: &str, value: Value) -> Result<Option<T>, Refusal> {
            serde_json::from_value(value)
                .map_err(|_| Refusal::bad_request(format!("{name} has not the form that it takes")))
        }
        let (mut about, mut named) = (About::default(), Vec::new());
        for (name, value) in body {
            match name.as_str() {
                "provider" => about.provider = of(&name, value)?,
                "owner" => about.owner = of(&name, value)?,
                "risk" => about.risk = of(&name, value)?,
                "expires_at" => about.expires_at = of(&name, value)?,
                "rotate_every_days" => about.rotate_every_days = of(&name, value)?,
                _ => {
                    let known = "provider, owner, risk, expires_at and rotate_every_days";
                    return Err(Refusal::bad_request(format!("the body takes {known}")));
                }
            }
            let all = ["provider", "owner", "risk", "expires_at", "rotate_every_days"];
            named.extend(all.into_iter().find(|it| *it == name));
        }
        Ok(Self(about, named))
    }

    fn apply(&self, about: &mut About) {
        let Self(new, named) = self;
        for name in named {
            match *name {
                "provider" => about.provider.clone_from(&new.provider),
                "owner" => about.owner.clone_from(&new.owner),
                "risk" => about.risk.clone_from(&new.risk),
                "expires_at" => about.expires_at = new.expires_at,
                _ => about.rotate_every_days = new.rotate_every_days,
            }
        }
    }
}

#[derive(Default, Deserialize)]
struct ExplainBody {
    #[serde(default)]
    path: String,
    /// Those of whoever asks, if none are named.
    #[serde(default)]
    policies: Vec<String>,
}

/// `sys/keyreeve/explain`: which rule decides for a path.
pub(super) async fn explain(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: ExplainBody = request.json()?;
    if body.path.len() > 512 || body.policies.len() > 64 {
        return Err(Refusal::bad_request("path must be at most 512 bytes, policies at most 64"));
    }
    let why = if body.policies.is_empty() {
        visitor.access.explain(&body.path)
    } else {
        let caller = visitor.caller()?;
        let permit = engine.authorize::<ReadPolicies>(caller).await.map_err(Failure::from)?;
        engine.explain_policies(&permit, &body.policies, &body.path)?
    };
    let Explanation { everything, pattern, policies, granted } = why;
    let granted: Vec<_> = granted.iter().map(Capability::as_str).collect();
    Ok(data(
        id,
        json!({
            "path": body.path,
            "everything": everything,
            "pattern": pattern,
            "policies": policies,
            "granted": granted,
        }),
    ))
}
