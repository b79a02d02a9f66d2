//! The credential goes into a request that has none.

mod body;
mod signature;

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use keyreeve_core::{
    Secret,
    egress::{Origin, Target},
    encoding::push_percent_encoded,
    signature::aws::ChunkSigner,
};
use keyreeve_engine::connections::Injection;
use zeroize::Zeroizing;

use super::{Refusal, RefusalKind};

/// A request as it is sent on, in the making.
pub(crate) struct Outgoing<'o> {
    pub(super) method: Method,
    pub(super) origin: &'o Origin,
    /// Path and query, as they are sent. Can hold the credential.
    pub(super) path: Zeroizing<String>,
    pub(super) headers: HeaderMap,
}

/// What an injection needs of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it is streamed.
    Nothing,
    /// All of it: the credential goes into it, or signs it.
    Whole,
}

/// What an injection needs of the body.
pub(super) fn needs(injection: &Injection) -> Needs {
    match injection {
        Injection::Headers(_)
        | Injection::Query(_)
        | Injection::Cookies(_)
        | Injection::Path(_)
        | Injection::OAuth2Client { .. }
        | Injection::OAuth2Jwt { .. } => Needs::Nothing,
        Injection::Form(_)
        | Injection::Json(_)
        | Injection::AwsSigV4 { .. }
        | Injection::Hmac { .. } => Needs::Whole,
    }
}

/// Headers that the credential goes into.
pub(super) fn reserved(injection: &Injection) -> Vec<HeaderName> {
    let Injection::Headers(headers) = injection else { return Vec::new() };
    headers.iter().filter_map(|(name, _)| HeaderName::try_from(name.as_str()).ok()).collect()
}

