//! The request that tells whether a service takes a connection's credential.

use std::{collections::BTreeMap, sync::Arc};

use keyreeve_catalog::{Answer, Liveliness, Liveness, Method, Provider, Template};
use keyreeve_core::{
    Invalid,
    egress::{PathRules, Target},
    encoding::push_percent_encoded,
    restriction::RoutePattern,
};
use serde_json::Value;

use super::{Known, Values};
use crate::{
    FieldError,
    connections::{Connection, ConnectionSettings, Credential},
};

/// A request that tells whether a credential is good.
#[derive(Debug)]
pub struct CallProbe {
    /// Through which connection.
    pub connection: Arc<Connection>,
    /// With what.
    pub credential: Arc<Credential>,
    /// The method.
    pub method: &'static str,
    /// The path and query behind the connection's address.
    pub target: Target,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// The body of a POST, which is JSON.
    pub body: Option<String>,
    /// What answers mean.
    pub expected: Expected,
}

/// What answers mean.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    live: Vec<u16>,
    limited: Vec<u16>,
    dead: Vec<u16>,
    answers: Vec<Answer>,
}

impl Expected {
    fn of(liveness: &Liveness) -> Self {
        Self {
            live: liveness.live.clone(),
            limited: liveness.limited.clone(),
            dead: liveness.dead.clone(),
            answers: liveness.answers.clone(),
        }
    }

    /// Whether the body of an answer counts.
    pub fn looks_at_body(&self) -> bool {
        !self.answers.is_empty()
    }

    /// What an answer means. `body` is its JSON, if it has any.
    pub fn verdict(&self, status: u16, body: Option<&Value>) -> Liveliness {
        let said = |answer: &&Answer| {
            let Some(found) = body.and_then(|body| body.pointer(&answer.pointer)) else {
                return false;
            };
            match (&answer.equals, &answer.contains) {
                (Some(wanted), _) => found == wanted,
                (None, Some(part)) => found.as_str().is_some_and(|text| text.contains(part)),
                (None, None) => false,
            }
        };
        if let Some(answer) = self.answers.iter().find(said) {
            return answer.verdict;
        }
        let lists = [
            (&self.live, Liveliness::Live),
            (&self.limited, Liveliness::Limited),
            (&self.dead, Liveliness::Dead),
        ];
        if lists.iter().all(|(list, _)| list.is_empty()) {
            // Nobody has said what this request is answered with.
            return match status {
                401 => Liveliness::Dead,
                403 => Liveliness::Limited,
                407 | 408 | 425 | 429 | 500.. => Liveliness::Unknown,
                _ => Liveliness::Live,
            };
        }
        let found = lists.into_iter().find(|(list, _)| list.contains(&status));
        found.map_or(Liveliness::Unknown, |(_, verdict)| verdict)
    }
}

impl CallProbe {
    /// The request for a path that was given, or the one that the catalogue has for this credential.
    pub(super) fn new(
        connection: Arc<Connection>,
        credential: Credential,
        known: Known<'_>,
        values: &Values,
        path: Option<&str>,
    ) -> Result<Self, FieldError> {
        let settings = &connection.settings;
        let rules = settings.path_rules;
        let (place, liveness) = if let Some(path) = path {
            let host = settings.base_url.origin.host().as_str();
            let routes = &settings.restrictions.routes;
            let fits = |it: &RoutePattern| it.matches("GET", Some(host), path);
            if !routes.is_empty() && !routes.iter().any(fits) {
                let rule = "must be one that the connection's routes allow with GET";
                return Err(FieldError::new("path", Invalid::new(rule)));
            }
            (path.to_owned(), None)
        } else {
            let (place, liveness) = usual(settings, known, &connection.places(), values).ok_or_else(|| {
                let rule = "must be given: the catalogue has no request that tells whether this \
                            credential is good";
                FieldError::new("path", Invalid::new(rule))
            })?;
            (place, Some(liveness))
        };
        Ok(Self {
            method: match liveness.and_then(|it| it.method) {
                Some(Method::Head) => "HEAD",
                Some(Method::Post) => "POST",
                _ => "GET",
            },
            target: target(&place, rules)?,
            headers: liveness.map(|it| it.headers.clone()).unwrap_or_default(),
            body: liveness.and_then(|it| it.body.clone()),
            expected: liveness.map(Expected::of).unwrap_or_default(),
            connection,
            credential: Arc::new(credential),
        })
    }
}

