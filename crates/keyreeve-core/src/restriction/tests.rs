use std::net::Ipv4Addr;

use super::*;

const FULL: &str = concat!(
    r#"{"allow_ips":["192.0.2.0/24"],"deny_ips":["192.0.2.66"],"#,
    r#""windows":["Mon-Fri 09:00-17:00 UTC"],"origins":["https://*.example.com"],"#,
    r#""routes":["GET /v1/*"],"allow_countries":["DE","FR"],"deny_countries":["US"]}"#,
);

fn restrictions(json: &str) -> Restrictions {
    serde_json::from_str(json).unwrap()
}

/// A Monday, within office hours.
fn monday() -> Timestamp {
    "2026-01-05T10:00:00Z".parse().unwrap()
}

fn country(code: &str) -> Country {
    Country::Known(code.parse().unwrap())
}

fn good() -> RequestFacts<'static> {
    RequestFacts {
        ip: Some(Ipv4Addr::new(192, 0, 2, 1).into()),
        country: country("DE"),
        origin: Some("https://app.example.com"),
        method: Some("GET"),
        host: None,
        path: Some("/v1/users?x=1"),
    }
}

fn verdict(json: &str, facts: &RequestFacts<'_>) -> Result<(), (Broken, &'static str)> {
    let checked = restrictions(json).check(facts, monday(), false);
    checked.map_err(|restricted| (restricted.broken, restricted.why))
}

