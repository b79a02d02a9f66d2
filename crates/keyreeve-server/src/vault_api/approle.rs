//! `auth/approle/…`: roles that programs log in as.

use std::{collections::BTreeMap, sync::Arc};

use axum::body::Body;
use http::{Method, Response};
use jiff::SignedDuration;
use keyreeve_core::{
    Secret,
    vault::{AppRole, AppRoleName, SecretId},
};
use keyreeve_engine::{
    Engine, Permit, RequestId,
    action::ManageAppRoles,
    vault::{IssuedSecretId, NewSecretId, VaultError},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    answer::{Refusal, data, done, spread},
    request::VaultRequest,
    token::{issued, length},
    visitor::Visitor,
    wrapping::Wrapper,
};
use crate::{authenticate::Arrival, problem::Failure};

#[derive(Default, Deserialize)]
struct LoginBody {
    #[serde(default)]
    role_id: String,
    #[serde(default)]
    secret_id: String,
}

/// Gives a token to a program that knows a role's id and a secret id of it.
pub(super) async fn login(
    engine: &Engine,
    request: &VaultRequest,
    arrival: &Arrival,
) -> Result<Response<Body>, Refusal> {
    if !engine.can_vouch() {
        return Err(Failure::new(keyreeve_api::ErrorCode::StoreUnavailable).into());
    }
    let body: LoginBody = request.json()?;
    let secret_id = Secret::new(body.secret_id);
    if body.role_id.is_empty() {
        return Err(Refusal::bad_request("missing role_id"));
    }
    match engine.approle_login(&body.role_id, &secret_id, arrival.meta).await {
        Ok((project, made)) => {
            let mut answer = issued(&made.text, &made.token, engine.now(), &arrival.meta.id);
            // Whoever wraps the answer has to know whose it is.
            let actor = made.token.actor();
            answer.extensions_mut().insert(Wrapper { project, actor });
            Ok(answer)
        }
        Err(error) => {
            if matches!(error, VaultError::BadLogin) {
                engine.admit_anonymous(arrival.meta.ip).map_err(Failure::from)?;
                engine.count_failed_authentication(arrival.meta.ip, "approle_login");
            }
            if let VaultError::Tampered { .. } = error {
                // Nobody without a credential is told what is there.
                tracing::error!(%error, "a login failed");
                return Err(VaultError::BadLogin.into());
            }
            Err(error.into())
        }
    }
}

/// Everything below `auth/approle/role`.
pub(super) async fn serve(
    engine: &Engine,
    visitor: &Visitor,
    request: &VaultRequest,
    call: &[&str],
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let caller = visitor.caller(engine, request).await?;
    let permit = engine.authorize::<ManageAppRoles>(caller).await.map_err(Failure::from)?;
    let Some((name, rest)) = call.split_first() else {
        if !request.lists() {
            return Err(Refusal::unsupported());
        }
        let names = engine.approles(&permit)?;
        return if names.is_empty() {
            Err(Refusal::nothing())
        } else {
            Ok(spread(id, json!({ "keys": names })))
        };
    };
    let name: AppRoleName =
        name.parse().map_err(|rule| Refusal::bad_request(format!("the role's name {rule}")))?;
    if rest.is_empty() {
        return role(engine, &permit, request, &name, id).await;
    }
    let known = engine.approle(&permit, &name)?;
    let known = known
        .ok_or_else(|| Refusal::not_found(format!("role {:?} does not exist", name.as_str())))?;
    match rest {
        ["role-id"] if request.parts.method == Method::GET => {
            Ok(data(id, json!({ "role_id": known.role_id })))
        }
        ["role-id"] if request.writes() => {
            let new = request.json::<LoginBody>()?.role_id;
            engine.put_approle(&permit, &name, |role| role.role_id.clone_from(&new)).await?;
            Ok(done())
        }
        ["secret-id"] if request.lists() => {
            let found = engine.list_secret_ids(&permit, &name)?;
            let accessors: Vec<_> = found.iter().map(|(_, it)| it.accessor.as_str()).collect();
            if accessors.is_empty() {
                return Err(Refusal::nothing());
            }
            Ok(data(id, json!({ "keys": accessors })))
        }
        ["secret-id" | "custom-secret-id"] if request.writes() => {
            make_secret_id(engine, &permit, request, &name, rest == ["custom-secret-id"], id).await
        }
        ["secret-id" | "secret-id-accessor", what] => {
            let permitted = (engine, &permit);
            about_secret_id(permitted, request, &name, rest[0] == "secret-id-accessor", what, id)
                .await
        }
        _ => Err(Refusal::unsupported()),
    }
}

