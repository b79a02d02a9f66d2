//! What a value is, and whether it can be meant: a placeholder, an id where the secret belongs, a test
//! key for production are told before they are kept.

use std::fmt;

use crate::{
    catalog::{Catalog, Known},
    provider::Mode,
};

/// Values that stand in examples and never open anything, in small letters.
const PLACEHOLDERS: &[&str] = &[
    "changeme",
    "change_me",
    "change-me",
    "replaceme",
    "replace_me",
    "replace-me",
    "placeholder",
    "todo",
    "tbd",
    "fixme",
    "none",
    "null",
    "undefined",
    "dummy",
    "secret",
    "password",
    "example",
    "test",
    "foo",
    "bar",
    "xxx",
    "redacted",
    "your_api_key",
    "your-api-key",
    "your_key_here",
    "your_secret_here",
    "insert_key_here",
    "api_key_here",
];
/// Beginnings of such values.
const PLACEHOLDER_BEGINNINGS: &[&str] = &[
    "your_", "your-", "<", "${", "{{", "insert_", "insert-", "replace_", "replace-", "enter_",
    "add_your",
];
/// Words in a name that say that its value is a secret.
const SECRET_WORDS: &[&str] = &[
    "KEY",
    "SECRET",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
];
/// What people call the environment that counts.
const PRODUCTION: &[&str] = &["production", "prod", "live"];

/// Where a value is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The secret's path; by custom its first part is the environment.
    pub path: &'a str,
    /// The field.
    pub field: &'a str,
}

impl Place<'_> {
    /// Whether what is kept there is used for real.
    pub fn is_production(&self) -> bool {
        let environment = self.path.split('/').next().unwrap_or_default();
        self.path.contains('/') && PRODUCTION.contains(&environment.to_ascii_lowercase().as_str())
    }

    /// The field's name as a variable: as it is written, or with the secret's own name before it.
    fn variables(&self) -> [String; 2] {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        [self.field.to_owned(), format!("{name}_{}", self.field).replace('-', "_")]
    }

    fn sounds_secret(&self) -> bool {
        let upper = self.field.to_ascii_uppercase();
        upper.split(['_', '-', '.']).any(|word| SECRET_WORDS.contains(&word))
            || SECRET_WORDS.iter().any(|word| upper.ends_with(word))
    }
}

/// What a value turned out to be.
#[derive(Clone, Debug)]
pub struct Judgement<'c> {
    /// What is expected in its place, or else what it looks like.
    pub known: Option<Known<'c>>,
    /// Whether it is live or test, where it tells.
    pub mode: Option<Mode>,
    /// Why it cannot be meant.
    pub objection: Option<Objection>,
}

/// Why a value cannot be meant. Nothing of the value is in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It stands for a value.
    Placeholder {
        /// What is expected, if that is known.
        expected: Option<String>,
    },
    /// It is another credential than its place is for.
    Swapped {
        /// What is expected.
        expected: String,
        /// What it is.
        found: String,
    },
    /// It does not look like what is expected.
    OtherForm {
        /// What is expected.
        expected: String,
        /// The form of it.
        example: String,
    },
    /// It opens the vendor's play things, and its place is for real ones.
    TestInProduction {
        /// What it is.
        found: String,
    },
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placeholder { expected: None } => f.write_str("is a placeholder, not a secret"),
            Self::Placeholder { expected: Some(expected) } => {
                write!(f, "is a placeholder, not {expected}")
            }
            Self::Swapped { expected, found } => {
                write!(f, "is {found}, where {expected} belongs")
            }
            Self::OtherForm { expected, example } => {
                write!(f, "does not look like {expected}, such as {example}")
            }
            Self::TestInProduction { found } => {
                write!(f, "is {found} for tests, which does nothing in production")
            }
        }
    }
}

/// As people call it, with the article: `a Stripe secret key`.
fn title(known: &Known<'_>) -> String {
    let (provider, name) = (known.provider.name.as_str(), known.credential.name.as_str());
    // Small at its beginning, unless it is an abbreviation.
    let small = name.chars().nth(1).is_some_and(char::is_lowercase);
    let first: String = name.chars().take(1).flat_map(char::to_lowercase).collect();
    let shown = if small { first + name.get(1..).unwrap_or_default() } else { name.to_owned() };
    let whole =
        if name.starts_with(provider) { name.to_owned() } else { format!("{provider} {shown}") };
    let vowel = whole.starts_with(['A', 'E', 'I', 'O', 'a', 'e', 'i', 'o']);
    format!("{} {whole}", if vowel { "an" } else { "a" })
}

