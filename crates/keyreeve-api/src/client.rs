//! A typed client for the HTTP API, over TCP or the local socket.

mod calls;
mod vault;
mod vault_keys;
mod webhooks;

pub use calls::AuditExport;
pub use vault::{
    PathExplanation, Promoted, SecretAbout, SecretBounds, SecretFields, SecretMetadataView,
    SecretVersionView, SecretView, WriteHow, field_text,
};
pub use vault_keys::{
    BackendFaultView, BackendView, Rekey, SealStatusView, SyncedView, VaultKeyView,
};

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use keyreeve_core::Secret;
use reqwest::{Method, RequestBuilder, StatusCode, Url, header};
use serde::{Serialize, de::DeserializeOwned};

use crate::Problem;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A base URL such as `https://keys.example.com`.
    Url(String),
    /// The socket in a data folder. Its owner needs no token.
    Socket(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Socket(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The key a client shows.
pub type Token = Secret<String>;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The base URL is not one.
    #[error("{0:?} is not an http:// or https:// address")]
    BadUrl(String),
    /// The token holds characters that cannot stand in a header.
    #[error("the token is not a key: it holds characters no key has")]
    BadToken,
    /// Nothing answered.
    #[error("no server answers at {endpoint}")]
    Unreachable {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// What the transport said.
        #[source]
        source: reqwest::Error,
    },
    /// The server said no and why.
    #[error("{}", describe(.0))]
    Refused(Box<Problem>),
    /// The vault said no and why.
    #[error("{}", vault_words(*.status, .errors))]
    VaultRefused {
        /// With which status.
        status: u16,
        /// Why.
        errors: Vec<String>,
    },
    /// The answer is not one of ours: perhaps something else listens there.
    #[error("{endpoint} answered {status} with something that is not from Keyreeve")]
    NotKeyreeve {
        /// Who answered.
        endpoint: Endpoint,
        /// With which status.
        status: u16,
    },
}

/// What the vault says, in a sentence: its own form is made for programs.
fn vault_words(status: u16, errors: &[String]) -> String {
    match status {
        403 => "permission denied".to_owned(),
        503 if errors.iter().any(|error| error.contains("sealed")) => {
            "the vault is sealed".to_owned()
        }
        _ if errors.is_empty() => format!("the vault answered {status}"),
        _ => errors.join("; "),
    }
}

fn describe(problem: &Problem) -> String {
    let mut text = problem.detail.clone().unwrap_or_else(|| problem.title.clone());
    for error in &problem.errors {
        text.push_str(&format!("\n  {}: {}", error.field, error.rule));
    }
    text
}

/// Calls a Keyreeve server.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    endpoint: Endpoint,
    authorization: Option<header::HeaderValue>,
    project: Option<String>,
    /// Where secrets are.
    mount: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that shows `token`, if there is one, with every call.
    ///
    /// `project` is for the local socket, whose user may act on any project.
    pub fn new(
        endpoint: Endpoint,
        token: Option<&Token>,
        project: Option<String>,
    ) -> Result<Self, ClientError> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("keyreeve/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // Between two pieces of an answer, not for the whole: an export may take long.
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let (builder, base) = match &endpoint {
            Endpoint::Url(url) => (builder, url.clone()),
            Endpoint::Socket(path) => {
                (builder.unix_socket(path.clone()), "http://localhost".to_owned())
            }
        };
        let base = Url::parse(&base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or(ClientError::BadUrl(base))?;
        // A proxy has no business between a program and its own machine.
        let local = base.host_str().is_some_and(is_loopback);
        let builder = if local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|source| unreachable(&endpoint, source))?;
        let authorization = token.map(bearer).transpose()?;
        let mount = "secret".to_owned();
        Ok(Self { http, base, endpoint, authorization, project, mount })
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_below(method, &[&["api", "v1"], path].concat())
    }

    /// A request to a path below the base.
    fn request_below(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        if let Some(project) = &self.project {
            request = request.header("keyreeve-project", project);
        }
        request
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, path)).await
    }

    async fn find<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.answer(self.request(method, path).json(body)).await
    }

    async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.answer(self.request(Method::DELETE, path)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.checked(request).await?;
        let status = response.status();
        let body = response.bytes().await.map_err(|source| unreachable(&self.endpoint, source))?;
        // An answer without content stands for `()`.
        let body = if body.is_empty() { b"null".as_slice() } else { &body };
        serde_json::from_slice(body).map_err(|_| self.not_keyreeve(status))
    }

    /// Sends the request; any status but success becomes an error.
    async fn checked(&self, request: RequestBuilder) -> Result<reqwest::Response, ClientError> {
        let response =
            request.send().await.map_err(|source| unreachable(&self.endpoint, source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        match response.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(_) => Err(self.not_keyreeve(status)),
        }
    }

    fn not_keyreeve(&self, status: StatusCode) -> ClientError {
        ClientError::NotKeyreeve { endpoint: self.endpoint.clone(), status: status.as_u16() }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn bearer(token: &Token) -> Result<header::HeaderValue, ClientError> {
    // EXPOSE: goes into the Authorization header, marked sensitive so that no log shows it.
    let mut value = header::HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|_| ClientError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreachable(endpoint: &Endpoint, source: reqwest::Error) -> ClientError {
    ClientError::Unreachable { endpoint: endpoint.clone(), source: source.without_url() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let token = Secret::new("kr_live_canary".to_owned());
        let endpoint = Endpoint::Url("http://127.0.0.1:1".to_owned());
        let client = Client::new(endpoint, Some(&token), None).unwrap();
        assert!(!format!("{client:?}").contains("canary"));
    }

    #[test]
    fn bad_addresses_and_tokens_are_named() {
        for bad in ["", "localhost:80", "ftp://x", "not a url"] {
            let result = Client::new(Endpoint::Url(bad.to_owned()), None, None);
            assert!(matches!(result, Err(ClientError::BadUrl(_))), "{bad}");
        }
        let token = Secret::new("a\nb".to_owned());
        let endpoint = Endpoint::Url("http://localhost".to_owned());
        let result = Client::new(endpoint, Some(&token), None);
        assert!(matches!(result, Err(ClientError::BadToken)));
    }
}