async fn role(
    engine: &Engine,
    permit: &Permit<'_, ManageAppRoles>,
    request: &VaultRequest,
    name: &AppRoleName,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    if request.writes() {
        let change = RoleChange::read(&request.json::<Map<String, Value>>()?)?;
        engine.put_approle(permit, name, |role| change.apply(role)).await?;
        return Ok(done());
    }
    match request.parts.method {
        Method::GET => {
            let role = engine.approle(permit, name)?.ok_or_else(Refusal::nothing)?;
            Ok(data(id, role_json(&role)))
        }
        Method::DELETE => {
            engine.delete_approle(permit, name).await?;
            Ok(done())
        }
        _ => Err(Refusal::unsupported()),
    }
}

fn role_json(role: &AppRole) -> Value {
    json!({
        "bind_secret_id": role.bind_secret_id,
        "local_secret_ids": false,
        "secret_id_bound_cidrs": null,
        "secret_id_num_uses": role.secret_id_num_uses,
        "secret_id_ttl": role.secret_id_ttl.as_secs(),
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": 0,
        "token_max_ttl": role.token_max_ttl.as_secs(),
        "token_no_default_policy": false,
        "token_num_uses": role.token_num_uses,
        "token_period": role.token_period.as_secs(),
        "token_policies": role.token_policies,
        "token_strictly_bind_ip": false,
        "token_ttl": role.token_ttl.as_secs(),
        "token_type": "default",
    })
}

