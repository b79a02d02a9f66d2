use super::*;

const STRIPE: &str = include_str!("../../../catalog/stripe.toml");

fn mistakes(text: &str) -> Vec<String> {
    let loaded = Catalog::load([("stripe.toml", text)]);
    loaded.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// The line on which a text first stands, from 1.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|line| line.contains(part)).unwrap() + 1
}

#[test]
fn the_built_in_catalogue_is_whole() {
    let catalog = Catalog::built_in().unwrap();
    assert!(catalog.providers().len() >= 42, "{}", catalog.providers().len());
}

#[test]
fn values_are_known_by_their_form() {
    let catalog = Catalog::built_in().unwrap();
    for provider in catalog.providers() {
        for credential in &provider.credentials {
            for example in &credential.examples {
                if credential.evidence != Evidence::Format {
                    continue;
                }
                let known = catalog.by_form(&example.value);
                let name = format!("{}.{}", provider.id, credential.id);
                assert_eq!(known.map(|known| known.name()), Some(name));
            }
        }
    }
    assert!(catalog.by_form("nothing in particular").is_none());
}

#[test]
fn variables_name_credentials() {
    let catalog = Catalog::built_in().unwrap();
    let name = |variable| catalog.by_variable(variable).map(|known| known.name());
    assert_eq!(name("STRIPE_SECRET_KEY").as_deref(), Some("stripe.secret_key"));
    assert_eq!(name("shop_stripe_secret_key").as_deref(), Some("stripe.secret_key"));
    assert_eq!(name("SECRET_KEY"), None);
    assert_eq!(name(""), None);
}

#[test]
fn modes_are_told_by_the_value() {
    let catalog = Catalog::built_in().unwrap();
    let mode = |value| {
        let known = catalog.by_form(value).unwrap();
        known.credential.mode_of(value)
    };
    assert_eq!(mode("sk_live_EXAMPLEexampleEXAMPLE00"), Some(Mode::Live));
    assert_eq!(mode("sk_test_EXAMPLEexampleEXAMPLE00"), Some(Mode::Test));
}

#[test]
fn checksums_are_computed() {
    let body = "EXAMPLEexampleEXAMPLEexample00";
    let good = format!("ghp_{body}{}", base62(crc32fast::hash(body.as_bytes())));
    assert!(Checksum::Crc32Base62.holds(&good));
    assert!(!Checksum::Crc32Base62.holds(&format!("{good}0")));
    assert!(!Checksum::Crc32Base62.holds("ghp_"));
}

fn base62(mut number: u32) -> String {
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::new();
    for _ in 0..6 {
        text.insert(0, char::from(digits[(number % 62) as usize]));
        number /= 62;
    }
    text
}

#[test]
fn mistakes_name_line_member_and_rule() {
    assert_eq!(mistakes(STRIPE), Vec::<String>::new());
    let cases = [
        ("schema = 1", "schema = 2", "schema must be 1, the version this program reads"),
        (
            "id = \"stripe\"",
            "id = \"Stripe\"",
            "id must be of a-z, 0-9 and '-', beginning with a letter",
        ),
        ("pattern = 'sk_(", "pattern = 'sk_((", "credential[0].pattern unclosed group"),
        (
            "\"pk_live_EXAMPLEexampleEXAMPLE00\", \"sk_live_short\"",
            "\"sk_live_EXAMPLEexampleEXAMPLE01\", \"sk_live_short\"",
            "credential[0].counter_examples[0] must not match",
        ),
        (
            "credential = \"webhook_secret\"",
            "credential = \"hook\"",
            "liveness[2].credential must name a credential",
        ),
        (
            "https://api.stripe.com/v1/balance",
            "https://stripe.example/v1",
            "liveness[0].url must be on a host of `proxy.hosts`",
        ),
        (
            "token = \"{secret_key}\"",
            "token = \"{key}\"",
            "auth[0] {key} names no credential and no parameter",
        ),
        (
            "\"api.stripe.com\", \"files",
            "\"{secret_key}\", \"files",
            "proxy.hosts[0] must hold a fixed domain, or a parameter that has `values`",
        ),
    ];
    for (good, bad, rule) in cases {
        let text = STRIPE.replacen(good, bad, 1);
        assert_ne!(text, STRIPE, "{good}");
        // An auth is one table to the reader: its first line stands for all.
        let line =
            if rule.starts_with("auth") { line_of(&text, "[[auth]]") } else { line_of(&text, bad) };
        let expected = format!("stripe.toml:{line}: {rule}");
        assert!(mistakes(&text).contains(&expected), "{expected}: {:?}", mistakes(&text));
    }
}

#[test]
fn unknown_members_and_broken_toml_are_mistakes() {
    let text = STRIPE.replacen("category =", "colour = \"red\"\ncategory =", 1);
    let found = mistakes(&text);
    assert!(found[0].starts_with("stripe.toml:4: unknown field `colour`"), "{found:?}");
    assert!(mistakes("schema = ")[0].starts_with("stripe.toml:1: "), "{:?}", mistakes("schema = "));
    let text =
        STRIPE.replacen("token = \"{secret_key}\"", "token = \"{secret_key}\"\nuser = \"x\"", 1);
    assert!(mistakes(&text)[0].ends_with("`user` does not belong to an auth of this kind"));
}

#[test]
fn a_variable_belongs_to_one_credential() {
    let text = STRIPE.replace("\"STRIPE_RESTRICTED_KEY\"", "\"STRIPE_SECRET_KEY\"");
    let found = mistakes(&text);
    assert!(found[0].ends_with("belongs to stripe.secret_key already"), "{found:?}");
}

#[test]
fn a_users_file_takes_the_place_of_ours() {
    let own = STRIPE.replace("name = \"Stripe\"", "name = \"Our Stripe\"");
    let catalog = Catalog::load([("stripe.toml", STRIPE), ("/etc/own/stripe.toml", &own)]).unwrap();
    assert_eq!(catalog.provider("stripe").unwrap().name, "Our Stripe");
}

#[test]
fn webhooks_are_verified_by_schemes_that_exist() {
    let catalog = Catalog::built_in().unwrap();
    let mut checked = 0;
    for provider in catalog.providers() {
        for webhook in &provider.webhooks {
            let scheme = keyreeve_core::webhook::named(&webhook.scheme);
            let scheme = scheme.unwrap_or_else(|| panic!("{}: {}", provider.id, webhook.scheme));
            let Some(credential) = provider.credential(&webhook.secret) else { continue };
            let example = credential.examples.first().map(|example| example.value.as_str());
            // Examples of public keys look it, and are none.
            if !scheme.uses_public_key() {
                let key = scheme.key(example.unwrap_or_default());
                assert!(key.is_ok(), "{}: {:?}", provider.id, key.err());
            }
            checked += 1;
        }
    }
    assert!(checked > 25, "{checked}");
}
