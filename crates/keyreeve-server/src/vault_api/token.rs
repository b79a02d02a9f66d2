//! `auth/token/…`: tokens of the vault, and API keys as far as they are used as such.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use http::{Method, Response};
use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Secret,
    audit::Actor,
    vault::{TokenParent, VaultToken},
};
use keyreeve_engine::{Caller, Engine, RequestId, vault::NewToken};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{Envelope, Refusal, data, done, spread},
    duration,
    request::VaultRequest,
    visitor::{Visitor, Who},
};
use crate::problem::Failure;

/// What clients are told of a token, or of an API key as if it were one.
struct Standing {
    accessor: String,
    display_name: String,
    path: String,
    created_at: Timestamp,
    creation_ttl: SignedDuration,
    expires_at: Option<Timestamp>,
    ttl: SignedDuration,
    explicit_max_ttl: SignedDuration,
    period: Option<SignedDuration>,
    policies: Vec<String>,
    meta: Value,
    num_uses: u64,
    renewable: bool,
    renewed_at: Option<Timestamp>,
    orphan: bool,
}

impl Standing {
    fn of_token(token: &VaultToken, now: Timestamp) -> Self {
        Self {
            accessor: token.accessor.clone(),
            display_name: token.display_name.clone(),
            path: token.path.clone(),
            created_at: token.created_at,
            creation_ttl: token.ttl,
            expires_at: Some(token.expires_at),
            ttl: token.ttl_left(now),
            explicit_max_ttl: SignedDuration::ZERO,
            period: token.period,
            policies: token.policies.clone(),
            meta: if token.meta.is_empty() { Value::Null } else { json!(token.meta) },
            num_uses: token.uses_left.unwrap_or(0),
            renewable: token.renewable,
            renewed_at: token.renewed_at,
            orphan: token.parent == TokenParent::None,
        }
    }

    /// An API key: it is not renewed, and its end is its own.
    async fn of_caller(engine: &Engine, caller: &Caller) -> Result<Self, Refusal> {
        let now = engine.now();
        let key = engine.own_key(caller).await.map_err(Failure::from)?;
        let expires_at = key.as_ref().and_then(|key| key.expires_at);
        let ttl = expires_at.map_or(SignedDuration::ZERO, |at| at.duration_since(now));
        let ttl = ttl.max(SignedDuration::ZERO);
        let named = key.as_ref().map(|key| (key.id.to_string(), key.name.to_string()));
        let (accessor, display_name) =
            named.unwrap_or_else(|| (String::new(), caller.actor().to_string()));
        Ok(Self {
            accessor,
            display_name,
            path: "auth/token/create".to_owned(),
            created_at: key.as_ref().map_or(now, |key| key.created_at),
            creation_ttl: ttl,
            expires_at,
            ttl,
            explicit_max_ttl: SignedDuration::ZERO,
            period: None,
            policies: engine.policy_names(caller),
            meta: Value::Null,
            num_uses: 0,
            renewable: false,
            renewed_at: None,
            orphan: true,
        })
    }

    /// As a lookup answers.
    fn lookup(&self, id: &str) -> Value {
        let mut answer = json!({
            "accessor": self.accessor,
            "creation_time": self.created_at.as_second(),
            "creation_ttl": self.creation_ttl.as_secs(),
            "display_name": self.display_name,
            "entity_id": "",
            "expire_time": self.expires_at.map(|at| at.to_string()),
            "explicit_max_ttl": self.explicit_max_ttl.as_secs(),
            "id": id,
            "issue_time": self.created_at.to_string(),
            "meta": self.meta,
            "num_uses": self.num_uses,
            "orphan": self.orphan,
            "path": self.path,
            "policies": self.policies,
            "renewable": self.renewable,
            "ttl": self.ttl.as_secs(),
            "type": "service",
        });
        // These are there only where they say something.
        let mut add = |name: &str, value: Value| {
            if let Value::Object(members) = &mut answer {
                members.insert(name.to_owned(), value);
            }
        };
        if let Some(period) = self.period {
            add("period", json!(period.as_secs()));
        }
        if let Some(at) = self.renewed_at {
            add("last_renewal", json!(at.to_string()));
            add("last_renewal_time", json!(at.as_second()));
        }
        answer
    }

    /// As a login or a renewal answers.
    fn auth(&self, client_token: &str) -> Value {
        json!({
            "client_token": client_token,
            "accessor": self.accessor,
            "policies": self.policies,
            "token_policies": self.policies,
            "metadata": self.meta,
            "lease_duration": self.ttl.as_secs(),
            "renewable": self.renewable,
            "entity_id": "",
            "token_type": "service",
            "orphan": self.orphan,
            "mfa_requirement": null,
            "num_uses": self.num_uses,
        })
    }
}

/// A token that was made for somebody, as the answer to a login.
pub(super) fn issued(
    text: &Secret<String>,
    token: &VaultToken,
    now: Timestamp,
    id: &RequestId,
) -> Response<Body> {
    // EXPOSE: this answer is where its holder gets it.
    let auth = Standing::of_token(token, now).auth(text.expose());
    Envelope { auth, ..Envelope::default() }.respond(id)
}

#[derive(Default, Deserialize)]
struct CreateBody {
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    no_default_policy: bool,
    #[serde(default)]
    no_parent: bool,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    ttl: Value,
    #[serde(default)]
    explicit_max_ttl: Value,
    #[serde(default)]
    period: Value,
    #[serde(default)]
    num_uses: u64,
    #[serde(default = "yes")]
    renewable: bool,
}

fn yes() -> bool {
    true
}

