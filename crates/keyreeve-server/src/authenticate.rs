//! From headers to a caller.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};
use keyreeve_api::ErrorCode;
use keyreeve_core::{
    name::ProjectName,
    restriction::{RequestFacts, origin_of_referrer},
};
use keyreeve_engine::{AuthenticationError, Caller, Engine, RequestMeta};

use crate::problem::Failure;

/// The other headers that may carry a key: ours, and the one that clients of Vault send.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(crate) const VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// Chooses the project for the local user.
const PROJECT: HeaderName = HeaderName::from_static("keyreeve-project");

/// How a request reached us.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) meta: RequestMeta,
    /// The user at the other end of the local socket.
    pub(crate) local_user: Option<u32>,
}

/// What stands before the body of a request.
#[derive(Clone, Copy)]
pub(crate) struct Head<'r> {
    method: &'r Method,
    uri: &'r Uri,
    headers: &'r HeaderMap,
}

impl<'r> From<&'r Parts> for Head<'r> {
    fn from(parts: &'r Parts) -> Self {
        Self { method: &parts.method, uri: &parts.uri, headers: &parts.headers }
    }
}

impl<'r, B> From<&'r Request<B>> for Head<'r> {
    fn from(request: &'r Request<B>) -> Self {
        Self { method: request.method(), uri: request.uri(), headers: request.headers() }
    }
}

/// A header that may stand once.
#[derive(Clone, Copy, Default)]
enum Once<'h> {
    #[default]
    Absent,
    There(&'h HeaderValue),
    Twice,
}

impl<'h> Once<'h> {
    fn note(&mut self, value: &'h HeaderValue) {
        *self = match self {
            Self::Absent => Self::There(value),
            Self::There(_) | Self::Twice => Self::Twice,
        };
    }

    /// Its value as text; two of it are an error.
    fn text(self, name: &HeaderName) -> Result<Option<&'h str>, Failure> {
        match self {
            Self::Absent => Ok(None),
            Self::There(value) => text(value, name).map(Some),
            Self::Twice => Err(twice(name)),
        }
    }
}

/// What the headers of a request say of who is calling, and from where. Found in one pass: looking up
/// each by itself takes longer than going by the few that most requests have.
#[derive(Default)]
struct Shown<'h> {
    authorization: Once<'h>,
    api_key: Once<'h>,
    vault_token: Once<'h>,
    project: Once<'h>,
    origin: Option<&'h HeaderValue>,
    referer: Option<&'h HeaderValue>,
    host: Option<&'h HeaderValue>,
    user_agent: Option<&'h HeaderValue>,
}

impl<'h> Shown<'h> {
    fn of(headers: &'h HeaderMap) -> Self {
        let mut shown = Self::default();
        for (name, value) in headers {
            let first = |place: &mut Option<&'h HeaderValue>| {
                place.get_or_insert(value);
            };
            match name.as_str() {
                "authorization" => shown.authorization.note(value),
                "x-api-key" => shown.api_key.note(value),
                "x-vault-token" => shown.vault_token.note(value),
                "keyreeve-project" => shown.project.note(value),
                "origin" => first(&mut shown.origin),
                "referer" => first(&mut shown.referer),
                "host" => first(&mut shown.host),
                "user-agent" => first(&mut shown.user_agent),
                _ => {}
            }
        }
        shown
    }

    fn credential(&self) -> Result<Option<&'h str>, Failure> {
        let bearer = self.authorization.text(&header::AUTHORIZATION)?.map(|value| {
            let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
            (scheme.eq_ignore_ascii_case("bearer"), token.trim_matches(' '))
        });
        let api_key = self.api_key.text(&API_KEY)?;
        let api_key = match (api_key, self.vault_token.text(&VAULT_TOKEN)?) {
            (Some(_), Some(_)) => return Err(two_credentials()),
            (one, other) => one.or(other),
        };
        match (bearer, api_key) {
            (Some(_), Some(_)) => Err(two_credentials()),
            (Some((true, token)), None) | (None, Some(token)) => Ok(Some(token)),
            // Another scheme is no credential of ours.
            (Some((false, _)) | None, None) => Ok(None),
        }
    }

    /// What the request is, for keys that are bound to some.
    fn facts(&self, head: Head<'h>) -> RequestFacts<'h> {
        let text = |value: Option<&'h HeaderValue>| value.and_then(|value| value.to_str().ok());
        RequestFacts {
            origin: text(self.origin).or_else(|| text(self.referer).and_then(origin_of_referrer)),
            method: Some(head.method.as_str()),
            host: head.uri.host().or_else(|| text(self.host)),
            path: Some(head.uri.path()),
            ..RequestFacts::default()
        }
    }
}

/// The key a request carries, in `Authorization: Bearer …`, `X-API-Key: …` or `X-Vault-Token: …`.
///
/// Two credentials are refused rather than one picked: which one a proxy before us looked at,
/// we cannot know.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    Shown::of(headers).credential()
}

fn two_credentials() -> Failure {
    Failure::new(ErrorCode::DuplicateHeader)
        .detail("send the key in one of Authorization, X-API-Key and X-Vault-Token")
}

/// The header's one value; two are an error.
pub(crate) fn single<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(twice(name));
    }
    first.map(|value| text(value, name)).transpose()
}

fn twice(name: &HeaderName) -> Failure {
    Failure::new(ErrorCode::DuplicateHeader).detail(format!("the header {name} must stand once"))
}

fn text<'h>(value: &'h HeaderValue, name: &HeaderName) -> Result<&'h str, Failure> {
    value
        .to_str()
        .map_err(|_| Failure::field(format!("header {name}"), "must be visible ASCII characters"))
}