impl<'o> Outgoing<'o> {
    /// A request without a credential.
    pub(crate) fn new(
        method: Method,
        origin: &'o Origin,
        base_path: &str,
        target: &Target,
        injection: &Injection,
        headers: HeaderMap,
    ) -> Self {
        let query_length = target.query().map_or(0, |query| "?".len() + query.len());
        let room_for_credential = match injection {
            Injection::Path(_) | Injection::Query(_) => 128,
            _ => 0,
        };
        let mut path = Zeroizing::new(String::with_capacity(
            base_path.len() + target.path().len() + query_length + room_for_credential,
        ));
        path.push_str(base_path);
        if let Injection::Path(prefix) = injection {
            // EXPOSE: becomes the beginning of the path.
            path.push_str(prefix.expose());
        }
        path.push_str(target.path());
        let mut query = target.query().map(Cow::Borrowed);
        if let Injection::Query(parameters) = injection {
            query = Some(without(query.as_deref().unwrap_or_default(), parameters).into());
        }
        let mut mark = '?';
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            path.push('?');
            path.push_str(&query);
            mark = '&';
        }
        if let Injection::Query(parameters) = injection {
            for (name, value) in parameters {
                path.push(mark);
                push_percent_encoded(&mut path, name.as_bytes());
                path.push('=');
                // EXPOSE: becomes a parameter.
                push_percent_encoded(&mut path, value.expose().as_bytes());
                mark = '&';
            }
        }
        Self { method, origin, path, headers }
    }

    /// Puts in what goes into headers. What the client put there goes.
    pub(super) fn set_headers(&mut self, injection: &Injection) -> Result<(), Refusal> {
        match injection {
            Injection::Headers(headers) => {
                for (name, value) in headers {
                    let name = HeaderName::try_from(name.as_str()).map_err(|_| unusable())?;
                    self.headers.insert(name, sensitive(value)?);
                }
            }
            Injection::Cookies(cookies) => {
                let mut line = Zeroizing::new(String::new());
                for (name, value) in cookies {
                    if !line.is_empty() {
                        line.push_str("; ");
                    }
                    // EXPOSE: becomes a cookie.
                    let _ = write!(*line, "{name}={}", value.expose());
                }
                let line = Secret::new(std::mem::take(&mut *line));
                self.headers.insert(header::COOKIE, sensitive(&line)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Signs the head of a request whose body, of so many bytes, is signed piece by piece.
    pub(super) fn sign_pieces(
        &mut self,
        injection: &Injection,
        length: u64,
        at: jiff::Timestamp,
    ) -> Result<ChunkSigner, Refusal> {
        signature::aws_pieces(self, injection, length, at)
    }

    /// Puts in what needs the whole body, and gives the body as it is sent.
    pub(crate) fn finish(
        &mut self,
        injection: &Injection,
        body: Bytes,
        at: jiff::Timestamp,
    ) -> Result<Bytes, Refusal> {
        let body = match injection {
            Injection::Form(fields) => body::with_form_fields(&mut self.headers, &body, fields)?,
            Injection::Json(members) => body::with_json_members(&self.headers, &body, members)?,
            _ => body,
        };
        match injection {
            Injection::AwsSigV4 { .. } => signature::aws(self, injection, &body, at)?,
            Injection::Hmac { method, key } => signature::hmac(self, method, key, &body, at)?,
            _ => {}
        }
        Ok(body)
    }
}

/// Whether a body can be signed piece by piece while it is sent.
pub(super) fn signs_pieces(injection: &Injection, origin: &Origin) -> bool {
    signature::signs_pieces(injection, origin.host().as_str())
}

/// A header that is not shown, nor kept by the compression of HTTP/2.
pub(super) fn sensitive(value: &Secret<String>) -> Result<HeaderValue, Refusal> {
    // EXPOSE: becomes the header.
    let mut value = HeaderValue::from_str(value.expose()).map_err(|_| unusable())?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn unusable() -> Refusal {
    let words = "the connection's credential cannot stand where it is to be put";
    Refusal::saying(RefusalKind::NoCredential, words)
}

/// A query without the parameters that are to be put in, however they are encoded.
fn without(query: &str, parameters: &[(String, Secret<String>)]) -> String {
    let is_ours = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        let name = body::decoded(name);
        parameters.iter().any(|(ours, _)| name.eq_ignore_ascii_case(ours.as_bytes()))
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_ours(pair)).collect();
    kept.join("&")
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use keyreeve_core::egress::{BaseUrl, PathRules};

    use super::*;

    static BASE: LazyLock<BaseUrl> =
        LazyLock::new(|| BaseUrl::parse("https://api.example.com/v1").unwrap());

    fn outgoing(rest: &str, query: Option<&str>, injection: &Injection) -> Outgoing<'static> {
        let target = Target::parse(rest, query, PathRules::Strict).unwrap();
        let headers = HeaderMap::new();
        Outgoing::new(Method::GET, &BASE.origin, &BASE.path, &target, injection, headers)
    }

    fn set(name: &str, value: &str) -> Vec<(String, Secret<String>)> {
        vec![(name.to_owned(), Secret::new(value.to_owned()))]
    }

    #[test]
    fn parameters_take_the_place_of_the_clients() {
        let injection = Injection::Query(set("key", "a b&c"));
        let sent = outgoing("/tiles", Some("z=1&key=evil&%6bey=evil&KEY=x&q=key"), &injection);
        assert_eq!(*sent.path, "/v1/tiles?z=1&q=key&key=a%20b%26c");
        assert_eq!(*outgoing("/t", None, &injection).path, "/v1/t?key=a%20b%26c");
        assert_eq!(*outgoing("/t", Some("key=1"), &injection).path, "/v1/t?key=a%20b%26c");
    }

    #[test]
    fn a_path_slot_stands_before_the_path() {
        let injection = Injection::Path(Secret::new("/bot12:secret".to_owned()));
        assert_eq!(*outgoing("/getMe", Some("a=1"), &injection).path, "/v1/bot12:secret/getMe?a=1");
    }

    #[test]
    fn headers_take_the_place_of_the_clients() {
        let injection = Injection::Headers(set("authorization", "Bearer real"));
        let mut sent = outgoing("/", None, &injection);
        sent.headers.append(header::AUTHORIZATION, HeaderValue::from_static("one"));
        sent.headers.append(header::AUTHORIZATION, HeaderValue::from_static("two"));
        sent.set_headers(&injection).unwrap();
        let all: Vec<_> = sent.headers.get_all(header::AUTHORIZATION).iter().collect();
        assert_eq!(all, ["Bearer real"]);
        assert!(all[0].is_sensitive());
    }
}
