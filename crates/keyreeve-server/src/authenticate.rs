//! From headers to a caller.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
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

/// The key a request carries, in `Authorization: Bearer …`, `X-API-Key: …` or `X-Vault-Token: …`.
///
/// Two credentials are refused rather than one picked: which one a proxy before us looked at,
/// we cannot know.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let bearer = single(headers, &header::AUTHORIZATION)?.map(|value| {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        (scheme.eq_ignore_ascii_case("bearer"), token.trim_matches(' '))
    });
    let api_key = match (single(headers, &API_KEY)?, single(headers, &VAULT_TOKEN)?) {
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
        return Err(Failure::new(ErrorCode::DuplicateHeader)
            .detail(format!("the header {name} must stand once")));
    }
    first.map(|value| text(value, name)).transpose()
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
    parts: &Parts,
    arrival: &Arrival,
) -> Result<Caller, Failure> {
    if !engine.can_vouch() {
        return Err(Failure::new(ErrorCode::StoreUnavailable));
    }
    find(engine, parts, arrival, false).await
}

/// Who asks for a verdict. Even one who asks a node that may have missed changes gets an answer,
/// for the verdict itself says so: a good one is given only where a keyspace prefers that.
pub(crate) async fn verifier(
    engine: &Engine,
    parts: &Parts,
    arrival: &Arrival,
) -> Result<Caller, Failure> {
    find(engine, parts, arrival, true).await
}

async fn find(
    engine: &Engine,
    parts: &Parts,
    arrival: &Arrival,
    may_be_stale: bool,
) -> Result<Caller, Failure> {
    let headers = &parts.headers;
    let Some(token) = credential(headers)? else {
        if let Some(uid) = arrival.local_user {
            return local_caller(engine, headers, uid, arrival.meta);
        }
        engine.admit_anonymous(arrival.meta.ip)?;
        return Err(refused(engine, arrival, ErrorCode::Unauthenticated));
    };
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let caller = engine
        .authenticate(token, arrival.meta, facts(parts), user_agent, may_be_stale)
        .await
        .map_err(|error| not_let_in(engine, arrival, error))?;
    engine.admit_caller(&caller)?;
    if let Some(project) = single(headers, &PROJECT)?
        && project != caller.project().as_str()
    {
        return Err(no_such_project());
    }
    Ok(caller)
}

/// What the request is, for keys that are bound to some.
fn facts(parts: &Parts) -> RequestFacts<'_> {
    let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    RequestFacts {
        origin: text(header::ORIGIN).or_else(|| text(header::REFERER).and_then(origin_of_referrer)),
        method: Some(parts.method.as_str()),
        host: parts.uri.host().or_else(|| text(header::HOST)),
        path: Some(parts.uri.path()),
        ..RequestFacts::default()
    }
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
    headers: &HeaderMap,
    uid: u32,
    meta: RequestMeta,
) -> Result<Caller, Failure> {
    let project = match single(headers, &PROJECT)? {
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
    fn refuses_two() {
        for pairs in [
            [("authorization", "Bearer a"), ("authorization", "Bearer b")],
            [("authorization", "Bearer a"), ("x-api-key", "a")],
            [("x-api-key", "a"), ("x-api-key", "a")],
        ] {
            let failure = credential(&headers(&pairs)).unwrap_err();
            assert_eq!(failure.code, ErrorCode::DuplicateHeader, "{pairs:?}");
        }
    }
}