/// Who is calling, or why we cannot say. A table that may have missed a revocation vouches for
/// nobody.
pub(crate) async fn caller(
    engine: &Engine,
    head: Head<'_>,
    arrival: &Arrival,
) -> Result<Caller, Failure> {
    if !engine.can_vouch() {
        return Err(Failure::new(ErrorCode::StoreUnavailable));
    }
    find(engine, head, arrival, false).await
}

/// Who asks for a verdict. Even one who asks a node that may have missed changes gets an answer,
/// for the verdict itself says so: a good one is given only where a keyspace prefers that.
pub(crate) async fn verifier(
    engine: &Engine,
    head: Head<'_>,
    arrival: &Arrival,
) -> Result<Caller, Failure> {
    find(engine, head, arrival, true).await
}

async fn find(
    engine: &Engine,
    head: Head<'_>,
    arrival: &Arrival,
    may_be_stale: bool,
) -> Result<Caller, Failure> {
    let shown = Shown::of(head.headers);
    let Some(token) = shown.credential()? else {
        if let Some(uid) = arrival.local_user {
            return local_caller(engine, &shown, uid, arrival.meta);
        }
        engine.admit_anonymous(arrival.meta.ip)?;
        return Err(refused(engine, arrival, ErrorCode::Unauthenticated));
    };
    let user_agent = shown.user_agent.and_then(|value| value.to_str().ok());
    let caller = engine
        .authenticate(token, arrival.meta, shown.facts(head), user_agent, may_be_stale)
        .await
        .map_err(|error| not_let_in(engine, arrival, error))?;
    engine.admit_caller(&caller)?;
    if let Some(project) = shown.project.text(&PROJECT)?
        && project != caller.project().as_str()
    {
        return Err(no_such_project());
    }
    Ok(caller)
}

fn not_let_in(engine: &Engine, arrival: &Arrival, error: AuthenticationError) -> Failure {
    match error {
        AuthenticationError::LockedOut { retry_after_s } => {
            Failure::new(ErrorCode::LockedOut).retry_after(retry_after_s)
        }
        AuthenticationError::Refused(verdict) => {
            let code = match verdict.code.http_status() {
                429 => ErrorCode::RateLimited,
                503 => ErrorCode::StoreUnavailable,
                _ => ErrorCode::Forbidden,
            };
            let why = verdict.why.as_deref().unwrap_or("the key is not good for this request");
            let failure = Failure::new(code).detail(why);
            match verdict.retry_after_s {
                Some(wait) => failure.retry_after(wait),
                None => failure,
            }
        }
        _ => refused(engine, arrival, ErrorCode::InvalidCredential),
    }
}

fn local_caller(
    engine: &Engine,
    shown: &Shown<'_>,
    uid: u32,
    meta: RequestMeta,
) -> Result<Caller, Failure> {
    let project = match shown.project.text(&PROJECT)? {
        None => ProjectName::default_project(),
        Some(name) => name
            .parse()
            .ok()
            .filter(|name| engine.live().has_project(name))
            .ok_or_else(no_such_project)?,
    };
    Ok(Caller::local(uid, project, meta))
}

fn no_such_project() -> Failure {
    Failure::new(ErrorCode::NotFound).detail("no such project")
}

fn refused(engine: &Engine, arrival: &Arrival, code: ErrorCode) -> Failure {
    engine.count_failed_authentication(arrival.meta.ip, code.as_str());
    Failure::new(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn finds_the_key_in_either_place() {
        for pairs in [
            [("authorization", "Bearer abc")],
            [("authorization", "bearer  abc ")],
            [("x-api-key", "abc")],
        ] {
            assert_eq!(credential(&headers(&pairs)).unwrap(), Some("abc"), "{pairs:?}");
        }
        assert_eq!(credential(&headers(&[("authorization", "Basic abc")])).unwrap(), None);
        assert_eq!(credential(&headers(&[])).unwrap(), None);
    }

    #[test]
    fn every_header_is_found_by_its_name() {
        let of = |name: &HeaderName| {
            let mut map = HeaderMap::new();
            map.append(name, HeaderValue::from_static("1"));
            map.append(name, HeaderValue::from_static("2"));
            map
        };
        let is_twice = |name: &HeaderName, of_shown: fn(Shown<'_>) -> Once<'_>| {
            matches!(of_shown(Shown::of(&of(name))), Once::Twice)
        };
        assert!(is_twice(&header::AUTHORIZATION, |shown| shown.authorization));
        assert!(is_twice(&API_KEY, |shown| shown.api_key));
        assert!(is_twice(&VAULT_TOKEN, |shown| shown.vault_token));
        assert!(is_twice(&PROJECT, |shown| shown.project));
        let is_first = |name: &HeaderName, of_shown: fn(Shown<'_>) -> Option<&HeaderValue>| {
            of_shown(Shown::of(&of(name))).is_some_and(|value| value == "1")
        };
        assert!(is_first(&header::ORIGIN, |shown| shown.origin));
        assert!(is_first(&header::REFERER, |shown| shown.referer));
        assert!(is_first(&header::HOST, |shown| shown.host));
        assert!(is_first(&header::USER_AGENT, |shown| shown.user_agent));
    }

    #[test]
    fn refuses_two() {
        for pairs in [
            [("authorization", "Bearer a"), ("authorization", "Bearer b")],
            [("authorization", "Bearer a"), ("x-api-key", "a")],
            [("x-api-key", "a"), ("x-api-key", "a")],
            [("x-api-key", "a"), ("x-vault-token", "a")],
        ] {
            let failure = credential(&headers(&pairs)).unwrap_err();
            assert_eq!(failure.code, ErrorCode::DuplicateHeader, "{pairs:?}");
        }
    }
}
