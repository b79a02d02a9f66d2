//! The rules that one provider's file has to keep, beyond its shape.

// The build reads this file from elsewhere, where the usual places are not looked at.
#[path = "check/credential.rs"]
mod credential;
#[path = "check/request.rs"]
mod request;

use std::collections::BTreeSet;

use crate::{
    place::Place,
    provider::{Parameter, Provider, Rotation, RotationClass, SCHEMA},
    template::{Template, is_name},
};

/// Rules broken so far, each with where.
#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<(Place, String)>);

impl Findings {
    pub(crate) fn note(&mut self, place: Place, rule: impl Into<String>) {
        self.0.push((place, rule.into()));
    }

    fn require(&mut self, holds: bool, place: &Place, rule: &str) {
        if !holds {
            self.note(place.clone(), rule);
        }
    }
}

/// Checks one provider. `stem` is its file's name without the ending.
pub(crate) fn provider(provider: &Provider, stem: &str) -> Findings {
    let mut found = Findings::default();
    let root = Place::default();
    let schema = format!("must be {SCHEMA}, the version this program reads");
    found.require(provider.schema == SCHEMA, &root.key("schema"), &schema);
    found.require(
        is_provider_id(&provider.id),
        &root.key("id"),
        "must be of a-z, 0-9 and '-', beginning with a letter",
    );
    found.require(provider.id == stem, &root.key("id"), "must equal the file's name");
    found.require(is_day(&provider.checked), &root.key("checked"), "must be a day, YYYY-MM-DD");
    found.require(!provider.sources.is_empty(), &root.key("sources"), "must name a source");
    for (index, source) in provider.sources.iter().enumerate() {
        found.require(is_https(source), &root.key("sources").at(index), "must begin with https://");
    }
    for (name, url) in [("documentation", &provider.documentation), ("console", &provider.console)]
    {
        found.require(is_https(url), &root.key(name), "must begin with https://");
    }
    if let Some(days) = provider.risk.rotate_every_days {
        let place = root.key("risk").key("rotate_every_days");
        found.require((1..=3_650).contains(&days), &place, "must be 1 to 3650");
    }
    names(provider, &mut found);
    for (index, parameter) in provider.parameters.iter().enumerate() {
        check_parameter(parameter, &root.key("parameter").at(index), &mut found);
    }
    for (index, known) in provider.credentials.iter().enumerate() {
        credential::check(provider, known, &root.key("credential").at(index), &mut found);
    }
    request::check(provider, &mut found);
    for (index, rotation) in provider.rotations.iter().enumerate() {
        check_rotation(provider, rotation, &root.key("rotation").at(index), &mut found);
    }
    found
}

/// What templates can name: credentials and parameters, each once.
fn names(provider: &Provider, found: &mut Findings) {
    let root = Place::default();
    found.require(!provider.credentials.is_empty(), &root, "must have a credential");
    let credentials = provider.credentials.iter().map(|it| it.id.as_str());
    let credentials = credentials.enumerate().map(|(at, id)| ("credential", at, id));
    let parameters = provider.parameters.iter().map(|it| it.id.as_str());
    let parameters = parameters.enumerate().map(|(at, id)| ("parameter", at, id));
    let mut seen = BTreeSet::new();
    for (table, index, id) in credentials.chain(parameters) {
        let place = root.key(table).at(index).key("id");
        found.require(is_name(id), &place, "must be of a-z, 0-9 and '_', beginning with a letter");
        found.require(seen.insert(id), &place, "must not stand twice");
    }
    let mut seen = BTreeSet::new();
    for (index, auth) in provider.auths.iter().enumerate() {
        let place = root.key("auth").at(index).key("id");
        found.require(seen.insert(&auth.id), &place, "must not stand twice");
        for template in auth.method.templates() {
            places(provider, template, &root.key("auth").at(index), found);
        }
    }
}

/// Every place of a template must name something.
fn places(provider: &Provider, template: &Template, place: &Place, found: &mut Findings) {
    for name in template.places() {
        let known = provider.credential(name).is_some()
            || provider.parameters.iter().any(|parameter| parameter.id == name);
        if !known {
            found.note(place.clone(), format!("{{{name}}} names no credential and no parameter"));
        }
    }
}

fn check_parameter(parameter: &Parameter, place: &Place, found: &mut Findings) {
    match (&parameter.pattern, parameter.values.as_slice()) {
        (None, []) => found.note(place.clone(), "must have `pattern` or `values`"),
        (Some(_), [_, ..]) => {
            found.note(place.key("values"), "must not stand together with `pattern`");
        }
        _ => {}
    }
    if let Some(mistake) = parameter.pattern.as_ref().and_then(crate::pattern::Pattern::mistake) {
        found.note(place.key("pattern"), mistake);
        return;
    }
    let fits = |value: &str| match &parameter.pattern {
        Some(pattern) => pattern.matches(value),
        None => parameter.values.iter().any(|known| known == value),
    };
    found.require(fits(&parameter.example), &place.key("example"), "must fit the parameter");
    if let Some(default) = &parameter.default {
        found.require(fits(default), &place.key("default"), "must fit the parameter");
    }
    variables(&parameter.variables, place, found);
}

fn variables(names: &[String], place: &Place, found: &mut Findings) {
    for (index, name) in names.iter().enumerate() {
        let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let place = place.key("variables").at(index);
        found.require(good, &place, "must be of letters, digits and '_'");
    }
}

fn check_rotation(provider: &Provider, rotation: &Rotation, place: &Place, found: &mut Findings) {
    for (index, id) in rotation.credentials.iter().enumerate() {
        let place = place.key("credentials").at(index);
        found.require(provider.credential(id).is_some(), &place, "must name a credential");
        let rotations = provider.rotations.iter().flat_map(|other| &other.credentials);
        let once = rotations.filter(|other| *other == id).count() == 1;
        found.require(once, &place, "must belong to one rotation only");
    }
    found.require(!rotation.credentials.is_empty(), place, "must name a credential");
    let by_hand = matches!(rotation.class, RotationClass::B | RotationClass::C);
    let told = !by_hand || !rotation.steps.is_empty();
    found.require(told, place, "of class B or C must have steps for a person");
    let url = &rotation.documentation;
    found.require(is_https(url), &place.key("documentation"), "must begin with https://");
}

fn is_provider_id(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_https(url: &str) -> bool {
    url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.contains(' '))
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number = |text: &str| text.parse::<u16>().unwrap_or_default();
    let lengths = (year.len(), month.len(), day.len()) == (4, 2, 2);
    lengths
        && number(year) > 2000
        && (1..=12).contains(&number(month))
        && (1..=31).contains(&number(day))
}
