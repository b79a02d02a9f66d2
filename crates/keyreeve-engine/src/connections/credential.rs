//! A credential, ready to go into requests: the fields of a version in the places of a connection.

use std::{collections::BTreeMap, fmt, sync::Arc};

use keyreeve_catalog::{AuthMethod, ClientAuth, HmacMethod, Part, Template};
use keyreeve_core::{Secret, egress::ScrubSet, vault::VersionNumber};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::Connection;
use crate::vault::Fields;

/// A credential of one version, ready to go into requests. Prints nothing of it.
pub struct Credential {
    /// The version it was made of.
    pub version: VersionNumber,
    /// Whether there is a version that was current before, which is used should this one be refused.
    pub has_previous: bool,
    /// What goes into a request.
    pub injection: Injection,
    /// What is taken out of answers.
    pub scrub: Arc<ScrubSet>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Names and what they are set to.
type Rendered = Vec<(String, Secret<String>)>;

/// What goes into a request.
#[derive(Debug)]
pub enum Injection {
    /// Headers, in lower case.
    Headers(Rendered),
    /// Parameters of the query.
    Query(Rendered),
    /// Cookies.
    Cookies(Rendered),
    /// What is put before the path.
    Path(Secret<String>),
    /// Fields of a form body.
    Form(Rendered),
    /// Members of a JSON body, by pointer (RFC 6901).
    Json(Rendered),
    /// AWS Signature Version 4.
    AwsSigV4 {
        /// Names the key.
        access_key_id: Secret<String>,
        /// Signs.
        secret_access_key: Secret<String>,
        /// Of a temporary key.
        session_token: Option<Secret<String>>,
        /// The region; what the host's name says if `None`.
        region: Option<String>,
        /// The service; what the host's name says if `None`.
        service: Option<String>,
    },
    /// An HMAC over parts of the request.
    Hmac {
        /// How it is made.
        method: HmacMethod,
        /// What signs.
        key: Secret<String>,
    },
    /// A token for client credentials (RFC 6749 §4.4), which goes as bearer.
    OAuth2Client {
        /// Where tokens are given out.
        token_url: String,
        /// The client.
        client_id: Secret<String>,
        /// Its secret.
        client_secret: Secret<String>,
        /// Where the secret goes.
        client_auth: ClientAuth,
        /// What the token is asked for.
        scope: Option<String>,
    },
    /// A token for a signed assertion (RFC 7523), which goes as bearer.
    OAuth2Jwt {
        /// Where tokens are given out.
        token_url: String,
        /// The service account's file, as JSON.
        service_account: Secret<String>,
        /// What the token is asked for.
        scope: String,
    },
}

/// Why no credential could be made of a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("has no field for the place {{{0}}}")]
    NoField(String),
    #[error("has a field that cannot stand in the header {0}")]
    NoHeader(String),
    #[error("has more in its fields than can be looked for in answers")]
    TooLarge,
}

/// The fields of a version, by name.
pub(crate) struct Values(BTreeMap<String, Zeroizing<String>>);

