//! The one client for calls to other services.

use std::{fmt, net::IpAddr, time::Duration};

use keyreeve_core::{Invalid, Secret};
use keyreeve_engine::vault::BackendError;
use reqwest::{Request, RequestBuilder, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the whole of a call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of an answer: twice the largest secret, for what is written around it.
const MOST_BYTES: usize = 2 << 20;

/// Where a service is: an address that may be used with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress(Url);

impl ServiceAddress {
    /// Reads an address. It must be `https://` unless the service is on this machine or `allow_plaintext`
    /// says that the network is safe, and must hold no user, query or fragment.
    pub fn parse(text: &str, allow_plaintext: bool) -> Result<Self, Invalid> {
        let url = Url::parse(text).ok().filter(Url::has_host);
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        let url =
            url.ok_or_else(|| Invalid::new("must be an address such as https://host:8200"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Invalid::new("must not hold a user name or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Invalid::new("must not hold a query or a fragment"));
        }
        let address = Self(url);
        if address.0.scheme() == "http" && !allow_plaintext && !address.is_local() {
            return Err(Invalid::new(
                "must begin with https://: a credential would go in clear text",
            ));
        }
        Ok(address)
    }

    /// The address with these segments after its path.
    pub fn join<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.0.clone();
        // Only addresses that cannot be a base have no segments, and those have no host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Whether it is this machine.
    fn is_local(&self) -> bool {
        self.0.host_str().is_some_and(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        })
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a service answered. Does not print its body.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Secret<Vec<u8>>,
}

/// Calls one service, over TLS, without redirects, within bounds of time and size.
#[derive(Clone, Debug)]
pub struct GuardedClient {
    http: reqwest::Client,
}

impl GuardedClient {
    /// A client for the service at that address.
    pub fn new(address: &ServiceAddress) -> Result<Self, Invalid> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("keyreeve/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        // A proxy has no business between a program and its own machine.
        let builder = if address.is_local() { builder.no_proxy() } else { builder };
        let http = builder.build();
        Ok(Self { http: http.map_err(|_| Invalid::new("cannot be used with TLS here"))? })
    }

    /// A request that is to be sent with [`Self::send`].
    pub fn request(&self, method: reqwest::Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request and reads its answer.
    pub async fn send(&self, request: Request) -> Result<Answer, BackendError> {
        let mut response = self.http.execute(request).await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut body = Secret::new(Vec::new());
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            // EXPOSE: filled.
            let body = body.expose_mut();
            if body.len() + piece.len() > MOST_BYTES {
                return Err(BackendError::Answer("more than 2 MiB".to_owned()));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, body })
    }
}

/// What went wrong on the way. The address is not in it: a path may tell what nobody else may know.
fn unreachable(error: reqwest::Error) -> BackendError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    BackendError::Unreachable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_over_tls_or_stays_here() {
        for good in ["https://vault.example.com:8200", "http://127.0.0.1:8200", "http://[::1]:1/x"]
        {
            assert!(ServiceAddress::parse(good, false).is_ok(), "{good}");
        }
        for bad in [
            "vault.example.com",
            "ftp://a",
            "http://vault.example.com",
            "https://u:canary@a",
            "https://a?x",
        ] {
            let error = ServiceAddress::parse(bad, false).unwrap_err();
            assert!(!error.rule().contains("canary"));
        }
        assert!(ServiceAddress::parse("http://vault.example.com", true).is_ok());
    }

    #[test]
    fn segments_are_escaped() {
        let address = ServiceAddress::parse("https://a/base/", false).unwrap();
        assert_eq!(address.join(["v1", "a b?"]).as_str(), "https://a/base/v1/a%20b%3F");
    }
}