#[test]
fn travels_as_json_without_empty_fields() {
    assert_eq!(serde_json::to_string(&Restrictions::default()).unwrap(), "{}");
    assert_eq!(restrictions("{}"), Restrictions::default());
    assert_eq!(serde_json::to_string(&restrictions(FULL)).unwrap(), FULL);
    assert!(serde_json::from_str::<Restrictions>(r#"{"allow_ip":[]}"#).is_err());
}

#[test]
fn nothing_bound_means_nothing_asked() {
    let free = Restrictions::default();
    assert!(free.is_empty() && !free.needs_country());
    assert_eq!(free.check(&RequestFacts::default(), monday(), false), Ok(()));
    for json in [
        r#"{"allow_ips":["::1"]}"#,
        r#"{"deny_ips":["::1"]}"#,
        r#"{"windows":["Mon 09:00-17:00 UTC"]}"#,
        r#"{"origins":["https://a"]}"#,
        r#"{"routes":["GET /"]}"#,
        r#"{"allow_countries":["DE"]}"#,
        r#"{"deny_countries":["DE"]}"#,
    ] {
        let bound = restrictions(json);
        assert!(!bound.is_empty(), "{json}");
        assert_eq!(bound.needs_country(), json.contains("countries"), "{json}");
        if !json.contains("windows") {
            assert!(bound.check(&RequestFacts::default(), monday(), false).is_err(), "{json}");
        }
    }
}

#[test]
fn names_what_was_broken_in_order() {
    let full = restrictions(FULL);
    let sunday: Timestamp = "2026-01-04T10:00:00Z".parse().unwrap();
    let mut facts = RequestFacts {
        ip: None,
        country: country("US"),
        origin: Some("https://evil.com"),
        method: Some("POST"),
        ..good()
    };
    let broken = |facts: &RequestFacts<'_>, at| full.check(facts, at, false).unwrap_err().broken;
    assert_eq!(broken(&facts, sunday), Broken::Ip);
    facts.ip = good().ip;
    assert_eq!(broken(&facts, sunday), Broken::Country);
    facts.country = good().country;
    assert_eq!(broken(&facts, sunday), Broken::Window);
    assert_eq!(broken(&facts, monday()), Broken::Origin);
    facts.origin = good().origin;
    assert_eq!(broken(&facts, monday()), Broken::Route);
    facts.method = good().method;
    assert_eq!(full.check(&facts, monday(), false), Ok(()));
}

#[test]
fn addresses() {
    let from = |ip: &str| RequestFacts { ip: Some(ip.parse().unwrap()), ..good() };
    let nobody = RequestFacts { ip: None, ..good() };
    let denied = Err((Broken::Ip, "the address is on the deny list"));
    let not_allowed = Err((Broken::Ip, "the address is not on the allow list"));
    let not_told = Err((Broken::Ip, "no address was told, and the key is bound to some"));
    let both = r#"{"allow_ips":["192.0.2.0/24"],"deny_ips":["192.0.2.66"]}"#;
    assert_eq!(verdict(both, &from("192.0.2.1")), Ok(()));
    assert_eq!(verdict(both, &from("::ffff:192.0.2.1")), Ok(()));
    assert_eq!(verdict(both, &from("192.0.2.66")), denied);
    assert_eq!(verdict(both, &from("::ffff:192.0.2.66")), denied);
    assert_eq!(verdict(both, &from("192.0.3.1")), not_allowed);
    assert_eq!(verdict(both, &nobody), not_told);
    let deny = r#"{"deny_ips":["192.0.2.66"]}"#;
    assert_eq!(verdict(deny, &from("2001:db8::1")), Ok(()));
    assert_eq!(verdict(deny, &from("192.0.2.66")), denied);
    assert_eq!(verdict(deny, &nobody), not_told);
}

#[test]
fn countries() {
    let allow = restrictions(r#"{"allow_countries":["DE","FR"],"deny_countries":["US"]}"#);
    let deny = restrictions(r#"{"deny_countries":["US"]}"#);
    let passes = |bound: &Restrictions, country, fail_open| {
        let facts = RequestFacts { country, ..good() };
        bound.check(&facts, monday(), fail_open).is_ok()
    };
    for fail_open in [false, true] {
        for (known, allowed, not_denied) in
            [("DE", true, true), ("FR", true, true), ("US", false, false), ("CH", false, true)]
        {
            assert_eq!(passes(&allow, country(known), fail_open), allowed, "{known}");
            assert_eq!(passes(&deny, country(known), fail_open), not_denied, "{known}");
        }
        for bound in [&allow, &deny] {
            assert!(!passes(bound, Country::NotAsked, fail_open));
            assert_eq!(passes(bound, Country::Unknown, fail_open), fail_open);
            assert_eq!(passes(bound, Country::NoDatabase, fail_open), fail_open);
        }
    }
}

#[test]
fn deny_wins_over_allow() {
    let bound = restrictions(r#"{"allow_countries":["DE"],"deny_countries":["DE"]}"#);
    let why = bound.check(&good(), monday(), true).unwrap_err().why;
    assert_eq!(why, "the country is on the deny list");
    let bound = restrictions(r#"{"allow_ips":["192.0.2.1"],"deny_ips":["192.0.2.0/24"]}"#);
    let why = bound.check(&good(), monday(), true).unwrap_err().why;
    assert_eq!(why, "the address is on the deny list");
}

#[test]
fn failing_open_concerns_countries_alone() {
    for (facts, broken) in [
        (RequestFacts { ip: None, ..good() }, Broken::Ip),
        (RequestFacts { origin: None, ..good() }, Broken::Origin),
        (RequestFacts { method: None, ..good() }, Broken::Route),
        (RequestFacts { path: None, ..good() }, Broken::Route),
    ] {
        let restricted = restrictions(FULL).check(&facts, monday(), true).unwrap_err();
        assert_eq!(restricted.broken, broken);
    }
}

#[test]
fn origins_and_routes() {
    let origins = r#"{"origins":["https://a.example","https://*.b.example"]}"#;
    let of = |origin| RequestFacts { origin, ..good() };
    assert_eq!(verdict(origins, &of(Some("https://x.b.example"))), Ok(()));
    let other = Err((Broken::Origin, "the origin is not one of the key's"));
    assert_eq!(verdict(origins, &of(Some("https://b.example"))), other);
    assert_eq!(verdict(origins, &of(Some("null"))), other);
    let not_told = Err((Broken::Origin, "no origin was told, and the key is bound to some"));
    assert_eq!(verdict(origins, &of(None)), not_told);

    let routes = r#"{"routes":["GET /v1/*","POST api.example/v1/users"]}"#;
    let other = Err((Broken::Route, "the request is none of the key's routes"));
    assert_eq!(verdict(routes, &good()), Ok(()));
    let post = RequestFacts { method: Some("POST"), path: Some("/v1/users"), ..good() };
    assert_eq!(verdict(routes, &post), other);
    assert_eq!(verdict(routes, &RequestFacts { host: Some("api.example:443"), ..post }), Ok(()));
    let not_told = Err((Broken::Route, "no path was told, and the key is bound to routes"));
    assert_eq!(verdict(routes, &RequestFacts { path: None, ..good() }), not_told);
}

#[test]
fn lists_have_a_greatest_length() {
    let networks = |count: u8| -> Vec<IpNetwork> {
        (0..count).map(|n| format!("10.0.0.{n}").parse().unwrap()).collect()
    };
    let codes = |count: usize| vec!["DE".parse().unwrap(); count];
    let origins = |count: usize| vec!["https://a".parse().unwrap(); count];
    let routes = |count: usize| vec!["GET /".parse().unwrap(); count];
    let free = Restrictions::default;
    for (field, full, over) in [
        (
            "allow_ips",
            Restrictions { allow_ips: networks(200), ..free() },
            Restrictions { allow_ips: networks(201), ..free() },
        ),
        (
            "deny_ips",
            Restrictions { deny_ips: networks(200), ..free() },
            Restrictions { deny_ips: networks(201), ..free() },
        ),
        (
            "origins",
            Restrictions { origins: origins(50), ..free() },
            Restrictions { origins: origins(51), ..free() },
        ),
        (
            "routes",
            Restrictions { routes: routes(100), ..free() },
            Restrictions { routes: routes(101), ..free() },
        ),
        (
            "allow_countries",
            Restrictions { allow_countries: codes(250), ..free() },
            Restrictions { allow_countries: codes(251), ..free() },
        ),
        (
            "deny_countries",
            Restrictions { deny_countries: codes(250), ..free() },
            Restrictions { deny_countries: codes(251), ..free() },
        ),
    ] {
        assert_eq!(full.check_sizes(), Ok(()), "{field}");
        let (named, broken) = over.check_sizes().unwrap_err();
        assert_eq!(named, field);
        assert!(broken.rule().starts_with("must not have more than"), "{broken}");
    }
}

#[test]
fn nothing_is_both_allowed_and_denied() {
    let field = |json| restrictions(json).check_sizes().map_err(|(field, _)| field);
    let same = r#"{"allow_ips":["10.0.0.0/8","192.0.2.1"],"deny_ips":["::ffff:192.0.2.1"]}"#;
    assert_eq!(field(same), Err("deny_ips"));
    assert_eq!(field(r#"{"allow_ips":["10.0.0.0/8"],"deny_ips":["10.0.0.0/9"]}"#), Ok(()));
    assert_eq!(
        field(r#"{"allow_countries":["de"],"deny_countries":["DE"]}"#),
        Err("deny_countries")
    );
    assert_eq!(field(FULL), Ok(()));
}