impl Values {
    /// Takes the fields that are texts or numbers.
    pub(crate) fn of(fields: &Fields) -> Self {
        // EXPOSE: taken apart; each value is wiped when it goes.
        let texts = serde_json::from_str::<BTreeMap<String, &RawValue>>(fields.text().expose());
        let texts = texts.unwrap_or_default().into_iter().filter_map(|(name, raw)| {
            let text = serde_json::from_str::<String>(raw.get()).map(Zeroizing::new);
            let number = || {
                let digits = raw.get().bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
                digits.then(|| Zeroizing::new(raw.get().to_owned()))
            };
            Some((name, text.ok().or_else(number)?))
        });
        Self(texts.collect())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is a field of that name, or of one of its other names.
    pub(super) fn has(&self, place: &str, aliases: &[String]) -> bool {
        self.find(place, aliases, false).is_some()
    }

    /// The field of that name, or of one of its other names.
    pub(crate) fn named(&self, name: &str, aliases: &[String]) -> Option<&str> {
        self.find(name, aliases, false)
    }

    /// The value of the only field there is.
    pub(crate) fn only(&self) -> Option<&str> {
        (self.0.len() == 1).then(|| self.0.values().next()).flatten().map(|value| value.as_str())
    }

    /// The value of a place: the field of that name, one of its other names, or the only field there is
    /// where there is only one place, too.
    fn find(&self, place: &str, aliases: &[String], is_only_place: bool) -> Option<&str> {
        let named = |name: &str| {
            let same = |(field, _): &(&String, _)| field.eq_ignore_ascii_case(name);
            self.0.get(name).or_else(|| self.0.iter().find(same).map(|(_, value)| value))
        };
        let found = named(place).or_else(|| aliases.iter().find_map(|alias| named(alias)));
        let only =
            || (is_only_place && self.0.len() == 1).then(|| self.0.values().next()).flatten();
        found.or_else(only).map(|value| value.as_str())
    }
}

/// Puts values in places.
struct Renderer<'a> {
    connection: &'a Connection,
    values: &'a Values,
    places: usize,
}

impl Renderer<'_> {
    fn text(&self, template: &Template) -> Result<Secret<String>, Unusable> {
        let settings = &self.connection.settings;
        let mut text = Zeroizing::new(String::with_capacity(256));
        for part in template.parts() {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Place(name) => {
                    let value = match settings.parameters.get(name) {
                        Some(given) => given.as_str(),
                        None => self.value(name)?,
                    };
                    text.push_str(value);
                }
            }
        }
        Ok(Secret::new(std::mem::take(&mut *text)))
    }

    fn value(&self, place: &str) -> Result<&str, Unusable> {
        let aliases = self.connection.settings.aliases.get(place).map_or(&[][..], Vec::as_slice);
        let found = self.values.find(place, aliases, self.places == 1);
        found.ok_or_else(|| Unusable::NoField(place.to_owned()))
    }

    fn named(&self, templates: &BTreeMap<String, Template>) -> Result<Rendered, Unusable> {
        templates.iter().map(|(name, it)| Ok((name.clone(), self.text(it)?))).collect()
    }

    fn plain(&self, template: Option<&Template>) -> Result<Option<String>, Unusable> {
        // EXPOSE: names a region or a service, or the address of tokens: no secret.
        template.map(|it| Ok(self.text(it)?.expose().clone())).transpose()
    }
}

