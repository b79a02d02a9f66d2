//! Connections to providers of the catalogue.

use std::collections::BTreeMap;

use keyreeve_catalog::{AuthMethod, Credential, Provider, Template};
use keyreeve_core::{Invalid, egress::BaseUrl};
use serde_json::Value;

use super::{CallCost, credential::Values};
use crate::{FieldError, vault::Fields};

/// What the catalogue says of a connection to a provider.
#[derive(Debug)]
pub(super) struct FromCatalog {
    pub(super) base_url: BaseUrl,
    pub(super) inject: Value,
    pub(super) aliases: BTreeMap<String, Vec<String>>,
    pub(super) public: Vec<String>,
    pub(super) costs: Vec<CallCost>,
}

fn refuse(field: &str, rule: String) -> FieldError {
    FieldError::new(field, Invalid::new(rule))
}

/// Reads what the catalogue says: the usual address, and the first way of using a credential that the
/// secret's fields are enough for. `document` is the provider's file as JSON.
pub(super) fn from_catalog(
    provider: &Provider,
    document: &Value,
    parameters: &BTreeMap<String, String>,
    fields: &Fields,
) -> Result<FromCatalog, FieldError> {
    let Some(proxy) = &provider.proxy else {
        let rule = format!("cannot be {}: it has no HTTP API to be called", provider.id);
        return Err(refuse("provider", rule));
    };
    let aliases: BTreeMap<String, Vec<String>> = provider
        .credentials
        .iter()
        .map(|credential| (credential.id.clone(), credential.variables.clone()))
        .collect();
    let base_url = proxy.base_urls.first().map(|template| address(provider, template, parameters));
    let base_url = base_url.transpose()?.ok_or_else(|| {
        refuse("base_url", "must be given: the catalogue names no usual one".to_owned())
    })?;
    let values = Values::of(fields);
    let known = |place: &str| {
        let others = aliases.get(place).map_or(&[][..], Vec::as_slice);
        parameters.contains_key(place) || values.has(place, others)
    };
    let auths =
        proxy.auth.iter().filter_map(|id| provider.auths.iter().find(|auth| auth.id == *id));
    let mut auths = auths.filter(|auth| is_http(&auth.method)).peekable();
    let usual = auths.peek().copied();
    let fitting = auths
        .find(|auth| auth.method.templates().into_iter().flat_map(Template::places).all(known));
    // With one field of whatever name there is nothing to be in doubt about where one is needed.
    let only = usual.filter(|auth| {
        let mut places: Vec<&str> =
            auth.method.templates().into_iter().flat_map(Template::places).collect();
        places.retain(|place| !parameters.contains_key(*place));
        places.sort_unstable();
        places.dedup();
        places.len() == 1 && values.count() == 1
    });
    let Some(auth) = fitting.or(only) else {
        return Err(refuse("secret", needed(provider, usual.map(|auth| &auth.method))));
    };
    let tables = document.get("auth").and_then(Value::as_array);
    let table = tables.and_then(|all| all.iter().find(|it| it["id"] == *auth.id));
    let mut inject = table.cloned().unwrap_or_default();
    if let Some(table) = inject.as_object_mut() {
        table.remove("id");
    }
    let public = provider.credentials.iter().filter(|credential| !credential.class.is_secret());
    let public = public.map(|credential| credential.id.clone()).collect();
    let rules = proxy.costs.iter().map(|cost| {
        let route = cost.route.parse().map_err(|rule| FieldError::new("costs", rule))?;
        Ok(CallCost { route, units: cost.units })
    });
    let costs = rules.collect::<Result<_, FieldError>>()?;
    Ok(FromCatalog { base_url, inject, aliases, public, costs })
}

fn is_http(method: &AuthMethod) -> bool {
    !matches!(
        method,
        AuthMethod::ConnectionUrl { .. }
            | AuthMethod::Ssh { .. }
            | AuthMethod::AzureSharedKey { .. }
    )
}

/// Says which fields the secret must have.
fn needed(provider: &Provider, usual: Option<&AuthMethod>) -> String {
    let Some(usual) = usual else {
        return format!("cannot be used: the proxy knows no way to call {}", provider.id);
    };
    let places = usual.templates().into_iter().flat_map(Template::places);
    let mut words: Vec<String> = places.map(|place| field_words(provider, place)).collect();
    words.sort_unstable();
    words.dedup();
    format!("must have the fields that {} is called with: {}", provider.id, words.join(" and "))
}

fn field_words(provider: &Provider, place: &str) -> String {
    let variables = provider.credential(place).map(|it: &Credential| it.variables.as_slice());
    match variables.and_then(<[String]>::first) {
        Some(variable) => format!("`{place}` (or `{variable}`)"),
        None => format!("`{place}`"),
    }
}

/// An address with its parameters.
fn address(
    provider: &Provider,
    template: &Template,
    given: &BTreeMap<String, String>,
) -> Result<BaseUrl, FieldError> {
    let mut text = String::new();
    for part in template.parts() {
        match part {
            keyreeve_catalog::Part::Text(plain) => text.push_str(plain),
            keyreeve_catalog::Part::Place(name) => {
                text.push_str(parameter(provider, name, given)?);
            }
        }
    }
    text.parse().map_err(|rule| FieldError::new("base_url", rule))
}

fn parameter<'a>(
    provider: &'a Provider,
    name: &str,
    given: &'a BTreeMap<String, String>,
) -> Result<&'a str, FieldError> {
    let known = provider.parameters.iter().find(|parameter| parameter.id == name);
    let field = format!("parameters.{name}");
    let Some(value) = given.get(name) else {
        let usual = known.and_then(|known| known.default.as_deref());
        return usual.ok_or_else(|| {
            let what = known.map_or(name, |known| known.name.as_str());
            refuse(&field, format!("must be given: {what}"))
        });
    };
    let fits = known.is_none_or(|known| {
        known.values.iter().any(|it| it == value)
            || known.pattern.as_ref().is_some_and(|pattern| pattern.matches(value))
    });
    if fits {
        Ok(value)
    } else {
        Err(refuse(&field, "is not what the catalogue expects".to_owned()))
    }
}
