//! The gateways, and how each tells which request it asks about.

use http::{StatusCode, header, request::Parts};

use super::question::{Unclear, once};

/// A program in front of somebody's service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gateway {
    /// `auth_request`: may deny with 401 and 403 only.
    Nginx,
    /// `ForwardAuth`: passes a denial on as it is.
    Traefik,
    /// `forward_auth`: passes a denial on as it is.
    Caddy,
    /// `ext_authz` over HTTP: takes a 5xx for a failure of the authoriser.
    Envoy,
}

/// The request that a gateway asks about.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original<'a> {
    pub(super) method: &'a str,
    /// Path and query, as the client sent them.
    pub(super) path: &'a str,
    pub(super) host: Option<&'a str>,
}

const ENVOY: &str = "/authz/envoy";

impl Gateway {
    /// The gateway that asks at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/authz/nginx" => Some(Self::Nginx),
            "/authz/traefik" => Some(Self::Traefik),
            "/authz/caddy" => Some(Self::Caddy),
            _ => {
                // Envoy puts the client's path behind ours.
                let rest = path.strip_prefix(ENVOY)?;
                (rest.is_empty() || rest.starts_with('/')).then_some(Self::Envoy)
            }
        }
    }

    /// The name in the audit.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
        }
    }

    /// What to send so that the client is denied, given the status that it ought to see.
    pub(super) fn denial(self, status: StatusCode) -> StatusCode {
        match self {
            // Any other status is an error to nginx, and the client sees a 500.
            Self::Nginx if status != StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
            // With `failure_mode_allow`, a 5xx would open the door.
            Self::Envoy if status.is_server_error() => StatusCode::FORBIDDEN,
            _ => status,
        }
    }

    /// The request this is about. What is missing is never guessed: a gateway that forgot to say
    /// which request it means is set up wrong.
    pub(super) fn original(self, parts: &Parts) -> Result<Original<'_>, Unclear> {
        let (method, uri, host) = match self {
            Self::Nginx => ("x-original-method", "x-original-uri", "x-original-host"),
            Self::Traefik | Self::Caddy => {
                ("x-forwarded-method", "x-forwarded-uri", "x-forwarded-host")
            }
            Self::Envoy => return of_envoy(parts),
        };
        let path = once(&parts.headers, uri)?
            .ok_or_else(|| Unclear::header(uri, "must be set by the gateway"))?;
        if !path.starts_with('/') {
            return Err(Unclear::header(uri, "must begin with a slash"));
        }
        let named = once(&parts.headers, method)?
            .ok_or_else(|| Unclear::header(method, "must be set by the gateway"))?;
        if http::Method::from_bytes(named.as_bytes()).is_err() {
            return Err(Unclear::header(method, "must be an HTTP method"));
        }
        let host = once(&parts.headers, host)?.filter(|host| !host.is_empty());
        Ok(Original { method: named, path, host })
    }
}

fn of_envoy(parts: &Parts) -> Result<Original<'_>, Unclear> {
    let whole = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let path = whole.strip_prefix(ENVOY).filter(|path| path.starts_with('/')).ok_or_else(|| {
        Unclear { field: "path".to_owned(), rule: "must go on after the prefix".into() }
    })?;
    // HTTP/2 has the host in the URI.
    let host = once(&parts.headers, header::HOST.as_str())?
        .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
        .filter(|host| !host.is_empty());
    Ok(Original { method: parts.method.as_str(), path, host })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ALL: [Gateway; 4] = [Gateway::Nginx, Gateway::Traefik, Gateway::Caddy, Gateway::Envoy];

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn each_gateway_has_its_path() {
        for gateway in ALL {
            assert_eq!(Gateway::at(&format!("/authz/{}", gateway.name())), Some(gateway));
        }
        assert_eq!(Gateway::at("/authz/envoy/v1/things"), Some(Gateway::Envoy));
        for path in ["/authz/", "/authz/nginx/", "/authz/nginx/x", "/authz/envoyx", "/authz/NGINX"]
        {
            assert_eq!(Gateway::at(path), None, "{path}");
        }
    }

    #[test]
    fn each_gateway_tells_the_request_its_own_way() {
        let expected =
            Original { method: "POST", path: "/v1/a%20b?x=1", host: Some("api.example.com") };
        let nginx = parts(
            "GET",
            "/authz/nginx",
            &[
                ("x-original-method", "POST"),
                ("x-original-uri", "/v1/a%20b?x=1"),
                ("x-original-host", "api.example.com"),
                // Of a client, and of no interest.
                ("x-forwarded-uri", "/other"),
                ("x-forwarded-method", "GET"),
                ("host", "keyreeve"),
            ],
        );
        assert_eq!(Gateway::Nginx.original(&nginx).unwrap(), expected);
        for gateway in [Gateway::Traefik, Gateway::Caddy] {
            let parts = parts(
                "GET",
                "/authz/caddy?x=1",
                &[
                    ("x-forwarded-method", "POST"),
                    ("x-forwarded-uri", "/v1/a%20b?x=1"),
                    ("x-forwarded-host", "api.example.com"),
                    ("x-original-uri", "/other"),
                ],
            );
            assert_eq!(gateway.original(&parts).unwrap(), expected, "{gateway:?}");
        }
        let envoy = parts("POST", "/authz/envoy/v1/a%20b?x=1", &[("host", "api.example.com")]);
        assert_eq!(Gateway::Envoy.original(&envoy).unwrap(), expected);
        let over_http2 = parts("POST", "http://api.example.com/authz/envoy/v1/a%20b?x=1", &[]);
        assert_eq!(Gateway::Envoy.original(&over_http2).unwrap(), expected);
    }

    #[test]
    fn what_is_not_clear_is_refused_and_named() {
        let method = ("x-original-method", "GET");
        let uri = ("x-original-uri", "/");
        for (headers, field) in [
            (&[method][..], "header x-original-uri"),
            (&[uri], "header x-original-method"),
            (&[method, uri, uri], "header x-original-uri"),
            (&[method, method, uri], "header x-original-method"),
            (&[method, ("x-original-uri", "")], "header x-original-uri"),
            (&[method, ("x-original-uri", "v1")], "header x-original-uri"),
            (&[method, ("x-original-uri", "http://a/")], "header x-original-uri"),
            (&[("x-original-method", ""), uri], "header x-original-method"),
            (&[("x-original-method", "GET /x"), uri], "header x-original-method"),
            (
                &[method, uri, ("x-original-host", "a"), ("x-original-host", "b")],
                "header x-original-host",
            ),
        ] {
            let parts = parts("GET", "/authz/nginx", headers);
            let unclear = Gateway::Nginx.original(&parts).unwrap_err();
            assert_eq!(unclear.field, field, "{headers:?}");
        }
        for gateway in [Gateway::Traefik, Gateway::Caddy] {
            // The names of another gateway do not count.
            let parts = parts("GET", "/authz/caddy", &[method, uri]);
            assert_eq!(gateway.original(&parts).unwrap_err().field, "header x-forwarded-uri");
        }
        for path in ["/authz/envoy", "/authz/envoy?x=1"] {
            let parts = parts("GET", path, &[]);
            assert_eq!(Gateway::Envoy.original(&parts).unwrap_err().field, "path", "{path}");
        }
    }

    #[test]
    fn a_missing_host_is_none() {
        let headers = [("x-original-method", "GET"), ("x-original-uri", "/"), ("host", "keyreeve")];
        let parts = parts("GET", "/authz/nginx", &headers);
        assert_eq!(Gateway::Nginx.original(&parts).unwrap().host, None);
    }
}