impl Connection {
    /// The places of its templates that are no parameters.
    pub(super) fn places(&self) -> Vec<&str> {
        let templates = self.method.templates().into_iter();
        let mut places: Vec<&str> = templates.flat_map(Template::places).collect();
        places.retain(|place| !self.settings.parameters.contains_key(*place));
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The credential that a version's fields make.
    pub(super) fn credential(
        &self,
        version: VersionNumber,
        has_previous: bool,
        fields: &Fields,
    ) -> Result<Credential, Unusable> {
        let values = Values::of(fields);
        let places = self.places();
        let renderer = Renderer { connection: self, values: &values, places: places.len() };
        let injection = injection(&self.method, &renderer)?;
        let scrub = self.scrub(&renderer, &places, &injection)?;
        Ok(Credential { version, has_previous, injection, scrub: Arc::new(scrub) })
    }

    /// Everything secret that an answer could repeat: the values themselves, and what was made of them.
    fn scrub(
        &self,
        renderer: &Renderer<'_>,
        places: &[&str],
        injection: &Injection,
    ) -> Result<ScrubSet, Unusable> {
        let is_secret = |place: &&&str| !self.settings.public.iter().any(|name| name == **place);
        let secret = places.iter().filter(is_secret);
        let mut patterns: Vec<&[u8]> = Vec::new();
        for place in secret {
            patterns.push(renderer.value(place)?.as_bytes());
        }
        if let Injection::Headers(headers) = injection
            && !patterns.is_empty()
        {
            for (_, value) in headers {
                // EXPOSE: becomes what is looked for in answers. `Basic …` as a whole is one word too
                // many: what follows the scheme is what an answer repeats.
                let value = value.expose().as_str();
                patterns.push(value.split_once(' ').map_or(value, |(_, rest)| rest).as_bytes());
            }
        }
        ScrubSet::new(patterns).map_err(|_| Unusable::TooLarge)
    }
}

fn injection(method: &AuthMethod, to: &Renderer<'_>) -> Result<Injection, Unusable> {
    Ok(match method {
        AuthMethod::Bearer { token } => {
            Injection::Headers(vec![("authorization".to_owned(), bearer(&to.text(token)?)?)])
        }
        AuthMethod::Basic { user, password } => {
            let (user, password) = (to.text(user)?, to.text(password)?);
            Injection::Headers(vec![("authorization".to_owned(), basic(&user, &password))])
        }
        AuthMethod::Headers(headers) => {
            let headers = to.named(headers)?;
            let headers = headers.into_iter().map(|(name, value)| {
                fits_header(&name, &value)?;
                Ok((name.to_ascii_lowercase(), value))
            });
            Injection::Headers(headers.collect::<Result<_, Unusable>>()?)
        }
        AuthMethod::Query(parameters) => Injection::Query(to.named(parameters)?),
        AuthMethod::Cookie(cookies) => Injection::Cookies(to.named(cookies)?),
        AuthMethod::Path { prefix } => Injection::Path(to.text(prefix)?),
        AuthMethod::Form(fields) => Injection::Form(to.named(fields)?),
        AuthMethod::Json(pointers) => Injection::Json(to.named(pointers)?),
        AuthMethod::AwsSigV4 {
            access_key_id,
            secret_access_key,
            session_token,
            region,
            service,
        } => Injection::AwsSigV4 {
            access_key_id: to.text(access_key_id)?,
            secret_access_key: to.text(secret_access_key)?,
            session_token: session_token.as_ref().map(|it| to.text(it)).transpose()?,
            region: to.plain(region.as_ref())?,
            service: to.plain(service.as_ref())?,
        },
        AuthMethod::Hmac(method) => {
            Injection::Hmac { method: method.clone(), key: to.text(&method.key)? }
        }
        AuthMethod::OAuth2Client { token_url, client_id, client_secret, client_auth, scope } => {
            Injection::OAuth2Client {
                token_url: to.plain(Some(token_url))?.unwrap_or_default(),
                client_id: to.text(client_id)?,
                client_secret: to.text(client_secret)?,
                client_auth: *client_auth,
                scope: scope.clone(),
            }
        }
        AuthMethod::OAuth2Jwt { token_url, service_account, scope } => Injection::OAuth2Jwt {
            token_url: to.plain(Some(token_url))?.unwrap_or_default(),
            service_account: to.text(service_account)?,
            scope: scope.clone(),
        },
        // Refused when the connection was made.
        AuthMethod::AzureSharedKey { .. }
        | AuthMethod::ConnectionUrl { .. }
        | AuthMethod::Ssh { .. } => Injection::Headers(Vec::new()),
    })
}

/// `Bearer …` (RFC 6750 §2.1).
fn bearer(token: &Secret<String>) -> Result<Secret<String>, Unusable> {
    fits_header("authorization", token)?;
    // EXPOSE: becomes the header.
    Ok(Secret::new(["Bearer ", token.expose()].concat()))
}

/// `Basic …` (RFC 7617 §2).
fn basic(user: &Secret<String>, password: &Secret<String>) -> Secret<String> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    // EXPOSE: becomes the header.
    let pair = Zeroizing::new([user.expose(), ":", password.expose()].concat());
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
    Secret::new(["Basic ", &encoded].concat())
}

/// Whether a value can stand in a header (RFC 9110 §5.5): visible characters and spaces.
fn fits_header(name: &str, value: &Secret<String>) -> Result<(), Unusable> {
    // EXPOSE: looked at for its characters.
    let fits = value.expose().bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if fits { Ok(()) } else { Err(Unusable::NoHeader(name.to_owned())) }
}
