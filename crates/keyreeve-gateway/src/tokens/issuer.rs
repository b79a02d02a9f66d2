//! Issuers are asked for tokens (RFC 6749 §4.4, RFC 7523 §2.1), in the same guarded way in which calls
//! go to services.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use jiff::Timestamp;
use keyreeve_catalog::ClientAuth;
use keyreeve_core::{
    Secret,
    egress::{BaseUrl, Scheme},
    encoding::push_percent_encoded,
};
use keyreeve_engine::{
    Clock,
    connections::{Connection, ConnectionSettings, Injection},
};
use tokio::time::{Instant, timeout};
use tracing::warn;
use zeroize::Zeroizing;

use super::{
    Minted, NotMinted,
    answer::{self, Given},
    assertion::ServiceAccount,
    slot::{Slot, renew_after},
};
use crate::{
    body::RequestBody,
    proxy::{Answered, full, prepare},
    upstream::{Destination, DialError, Dialer, Purpose, Sender},
};

/// The most bytes of an issuer's answer.
const MOST_ANSWER_BYTES: usize = 64 << 10;
const USER_AGENT: &str = concat!("keyreeve/", env!("CARGO_PKG_VERSION"));
/// What an assertion is given in for (RFC 7523 §2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Asks issuers.
pub(super) struct Issuer {
    pub(super) dialer: Arc<Dialer>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Issuer {
    /// Has a token minted.
    pub(super) async fn mint(&self, slot: &Slot) -> Result<Minted, NotMinted> {
        let (connection, credential) = (&slot.connection, &slot.credential);
        // A token's life is counted from before it was given, so that it never ends unnoticed.
        let asked_at = Instant::now();
        let order = Order::of(&credential.injection, self.clock.now())?;
        let Given { token, life } = self.ask(connection, order).await?;
        // EXPOSE: becomes what is looked for in answers.
        let scrub = credential.scrub.with(token.expose().as_bytes());
        Ok(Minted {
            authorization: sensitive("Bearer ", &token)?,
            scrub: Arc::new(scrub.map_err(|_| NotMinted::Internal)?),
            renew_at: asked_at + renew_after(life),
            expires_at: asked_at + life,
        })
    }

    async fn ask(&self, connection: &Connection, order: Order) -> Result<Given, NotMinted> {
        let settings = &connection.settings;
        let (destination, address) = address(&order.url, settings)?;
        let mut request = order.into_request(address);
        let patience = settings.patience;
        let dialled = self.dialer.dial(&destination, patience.connect(), Purpose::Whole).await;
        let sender = dialled.map_err(|error| {
            warn!(
                connection = connection.name,
                error = full(&error),
                "no connection to the issuer"
            );
            match error {
                DialError::Forbidden(_) => NotMinted::Forbidden,
                DialError::TimedOut => NotMinted::TimedOut,
                _ => NotMinted::Unreachable,
            }
        })?;
        prepare(&mut request, &sender, &destination.origin).map_err(|_| NotMinted::Internal)?;
        let answered = timeout(patience.first_byte(), exchange(sender, request)).await;
        let answered = answered.unwrap_or(Err(NotMinted::TimedOut));
        let (status, body) = answered.inspect_err(|error| {
            warn!(connection = connection.name, %error, "the issuer gave no whole answer");
        })?;
        answer::read(status, &body).map_err(|no_token| {
            let (status, error) = (status.as_u16(), no_token.code.as_deref().unwrap_or("none"));
            warn!(connection = connection.name, status, error, "the issuer gave no token");
            if no_token.is_refusal { NotMinted::Refused } else { NotMinted::NoToken }
        })
    }
}

/// Sends a request and reads the whole of its answer.
async fn exchange(
    sender: Sender,
    mut request: Request<RequestBody>,
) -> Result<(StatusCode, Bytes), NotMinted> {
    let answered = sender.send(&mut request).await.map_err(|_| NotMinted::Unreachable)?;
    let Answered { response, sender: _kept } = answered;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST_ANSWER_BYTES).collect().await;
    // It is too long, or broke off.
    let body = body.map_err(|_| NotMinted::NoToken)?;
    Ok((status, body.to_bytes()))
}

/// Where tokens are given out: the place to connect to, and the path there.
fn address(url: &str, settings: &ConnectionSettings) -> Result<(Destination, Uri), NotMinted> {
    let base = BaseUrl::parse(url).map_err(|_| NotMinted::Address)?;
    if base.origin.scheme() == Scheme::Http && !settings.allow_plaintext {
        return Err(NotMinted::Address);
    }
    // Base addresses leave a slash at the end out; issuers may know only the path that has it.
    let slash = if base.path.is_empty() || url.ends_with('/') { "/" } else { "" };
    let path = [base.path.as_str(), slash].concat();
    let path = Uri::try_from(path).map_err(|_| NotMinted::Address)?;
    let origin = Arc::new(base.origin);
    Ok((Destination { origin, allow_internal: settings.allow_internal }, path))
}

/// What an issuer is sent.
struct Order {
    url: String,
    form: Zeroizing<String>,
    authorization: Option<HeaderValue>,
}