/// What of a role is to be different. Members that nobody named stay.
#[derive(Default)]
struct RoleChange {
    policies: Option<Vec<String>>,
    lengths: Vec<(&'static str, SignedDuration)>,
    numbers: Vec<(&'static str, u64)>,
    bind_secret_id: Option<bool>,
    role_id: Option<String>,
}

impl RoleChange {
    fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut change = Self::default();
        for (name, value) in body {
            change.member(name, value)?;
        }
        Ok(change)
    }

    fn member(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        const LENGTHS: [&str; 4] = ["token_ttl", "token_max_ttl", "token_period", "secret_id_ttl"];
        const NUMBERS: [&str; 2] = ["token_num_uses", "secret_id_num_uses"];
        let bad = |rule: &str| Refusal::bad_request(format!("{name} {rule}"));
        if let Some(name) = LENGTHS.into_iter().find(|it| *it == name) {
            self.lengths.push((name, length(value, name)?));
        } else if let Some(known) = NUMBERS.into_iter().find(|it| *it == name) {
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            self.numbers.push((known, number.ok_or_else(|| bad("must be a whole number"))?));
        } else {
            match name {
                "token_policies" | "policies" => {
                    let names = names(value).ok_or_else(|| bad("must be names of policies"))?;
                    self.policies = Some(names);
                }
                "bind_secret_id" => {
                    let flag = value.as_bool().or_else(|| value.as_str()?.parse().ok());
                    self.bind_secret_id = Some(flag.ok_or_else(|| bad("must be true or false"))?);
                }
                "role_id" => self.role_id = value.as_str().map(str::to_owned),
                // What says nothing is taken; what would restrict something must not be passed over.
                _ if is_empty(value) => {}
                "token_type" if matches!(value.as_str(), Some("default" | "service")) => {}
                _ => return Err(bad("is not supported here")),
            }
        }
        Ok(())
    }

    fn apply(&self, role: &mut AppRole) {
        if let Some(policies) = &self.policies {
            role.token_policies.clone_from(policies);
        }
        if let Some(role_id) = &self.role_id {
            role.role_id.clone_from(role_id);
        }
        role.bind_secret_id = self.bind_secret_id.unwrap_or(role.bind_secret_id);
        for (name, length) in &self.lengths {
            match *name {
                "token_ttl" => role.token_ttl = *length,
                "token_max_ttl" => role.token_max_ttl = *length,
                "token_period" => role.token_period = *length,
                _ => role.secret_id_ttl = *length,
            }
        }
        for (name, number) in &self.numbers {
            match *name {
                "token_num_uses" => role.token_num_uses = *number,
                _ => role.secret_id_num_uses = *number,
            }
        }
    }
}

/// Names in a list, or with commas between them.
fn names(value: &Value) -> Option<Vec<String>> {
    let names: Vec<String> = match value {
        Value::String(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        Value::Array(items) => {
            items.iter().map(|it| it.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        Value::Null => Vec::new(),
        _ => return None,
    };
    Some(names.into_iter().filter(|name| !name.is_empty()).collect())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[derive(Default, Deserialize)]
struct SecretIdBody {
    #[serde(default)]
    secret_id: String,
    #[serde(default)]
    secret_id_accessor: String,
    /// An object, or JSON in a text, as Vault has it.
    #[serde(default)]
    metadata: Value,
    #[serde(default)]
    ttl: Value,
    #[serde(default)]
    num_uses: Option<u64>,
    #[serde(default)]
    cidr_list: Value,
    #[serde(default)]
    token_bound_cidrs: Value,
}

impl SecretIdBody {
    fn metadata(&self) -> Result<BTreeMap<String, String>, Refusal> {
        let refuse = || Refusal::bad_request("metadata must be JSON with texts as values");
        let object = match &self.metadata {
            Value::String(text) if text.is_empty() => Value::Null,
            Value::String(text) => serde_json::from_str(text).map_err(|_| refuse())?,
            other => other.clone(),
        };
        match object {
            Value::Null => Ok(BTreeMap::new()),
            other => serde_json::from_value(other).map_err(|_| refuse()),
        }
    }
}

async fn make_secret_id(
    engine: &Engine,
    permit: &Permit<'_, ManageAppRoles>,
    request: &VaultRequest,
    name: &AppRoleName,
    is_custom: bool,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: SecretIdBody = request.json()?;
    if !is_empty(&body.cidr_list) || !is_empty(&body.token_bound_cidrs) {
        return Err(Refusal::bad_request("addresses are not bound here"));
    }
    let ttl = if body.ttl.is_null() { None } else { Some(length(&body.ttl, "ttl")?) };
    let new = NewSecretId { metadata: body.metadata()?, ttl, num_uses: body.num_uses };
    let text = is_custom.then(|| Secret::new(body.secret_id));
    let made = engine.create_secret_id(permit, name, new, text).await?;
    let IssuedSecretId { text, secret_id } = made.ok_or_else(Refusal::nothing)?;
    let answer = json!({
        // EXPOSE: this answer is where its holder gets it.
        "secret_id": text.expose(),
        "secret_id_accessor": secret_id.accessor,
        "secret_id_num_uses": secret_id.num_uses,
        "secret_id_ttl": secret_id.ttl.as_secs(),
    });
    Ok(data(id, answer))
}

/// `lookup` and `destroy`, by the secret id or by its accessor.
async fn about_secret_id(
    (engine, permit): (&Engine, &Permit<'_, ManageAppRoles>),
    request: &VaultRequest,
    name: &AppRoleName,
    by_accessor: bool,
    what: &str,
    id: &RequestId,
) -> Result<Response<Body>, Refusal> {
    let body: SecretIdBody = request.json()?;
    let digest = keyreeve_core::vault::credential_digest(&body.secret_id);
    let is_it = |(record, it): &(String, Arc<SecretId>)| {
        if by_accessor { it.accessor == body.secret_id_accessor } else { record.ends_with(&digest) }
    };
    let found = engine.list_secret_ids(permit, name)?.into_iter().find(is_it);
    match what {
        "destroy" if request.writes() || request.parts.method == Method::DELETE => {
            if let Some((record, _)) = found {
                engine.destroy_secret_id(permit, &record).await?;
            }
            Ok(done())
        }
        "lookup" if request.writes() => {
            let Some((_, it)) = found else {
                // As Vault has it: an unknown accessor is an error, an unknown secret id is nothing.
                return if by_accessor { Err(Refusal::nothing()) } else { Ok(done()) };
            };
            Ok(data(id, secret_id_json(&it)))
        }
        _ => Err(Refusal::unsupported()),
    }
}

fn secret_id_json(it: &SecretId) -> Value {
    let never = "0001-01-01T00:00:00Z";
    json!({
        "cidr_list": [],
        "creation_time": it.created_at.to_string(),
        "expiration_time": it.expires_at.map_or_else(|| never.to_owned(), |at| at.to_string()),
        "last_updated_time": it.created_at.to_string(),
        "metadata": it.metadata,
        "secret_id_accessor": it.accessor,
        "secret_id_num_uses": it.uses_left.unwrap_or(0),
        "secret_id_ttl": it.ttl.as_secs(),
        "token_bound_cidrs": [],
    })
}
