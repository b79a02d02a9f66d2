//! Tokens for browsers and other clients that cannot keep a key: minted by the team's backend for a few
//! minutes, for some connections, ended at once where that is needed.

use std::{net::IpAddr, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Invalid, Secret,
    audit::Target,
    key::KeyId,
    model::Policy,
    name::{ConnectionName, ProjectName},
    restriction::{OriginPattern, Restrictions, RoutePattern},
    vault::{credential_digest, new_credential},
    verdict::VerdictCode,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CallRefused, ProxyCall, connection::permission};
use crate::{
    AuthenticationError, Engine, Error, FieldError, Permit,
    action::{IssueClientToken, ManageClientTokens},
    live::LiveKey,
    store::{Change, Kind, RecordKind},
    vault::VaultError,
    verify::Chain,
};

/// What tokens of clients begin with.
pub(super) const CLIENT_TOKEN_PREFIX: &str = "krc_";
/// The longest that one lives.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_hours(1);
const USUAL_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Hexadecimal digits of a token's id.
const ID_LENGTH: usize = 32;
/// The most connections and routes of one token.
const MOST_NAMES: usize = 50;
/// The most tokens of a project at once.
const MOST_TOKENS: usize = 100_000;

/// A token of a client, as it is stored: its digest, and what it is good for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientToken {
    /// Names it without opening anything.
    pub id: String,
    /// SHA-256 of its text, in hexadecimal.
    digest: String,
    /// The key that made it; it ends with that key, and may do no more.
    pub key: String,
    /// The connections it may call through.
    pub connections: Vec<String>,
    /// The only calls it may make, if any are named.
    #[serde(default)]
    pub routes: Vec<RoutePattern>,
    /// The only page that may use it.
    #[serde(default)]
    pub origin: Option<OriginPattern>,
    /// The only address that may use it.
    #[serde(default)]
    pub ip: Option<IpAddr>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl ClientToken {
    /// Whether it has not ended by itself.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// What a new token is to be good for.
#[derive(Clone, Debug)]
pub struct ClientTokenSpec {
    /// The connections it may call through: at least one.
    pub connections: Vec<String>,
    /// The only calls it may make, if any are named.
    pub routes: Vec<RoutePattern>,
    /// The only page that may use it.
    pub origin: Option<OriginPattern>,
    /// The only address that may use it.
    pub ip: Option<IpAddr>,
    /// How long it lives: at most an hour; ten minutes if `None`.
    pub life: Option<SignedDuration>,
}

/// A token that was made. Its text is known to nobody else.
#[derive(Debug)]
pub struct IssuedClientToken {
    /// The text.
    pub text: Secret<String>,
    /// What is known of it.
    pub token: ClientToken,
}

fn invalid(field: &str, rule: impl Into<String>) -> VaultError {
    VaultError::Invalid(FieldError::new(field, Invalid::new(rule.into())))
}

impl Engine {
    /// Makes a token for a client of some connections, which its maker must be allowed to call through.
    pub async fn issue_client_token(
        &self,
        permit: &Permit<'_, IssueClientToken>,
        spec: ClientTokenSpec,
    ) -> Result<IssuedClientToken, VaultError> {
        let (project, caller) = (permit.project(), permit.caller());
        let Some(chain) = caller.calling_key() else {
            return Err(invalid("token", "must be made with an API key, whose end is its end"));
        };
        if !chain.keys().all(|key| is_unbound(key)) {
            let rule = "cannot be made by a key that is bound to calls, origins, times or countries, or has \
                        limits or a quota: its tokens would be bound by none of that";
            return Err(invalid("token", rule));
        }
        if spec.connections.is_empty() || spec.connections.len() > MOST_NAMES {
            return Err(invalid("connections", "must name 1 to 50 connections"));
        }
        if spec.connections.iter().any(|name| name.parse::<ConnectionName>().is_err()) {
            return Err(invalid("connections", "must be names of connections"));
        }
        if spec.routes.len() > MOST_NAMES {
            return Err(invalid("routes", "must be at most 50"));
        }
        let life = spec.life.unwrap_or(USUAL_LIFE);
        if !life.is_positive() || life > LONGEST_LIFE {
            return Err(invalid("expires_in", "must be more than nothing and at most 1h"));
        }
        let lacks = |name: &&String| !may_call(chain, name);
        let missing: Vec<String> =
            spec.connections.iter().filter(lacks).map(|name| permission(name)).collect();
        if !missing.is_empty() {
            return Err(self.refuse_escalation(permit, missing).await.into());
        }
        for name in &spec.connections {
            if self.known_connection(project, name)?.is_none() {
                return Err(invalid("connections", "must name connections that exist"));
            }
        }
        if self.count_kept(project, RecordKind::ClientToken) >= MOST_TOKENS {
            return Err(invalid("token", "cannot be made: there are 100000 already"));
        }
        let id = format!("{:032x}", u128::from_be_bytes(self.entropy.bytes()?));
        let random = Secret::new(self.entropy.bytes::<32>()?);
        let text = new_credential(&format!("{CLIENT_TOKEN_PREFIX}{id}_"), &random);
        let now = self.now();
        let token = ClientToken {
            // EXPOSE: becomes the digest that it is recognised by.
            digest: credential_digest(text.expose()),
            id,
            key: chain.key.id().to_string(),
            connections: spec.connections,
            routes: spec.routes,
            origin: spec.origin,
            ip: spec.ip,
            created_at: now,
            expires_at: now.saturating_add(life).unwrap_or(now),
        };
        let record = self.tagged_record(project, RecordKind::ClientToken, &token.id, &token, 0)?;
        let mut entry = permit.entry(now, Target::new("client_token", &token.id));
        entry.details.insert("connections".to_owned(), json!(token.connections));
        entry.details.insert("expires_at".to_owned(), json!(token.expires_at));
        self.begin(project).with(Change::PutRecord(Arc::new(record))).commit(entry).await?;
        Ok(IssuedClientToken { text, token })
    }

    /// The tokens that are good now, the oldest first.
    pub fn client_tokens(
        &self,
        permit: &Permit<'_, ManageClientTokens>,
    ) -> Result<Vec<Arc<ClientToken>>, VaultError> {
        let now = self.now();
        let all = self.all_kept::<ClientToken>(permit.project(), RecordKind::ClientToken)?;
        let mut live: Vec<_> =
            all.into_iter().map(|kept| kept.body).filter(|token| token.is_live(now)).collect();
        live.sort_by_key(|token| token.created_at);
        Ok(live)
    }

    /// Ends a token. When this returns, this node takes no call with it.
    pub async fn revoke_client_token(
        &self,
        permit: &Permit<'_, ManageClientTokens>,
        id: &str,
    ) -> Result<(), VaultError> {
        let project = permit.project();
        let kept = self.kept::<ClientToken>(project, RecordKind::ClientToken, id)?;
        let kept = kept.ok_or(Error::NotFound(Kind::ClientToken))?;
        let mut entry = permit.entry(self.now(), Target::new("client_token", id));
        entry.action = "client_token.revoke".into();
        let gone = Change::DeleteRecord {
            kind: RecordKind::ClientToken,
            id: id.into(),
            revision: kept.revision,
        };
        self.begin(project).with(gone).commit(entry).await?;
        Ok(())
    }

    /// Whose token this is, and the key behind it. It must be good, and so must that key.
    pub(super) async fn client_of_token(
        &self,
        call: &ProxyCall<'_>,
    ) -> Result<(ProjectName, Arc<ClientToken>, Chain), CallRefused> {
        if let Some(retry_after_s) = self.locked_out(call.meta.ip) {
            return Err(AuthenticationError::LockedOut { retry_after_s }.into());
        }
        if let Some(found) = self.find_client_token(call.credential).await? {
            return Ok(found);
        }
        // Not counted towards a lockout: there is nothing to guess, and a page whose token has ended would
        // lock out everybody behind its address.
        self.count_failed_authentication(call.meta.ip, "client_token");
        Err(AuthenticationError::Invalid.into())
    }

    async fn find_client_token(
        &self,
        text: &str,
    ) -> Result<Option<(ProjectName, Arc<ClientToken>, Chain)>, CallRefused> {
        let id = text.strip_prefix(CLIENT_TOKEN_PREFIX).and_then(|rest| rest.get(..ID_LENGTH));
        let Some(id) = id else { return Ok(None) };
        let mut found = self.kept_anywhere::<ClientToken>(RecordKind::ClientToken, id)?;
        let Some((project, kept)) = found.pop() else { return Ok(None) };
        let token = kept.body;
        let digest = Secret::new(token.digest.clone());
        if !digest.matches(credential_digest(text).as_bytes()) || !token.is_live(self.now()) {
            return Ok(None);
        }
        let Ok(id) = token.key.parse::<KeyId>() else { return Ok(None) };
        let key = self.key_of(&project, id).await.map_err(VaultError::from)?;
        let Some(key) = key else { return Ok(None) };
        let chain = self.chain_of_key(key).await.map_err(VaultError::from)?;
        let now = self.now();
        let is_good = |chain: &Chain| {
            chain.keys().all(|key| key.standing(now) == VerdictCode::Valid && is_unbound(key))
        };
        Ok(chain.filter(is_good).map(|chain| (project, token, chain)))
    }
}

impl ClientToken {
    /// Whether a call is one of those that the token is for.
    pub(super) fn check(
        &self,
        call: &ProxyCall<'_>,
        host: &str,
        path: &str,
    ) -> Result<(), CallRefused> {
        let refuse = |why: &'static str| Err(CallRefused::NotForToken(why));
        if !self.connections.iter().any(|name| name == call.connection) {
            return refuse("it is for other connections");
        }
        if let Some(ip) = self.ip
            && call.meta.ip.map(|ip| ip.to_canonical()) != Some(ip.to_canonical())
        {
            return refuse("it is bound to another address");
        }
        if let Some(origin) = &self.origin
            && !call.origin.is_some_and(|shown| origin.matches(shown))
        {
            return refuse("it is bound to another origin");
        }
        let fits = |route: &RoutePattern| route.matches(call.method, Some(host), path);
        if !self.routes.is_empty() && !self.routes.iter().any(fits) {
            return refuse("it is for other calls");
        }
        Ok(())
    }
}

/// Whether nothing bounds a key but its rights and the addresses it works from, which are those of the
/// team's backend.
fn is_unbound(key: &LiveKey) -> bool {
    let is_free = |policy: &Policy| {
        let bound = Restrictions {
            allow_ips: Vec::new(),
            deny_ips: Vec::new(),
            ..policy.restrictions.clone()
        };
        bound.is_empty()
            && policy.limits.is_empty()
            && policy.quota.is_none()
            && policy.concurrency.is_none()
    };
    is_free(key.policy())
        && is_free(&key.keyspace_content().policy)
        && key.owner_bounds().is_none_or(|(policy, _)| is_free(&policy))
}

/// Whether a key may call through a connection.
pub(super) fn may_call(chain: &Chain, connection: &str) -> bool {
    chain.may(super::admit::CALL_ANY) || chain.may(&permission(connection))
}
