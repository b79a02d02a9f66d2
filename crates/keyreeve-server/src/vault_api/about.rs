//! Ours beside Vault's: what a secret is, and why somebody may do something.

use axum::body::Body;
use http::{Method, Response};
use keyreeve_core::vault::{About, Capability};
use keyreeve_engine::{
    Engine, RequestId,
    action::ReadPolicies,
    vault::{Explanation, VaultAccess},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    answer::{Refusal, data, done},
    kv::path_of,
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
    let path = path_of(path)?;
    if request.parts.method == Method::GET {
        let secret = engine.secret_metadata(access, &path).await?;
        let mut shown = json!(secret.about);
        if let Value::Object(members) = &mut shown {
            let mut labels = json!(secret.aliases);
            for label in ["current", "previous", "pending"] {
                if let Some(version) = secret.labelled(label) {
                    labels[label] = json!(version);
                }
            }
            members.insert("labels".to_owned(), labels);
        }
        return Ok(data(id, shown));
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
struct VersionBody {
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    label: String,
}

/// `secret/promote/…`: makes a version the current one.
pub(super) async fn promote(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: VersionBody = request.json()?;
    let version = engine.promote_version(access, &path_of(path)?, body.version).await?;
    Ok(data(id, json!({ "version": version })))
}

/// `secret/label/…`: gives a version another name, or without a version takes the name away.
pub(super) async fn label(
    engine: &Engine,
    access: &VaultAccess,
    request: &VaultRequest,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let body: VersionBody = request.json()?;
    engine.label_version(access, &path_of(path)?, &body.label, body.version).await?;
    Ok(done())
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
        let caller = visitor.caller(engine, request).await?;
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