/// The request that the catalogue has for this credential: what stands behind the connection's address, and
/// what is known of it.
fn usual<'a>(
    settings: &ConnectionSettings,
    known: Known<'a>,
    places: &[&str],
    values: &Values,
) -> Option<(String, &'a Liveness)> {
    let (provider, document) = known?;
    let is_ours = |id: &str| {
        let tables = document.get("auth").and_then(Value::as_array);
        let table = tables.and_then(|all| all.iter().find(|it| it["id"] == *id));
        let mut table = table.cloned().unwrap_or_default();
        table.as_object_mut().is_some_and(|it| it.remove("id").is_some())
            && table == settings.inject
    };
    let same_auth = |it: &&Liveness| it.auth.as_deref().is_some_and(is_ours);
    // The same credential in another slot is the same question.
    let same_credential = |it: &&Liveness| places.iter().any(|place| *place == it.credential);
    let ours = provider.liveness.iter().filter(same_auth);
    let mut all = ours.chain(provider.liveness.iter().filter(same_credential));
    all.find_map(|it| Some((place_of(provider, it, settings, values)?, it)))
}

fn target(text: &str, rules: PathRules) -> Result<Target, FieldError> {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, it)| (path, Some(it)));
    Target::parse(path, query, rules).map_err(|fault| FieldError::new("path", fault.into()))
}

/// What stands behind the address that the catalogue has for calls; `None` if it is on another host, or
/// holds what is secret or not known.
fn place_of(
    provider: &Provider,
    liveness: &Liveness,
    settings: &ConnectionSettings,
    values: &Values,
) -> Option<String> {
    let parameters = &settings.parameters;
    let url = liveness.url.as_ref()?;
    let bases: Vec<&str> =
        provider.proxy.iter().flat_map(|proxy| &proxy.base_urls).map(Template::as_str).collect();
    let base = *bases.iter().find(|base| url.as_str().starts_with(**base))?;
    let own = settings.base_url.to_string();
    let is_own = |base: &str| filled(base, parameters) == own;
    // Asked at the address it is meant for; one of somebody's own stands for the usual one.
    let is_meant =
        is_own(base) || (bases.first() == Some(&base) && !bases.iter().any(|it| is_own(it)));
    if !is_meant {
        return None;
    }
    // The address is the connection's own; what stands behind it is filled in.
    let rest = url.as_str().get(base.len()..)?;
    if !rest.starts_with('/') {
        return None;
    }
    let mut place = String::new();
    let mut pieces = rest.split('{');
    place.push_str(pieces.next()?);
    for piece in pieces {
        let (name, plain) = piece.split_once('}')?;
        let value = parameters.get(name).map(String::as_str).or_else(|| {
            let public = provider.credential(name).filter(|it| !it.class.is_secret())?;
            values.named(name, &public.variables)
        });
        push_percent_encoded(&mut place, value?.as_bytes());
        place.push_str(plain);
    }
    Some(place)
}

/// An address with its parameters.
fn filled(base: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut text = base.to_owned();
    for (name, value) in parameters {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read_before_statuses_and_what_is_in_no_list_is_unknown() {
        let answers = json!([{ "pointer": "/ok", "equals": false, "verdict": "dead" }]);
        let expected = Expected {
            live: vec![200],
            dead: vec![401],
            answers: serde_json::from_value(answers).unwrap(),
            ..Expected::default()
        };
        assert_eq!(expected.verdict(200, Some(&json!({ "ok": false }))), Liveliness::Dead);
        assert_eq!(expected.verdict(200, Some(&json!({ "ok": true }))), Liveliness::Live);
        assert_eq!(expected.verdict(200, None), Liveliness::Live);
        assert_eq!(expected.verdict(401, None), Liveliness::Dead);
        assert_eq!(expected.verdict(403, None), Liveliness::Unknown);
    }

    #[test]
    fn without_the_catalogue_only_a_refusal_is_one() {
        let expected = Expected::default();
        for (status, verdict) in [
            (200, Liveliness::Live),
            (404, Liveliness::Live),
            (401, Liveliness::Dead),
            (403, Liveliness::Limited),
            (429, Liveliness::Unknown),
            (503, Liveliness::Unknown),
        ] {
            assert_eq!(expected.verdict(status, None), verdict, "{status}");
        }
    }
}