impl Catalog {
    /// What belongs in a place, by the names of field and secret.
    pub fn expected_at(&self, place: &Place<'_>) -> Option<Known<'_>> {
        let name = place.path.rsplit('/').next().unwrap_or_default();
        self.credential(name, place.field)
            .or_else(|| place.variables().iter().find_map(|name| self.by_variable(name)))
    }

    /// What a value is, and whether it can be meant for its place.
    pub fn judge(&self, place: &Place<'_>, value: &str) -> Judgement<'_> {
        let value = value.trim();
        let expected = self.expected_at(place);
        let looks = self.by_form(value);
        let known = expected.or(looks);
        let mode = known.and_then(|known| known.credential.mode_of(value));
        let objection = Self::objection(place, value, expected, looks).or_else(|| {
            let found = known?;
            (mode == Some(Mode::Test) && place.is_production())
                .then(|| Objection::TestInProduction { found: title(&found) })
        });
        Judgement { known, mode, objection }
    }

    fn objection(
        place: &Place<'_>,
        value: &str,
        expected: Option<Known<'_>>,
        looks: Option<Known<'_>>,
    ) -> Option<Objection> {
        let of_vendor = expected.into_iter().chain(looks).any(|known| {
            known.credential.placeholders.iter().any(|placeholder| placeholder.matches(value))
        });
        if of_vendor || ((expected.is_some() || place.sounds_secret()) && is_placeholder(value)) {
            return Some(Objection::Placeholder { expected: expected.as_ref().map(title) });
        }
        let expected = expected?;
        if expected.credential.matches(value) {
            return None;
        }
        // What else of the same vendor it is: ids and tokens are easily mixed up.
        let other = looks.or_else(|| of_same_vendor(&expected, value));
        if let Some(found) = other.filter(|found| found.name() != expected.name()) {
            let (expected, found) = (title(&expected), title(&found));
            return Some(Objection::Swapped { expected, found });
        }
        let example = expected.credential.examples.first();
        let example = example.map(|example| shape(&example.value)).unwrap_or_default();
        Some(Objection::OtherForm { expected: title(&expected), example })
    }
}

/// What else of the same vendor a value is.
fn of_same_vendor<'c>(expected: &Known<'c>, value: &str) -> Option<Known<'c>> {
    let provider = expected.provider;
    // A form without a beginning of its own fits too much to accuse anybody.
    let credential = provider
        .credentials
        .iter()
        .find(|credential| credential.pattern.begins_with_letters() && credential.matches(value))?;
    Some(Known { provider, credential })
}

/// The beginning of an example, for people.
fn shape(example: &str) -> String {
    let line = example.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(24).collect();
    if shown.len() < example.len() { format!("{shown}…") } else { shown }
}

fn is_placeholder(value: &str) -> bool {
    let small = value.to_ascii_lowercase();
    let one_sign = |text: &str| {
        let mut signs = text.chars();
        let first = signs.next();
        text.chars().count() >= 3
            && first.is_some_and(|first| "x*.-_".contains(first) && signs.all(|it| it == first))
    };
    small.is_empty()
        || PLACEHOLDERS.contains(&small.as_str())
        || PLACEHOLDER_BEGINNINGS.iter().any(|beginning| small.starts_with(beginning))
        || one_sign(&small)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(path: &str, field: &str, value: &str) -> Option<String> {
        let catalog = Catalog::built_in().unwrap();
        catalog.judge(&Place { path, field }, value).objection.map(|it| it.to_string())
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let live = "sk_live_EXAMPLEexampleEXAMPLE00";
        let test = "sk_test_EXAMPLEexampleEXAMPLE00";
        let public = "pk_live_EXAMPLEexampleEXAMPLE00";
        for (path, field, value, told) in [
            ("production/stripe", "secret_key", live, None),
            ("production/app", "STRIPE_SECRET_KEY", live, None),
            ("staging/stripe", "secret_key", test, None),
            ("production/stripe", "secret_key", test, Some("is a Stripe secret key for tests")),
            ("production/stripe", "secret_key", public, Some("is a Stripe publishable key, where")),
            (
                "production/stripe",
                "secret_key",
                "hello",
                Some("does not look like a Stripe secret key"),
            ),
            ("production/stripe", "secret_key", "changeme", Some("is a placeholder, not a Stripe")),
            ("production/app", "DB_PASSWORD", "changeme", Some("is a placeholder, not a secret")),
            ("production/app", "API_TOKEN", "<your token>", Some("is a placeholder")),
            ("production/app", "SESSION_SECRET", "xxxxxxxx", Some("is a placeholder")),
            ("production/app", "LOG_LEVEL", "none", None),
            ("production/app", "DB_PASSWORD", "correct horse", None),
            ("production/app", "ANYTHING", test, Some("is a Stripe secret key for tests")),
            ("demo/app", "greeting", "hello", None),
        ] {
            let found = objection(path, field, value);
            match told {
                None => assert_eq!(found, None, "{path} {field}"),
                Some(told) => {
                    let found = found.unwrap_or_default();
                    assert!(found.starts_with(told), "{path} {field}: {found}");
                    assert!(!found.contains(value), "{found}");
                }
            }
        }
    }

    #[test]
    fn ids_and_tokens_of_one_vendor_are_told_apart() {
        let sid = format!("AC{}", "0123456789abcdef".repeat(2));
        let token = "0123456789abcdef".repeat(2);
        assert_eq!(objection("production/app", "TWILIO_AUTH_TOKEN", &token), None);
        let swapped = objection("production/app", "TWILIO_AUTH_TOKEN", &sid).unwrap();
        assert!(swapped.starts_with("is a Twilio account SID"), "{swapped}");
        assert!(objection("production/app", "TWILIO_ACCOUNT_SID", &token).is_some());
    }

    #[test]
    fn every_example_is_taken_where_it_belongs() {
        let catalog = Catalog::built_in().unwrap();
        for provider in catalog.providers() {
            for credential in &provider.credentials {
                for example in &credential.examples {
                    let place =
                        Place { path: &format!("staging/{}", provider.id), field: &credential.id };
                    let judged = catalog.judge(&place, &example.value);
                    let name = format!("{}.{}", provider.id, credential.id);
                    assert_eq!(judged.objection, None, "{name}");
                    assert_eq!(judged.known.map(|known| known.name()), Some(name));
                }
            }
        }
    }
}