/// A length of time; nothing and empty text are zero.
pub(super) fn length(value: &Value, field: &str) -> Result<SignedDuration, Refusal> {
    if value.is_null() {
        return Ok(SignedDuration::ZERO);
    }
    duration::parse(value).ok_or_else(|| {
        Refusal::bad_request(format!("{field} must be a length of time, such as 1h"))
    })
}

/// Everything below `auth/token/`.
pub(super) async fn serve(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    call: &[&str],
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let read = request.parts.method == Method::GET;
    match call {
        ["lookup-self"] if read || request.writes() => {
            let standing = standing(engine, visitor).await?;
            Ok(data(id, standing.lookup(request.token())))
        }
        ["renew-self"] if request.writes() => renew_self(engine, visitor, request, id).await,
        ["revoke-self"] if request.writes() => match &visitor.who {
            Who::Holder { id: own, .. } => {
                engine.revoke_token(&visitor.access, own).await?;
                Ok(done())
            }
            Who::Caller(_) => Err(Refusal::bad_request(
                "this token is an API key; revoke it with `keyreeve key revoke`",
            )),
        },
        ["create" | "create-orphan"] if request.writes() => {
            create(engine, visitor, request, call == ["create-orphan"], id).await
        }
        ["accessors"] if request.lists() => {
            let accessors = engine.token_accessors(&visitor.access).await?;
            Ok(spread(id, json!({ "keys": accessors })))
        }
        [which] if read || request.writes() => {
            of_another(engine, visitor, request, which, id).await
        }
        _ => Err(Refusal::unsupported()),
    }
}

async fn standing(engine: &Engine, visitor: &Visitor) -> Result<Standing, Refusal> {
    match &visitor.who {
        Who::Caller(caller) => Standing::of_caller(engine, caller).await,
        Who::Holder { token, .. } => Ok(Standing::of_token(token, engine.now())),
    }
}

#[derive(Default, Deserialize)]
struct AboutBody {
    #[serde(default)]
    token: String,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    increment: Value,
}

impl AboutBody {
    fn increment(&self) -> Result<Option<SignedDuration>, Refusal> {
        Ok(Some(length(&self.increment, "increment")?).filter(SignedDuration::is_positive))
    }
}

async fn renew_self(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let standing = match &visitor.who {
        // An API key is not renewed: it is answered as it stands.
        Who::Caller(caller) => Standing::of_caller(engine, caller).await?,
        Who::Holder { id: own, .. } => {
            let increment = request.json::<AboutBody>()?.increment()?;
            let token = engine.renew_token(&visitor.access, own, increment).await?;
            Standing::of_token(&token, engine.now())
        }
    };
    let auth = standing.auth(request.token());
    Ok(Envelope { auth, ..Envelope::default() }.respond(id))
}

async fn create(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    orphan: bool,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: CreateBody = request.json()?;
    let orphan = orphan || body.no_parent;
    if orphan && !visitor.access.may_everything() {
        return Err(Refusal::bad_request(
            "root or sudo privileges required to create orphan token",
        ));
    }
    let parent = match &visitor.who {
        Who::Holder { token, .. } if token.uses_left.is_some() => {
            let error = "restricted use token cannot generate child tokens";
            return Err(Refusal::bad_request(error));
        }
        _ if orphan => TokenParent::None,
        Who::Holder { id, .. } => TokenParent::Token(id.clone()),
        Who::Caller(caller) => match caller.actor() {
            Actor::Key(id) => TokenParent::Key(id.to_string()),
            _ => TokenParent::None,
        },
    };
    let display_name = match body.display_name.as_str() {
        "" => "token".to_owned(),
        name => format!("token-{name}"),
    };
    let new = NewToken {
        policies: body.policies,
        no_default_policy: body.no_default_policy,
        display_name,
        meta: body.meta.unwrap_or_default(),
        ttl: length(&body.ttl, "ttl")?,
        max_ttl: length(&body.explicit_max_ttl, "explicit_max_ttl")?,
        period: length(&body.period, "period")?,
        num_uses: body.num_uses,
        renewable: body.renewable,
    };
    let made = engine.create_token(&visitor.access, parent, new).await?;
    Ok(issued(&made.text, &made.token, engine.now(), id))
}

/// Calls about a token that is named in the body, or in the path of older clients.
async fn of_another(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    call: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: AboutBody = request.json()?;
    let access = &visitor.access;
    let by_accessor = call.ends_with("-accessor");
    let what = call.strip_suffix("-accessor").unwrap_or(call);
    if !matches!(what, "lookup" | "renew" | "revoke") {
        return Err(Refusal::unsupported());
    }
    // Everybody may ask about themselves.
    if !by_accessor && (body.token.is_empty() || body.token == request.token()) {
        return match what {
            "lookup" => {
                let standing = standing(engine, visitor).await?;
                Ok(data(id, standing.lookup(request.token())))
            }
            "renew" => renew_self(engine, visitor, request, id).await,
            _ => Err(Refusal::bad_request("missing token ID")),
        };
    }
    let (found, token): (String, Arc<VaultToken>) = if by_accessor {
        engine.find_token_by_accessor(access, &body.accessor).await?
    } else {
        engine.find_token(access, &body.token).await?
    };
    let now = engine.now();
    match what {
        "lookup" => {
            let shown = if by_accessor { "" } else { body.token.as_str() };
            Ok(data(id, Standing::of_token(&token, now).lookup(shown)))
        }
        "renew" => {
            let token = engine.renew_token(access, &found, body.increment()?).await?;
            let shown = if by_accessor { "" } else { body.token.as_str() };
            let auth = Standing::of_token(&token, now).auth(shown);
            Ok(Envelope { auth, ..Envelope::default() }.respond(id))
        }
        _ => {
            engine.revoke_token(access, &found).await?;
            Ok(done())
        }
    }
}
