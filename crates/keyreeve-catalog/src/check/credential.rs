//! Rules of one credential: its pattern, its examples, what speaks for it.

use super::{Findings, is_day, variables};
use crate::{
    place::Place,
    provider::{Credential, Evidence, Provider},
};

/// Shorter words stand in every text.
const SHORTEST_KEYWORD: usize = 3;

pub(super) fn check(provider: &Provider, known: &Credential, place: &Place, found: &mut Findings) {
    if !compiles(known, place, found) {
        return;
    }
    examples(known, place, found);
    evidence(known, place, found);
    variables(&known.variables, place, found);
    for (index, other) in known.paired_with.iter().enumerate() {
        let good = *other != known.id && provider.credential(other).is_some();
        let place = place.key("paired_with").at(index);
        found.require(good, &place, "must name another credential of this provider");
    }
    if let Some(ends) = known.deprecated.as_ref().and_then(|it| it.ends.as_ref()) {
        let place = place.key("deprecated");
        found.require(is_day(ends), &place, "ends must be a day, YYYY-MM-DD");
    }
    if !known.class.is_secret() || known.deprecated.is_some() {
        return;
    }
    let rotates = provider.rotation_of(&known.id).is_some();
    found.require(rotates, place, "a secret must belong to a rotation");
    let asked = provider.liveness.iter().any(|liveness| liveness.credential == known.id);
    let told = asked || !known.paired_with.is_empty();
    found.require(told, place, "a secret must have a liveness entry or be paired with another");
}

/// Whether all patterns compile.
fn compiles(known: &Credential, place: &Place, found: &mut Findings) -> bool {
    let before = found.0.len();
    if let Some(mistake) = known.pattern.mistake() {
        found.note(place.key("pattern"), mistake);
    }
    if let Some(modes) = &known.modes {
        for (pattern, name) in [(&modes.live, "live"), (&modes.test, "test")] {
            if let Some(mistake) = pattern.mistake() {
                found.note(place.key("modes").key(name), mistake);
            }
        }
    }
    for (index, placeholder) in known.placeholders.iter().enumerate() {
        if let Some(mistake) = placeholder.mistake() {
            found.note(place.key("placeholders").at(index), mistake);
        }
    }
    found.0.len() == before
}

fn examples(known: &Credential, place: &Place, found: &mut Findings) {
    found.require(!known.examples.is_empty(), &place.key("examples"), "must have one");
    let none = &known.counter_examples;
    found.require(!none.is_empty(), &place.key("counter_examples"), "must have one");
    for (index, example) in known.examples.iter().enumerate() {
        let place = place.key("examples").at(index);
        if !known.pattern.matches(&example.value) {
            found.note(place, "must match the pattern");
            continue;
        }
        let sum = known.checksum.is_none_or(|checksum| checksum.holds(&example.value));
        found.require(sum, &place, "must have the right checksum");
        let free = !known.placeholders.iter().any(|it| it.matches(&example.value));
        found.require(free, &place, "must not be a placeholder");
        let mode = known.mode_of(&example.value);
        found.require(mode == example.mode, &place, "must be of the mode it names");
        let one_line = known.multiline || !example.value.contains('\n');
        found.require(one_line, &place, "must be one line, or the credential `multiline`");
    }
    for (index, value) in known.counter_examples.iter().enumerate() {
        let place = place.key("counter_examples").at(index);
        found.require(!known.matches(value), &place, "must not match");
    }
}

fn evidence(known: &Credential, place: &Place, found: &mut Findings) {
    found.require(!known.keywords.is_empty(), &place.key("keywords"), "must have one");
    for (index, keyword) in known.keywords.iter().enumerate() {
        let place = place.key("keywords").at(index);
        let long = keyword.len() >= SHORTEST_KEYWORD;
        found.require(long, &place, "must be at least three characters");
    }
    if known.evidence == Evidence::Format {
        for (index, example) in known.examples.iter().enumerate() {
            let place = place.key("examples").at(index);
            let good = known.keyword_in(&example.value);
            found.require(good, &place, "must hold a keyword, as the format is the evidence");
        }
    }
}