impl Order {
    fn of(injection: &Injection, at: Timestamp) -> Result<Self, NotMinted> {
        match injection {
            Injection::OAuth2Client { token_url, client_id, client_secret, client_auth, scope } => {
                let mut form = form("client_credentials");
                if let Some(scope) = scope.as_deref().filter(|scope| !scope.is_empty()) {
                    push_field(&mut form, "scope", scope);
                }
                let authorization = match client_auth {
                    ClientAuth::Basic => Some(basic(client_id, client_secret)?),
                    ClientAuth::Body => {
                        // EXPOSE: shown to the issuer.
                        push_field(&mut form, "client_id", client_id.expose());
                        // EXPOSE: shown to the issuer.
                        push_field(&mut form, "client_secret", client_secret.expose());
                        None
                    }
                };
                Ok(Self { url: token_url.clone(), form, authorization })
            }
            Injection::OAuth2Jwt { token_url, service_account, scope } => {
                let account =
                    ServiceAccount::parse(service_account).ok_or(NotMinted::ServiceAccount)?;
                let own = account.token_uri.clone().unwrap_or_default();
                let url = if token_url.is_empty() { own } else { token_url.clone() };
                let assertion = account.assertion(&url, scope, at).ok_or(NotMinted::Internal)?;
                let mut form = form(JWT_BEARER);
                // EXPOSE: shown to the issuer.
                push_field(&mut form, "assertion", assertion.expose());
                Ok(Self { url, form, authorization: None })
            }
            _ => Err(NotMinted::Internal),
        }
    }

    /// The request, addressed as HTTP/1.1 has it, but for the host: that is the connection's to name.
    fn into_request(self, path: Uri) -> Request<RequestBody> {
        let body = Bytes::copy_from_slice(self.form.as_bytes());
        let mut request = Request::new(RequestBody::Whole(Some(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path;
        let headers = request.headers_mut();
        for (name, value) in [
            (header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
            (header::ACCEPT, "application/json"),
            (header::ACCEPT_ENCODING, "identity"),
            (header::USER_AGENT, USER_AGENT),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(authorization) = self.authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        request
    }
}

/// A form (<https://url.spec.whatwg.org/#application/x-www-form-urlencoded>) that asks in this way.
fn form(grant_type: &str) -> Zeroizing<String> {
    // Room for an assertion: growing would leave copies behind.
    let mut form = Zeroizing::new(String::with_capacity(4 << 10));
    form.push_str("grant_type=");
    push_percent_encoded(&mut form, grant_type.as_bytes());
    form
}

fn push_field(form: &mut String, name: &str, value: &str) {
    form.push('&');
    form.push_str(name);
    form.push('=');
    push_percent_encoded(form, value.as_bytes());
}

/// `Basic …` with both parts encoded as in forms (RFC 6749 §2.3.1).
fn basic(id: &Secret<String>, secret: &Secret<String>) -> Result<HeaderValue, NotMinted> {
    let mut pair = Zeroizing::new(String::with_capacity(1 << 10));
    // EXPOSE: shown to the issuer.
    push_percent_encoded(&mut pair, id.expose().as_bytes());
    pair.push(':');
    // EXPOSE: shown to the issuer.
    push_percent_encoded(&mut pair, secret.expose().as_bytes());
    sensitive("Basic ", &Secret::new(BASE64_STANDARD.encode(pair.as_bytes())))
}

/// A header that is not shown, nor kept by the compression of HTTP/2.
fn sensitive(scheme: &str, value: &Secret<String>) -> Result<HeaderValue, NotMinted> {
    // EXPOSE: becomes the header.
    let text = Zeroizing::new([scheme, value.expose()].concat());
    let mut value = HeaderValue::from_str(&text).map_err(|_| NotMinted::Internal)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn client(client_auth: ClientAuth, scope: Option<&str>) -> Order {
        let injection = Injection::OAuth2Client {
            token_url: "https://id.example.com/token".to_owned(),
            client_id: secret("shop:1"),
            client_secret: secret("s3 cr&t/é"),
            client_auth,
            scope: scope.map(str::to_owned),
        };
        Order::of(&injection, Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_client_shows_its_secret_where_it_is_asked_to() {
        let order = client(ClientAuth::Body, Some("read write"));
        assert_eq!(
            *order.form,
            "grant_type=client_credentials&scope=read%20write&client_id=shop%3A1\
             &client_secret=s3%20cr%26t%2F%C3%A9"
        );
        assert!(order.authorization.is_none());
        let order = client(ClientAuth::Basic, None);
        assert_eq!(*order.form, "grant_type=client_credentials");
        let authorization = order.authorization.unwrap();
        assert!(authorization.is_sensitive());
        let encoded = BASE64_STANDARD.encode("shop%3A1:s3%20cr%26t%2F%C3%A9");
        assert_eq!(authorization, format!("Basic {encoded}").as_str());
    }

    #[test]
    fn requests_are_forms() {
        let order = client(ClientAuth::Basic, None);
        let request = order.into_request(Uri::from_static("/token"));
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "/token");
        assert_eq!(request.headers()[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert!(request.headers().contains_key(header::AUTHORIZATION));
    }

    #[test]
    fn addresses_keep_their_path_and_need_tls() {
        let settings = |allow_plaintext: bool| {
            let settings = serde_json::json!({
                "base_url": "https://api.example.com",
                "secret": "production/api",
                "inject": {},
                "allow_plaintext": allow_plaintext,
            });
            serde_json::from_value::<ConnectionSettings>(settings).unwrap()
        };
        let path = |url: &str, allow_plaintext| {
            let found = address(url, &settings(allow_plaintext)).ok();
            found.map(|(destination, path)| format!("{}{path}", destination.origin))
        };
        for url in [
            "https://id.example.com/token",
            "https://id.example.com/v2/token/",
            "https://id.example.com:8443/a",
            "https://id.example.com/",
        ] {
            assert_eq!(path(url, false).as_deref(), Some(url));
        }
        assert_eq!(path("https://id.example.com", false).unwrap(), "https://id.example.com/");
        assert!(path("http://id.example.com/t", true).is_some());
        for bad in ["http://id.example.com/t", "ftp://id.example.com", "", "https://a@b.example/"] {
            assert!(path(bad, false).is_none(), "{bad}");
        }
    }
}
