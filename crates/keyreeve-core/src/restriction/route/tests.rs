use proptest::prelude::*;

use super::*;

fn route(text: &str) -> RoutePattern {
    text.parse().unwrap()
}

#[test]
fn reads_routes() {
    for (text, canonical) in [
        ("GET /v1/*", "GET /v1/*"),
        ("* /v1/users/*/keys", "* /v1/users/*/keys"),
        ("GET /", "GET /"),
        ("* /*", "* /*"),
        ("POST API.example.com/v1/*", "POST api.example.com/v1/*"),
        ("GET *.Example.com/*", "GET *.example.com/*"),
        ("GET [::1]/a", "GET [::1]/a"),
        ("M-SEARCH /a", "M-SEARCH /a"),
        ("GET /v1/%75sers/%c3%a4", "GET /v1/users/%C3%A4"),
        ("GET /%2a", "GET /%2A"),
        ("GET /v1/users:batch@2;x=1", "GET /v1/users:batch@2;x=1"),
    ] {
        assert_eq!(route(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn refuses_unclear_routes() {
    let long = format!("GET /{}", "x".repeat(512));
    for (text, rule) in [
        ("", "must be a method and a path"),
        ("GET", "must be a method and a path"),
        ("/v1", "must be a method and a path"),
        ("GET v1", "must be a method and a path"),
        ("get /v1", "must begin with a method"),
        (" /v1", "must begin with a method"),
        ("GET,POST /v1", "must begin with a method"),
        ("GET  /v1", "must name a host"),
        ("GET api.example.com:443/v1", "must name a host"),
        ("GET https://api.example.com/v1", "must name a host"),
        ("GET */v1", "must name a host"),
        ("GET /v1?x=1", "must not have a query"),
        ("GET /v1#x", "must have a clear path"),
        ("GET /v1//x", "must have a clear path"),
        ("GET /v1/../x", "must have a clear path"),
        ("GET /./x", "must have a clear path"),
        ("GET /a%2Fb", "must have a clear path"),
        ("GET /%2e%2e", "must have a clear path"),
        ("GET /a b", "must have a clear path"),
        ("GET /ä", "must have a clear path"),
        ("GET /v1/", "must not end in a slash"),
        ("GET /v1*", "must have * only as a whole segment"),
        ("GET /v1/**", "must have * only as a whole segment"),
        ("GET /*.json", "must have * only as a whole segment"),
        (&long, "must not be longer than 512"),
    ] {
        let broken = text.parse::<RoutePattern>().unwrap_err();
        assert!(broken.rule().starts_with(rule), "{text}: {broken}");
    }
}

#[test]
fn covers_paths() {
    for (pattern, path, expected) in [
        ("/v1/*", "/v1/users", true),
        ("/v1/*", "/v1/users/7/keys", true),
        ("/v1/*", "/v1/users/", true),
        ("/v1/*", "/v1/", true),
        ("/v1/*", "/v1", false),
        ("/v1/*", "/v11/users", false),
        ("/v1/*", "/v2/users", false),
        ("/v1/*", "/V1/users", false),
        ("/v1/*", "/v1/users?x=/../admin", true),
        ("/v1/users", "/v1/users", true),
        ("/v1/users", "/v1/users?x", true),
        ("/v1/users", "/v1/users/", false),
        ("/v1/users", "/v1/users/7", false),
        ("/v1/users", "/v1/users;x=1", false),
        ("/v1/users", "/v1/%75ser%73", true),
        ("/v1/%75sers", "/v1/users", true),
        ("/v1/%c3%a4", "/v1/%C3%A4", true),
        ("/v1/a:b", "/v1/a%3Ab", false),
        ("/%2A", "/x", false),
        ("/%2A", "/%2a", true),
        ("/v1/users/*/keys", "/v1/users/7/keys", true),
        ("/v1/users/*/keys", "/v1/users/7/8/keys", false),
        ("/v1/users/*/keys", "/v1/users/keys", false),
        ("/v1/users/*/keys", "/v1/users/7/keys/", false),
        ("/v1/*/*", "/v1/a", false),
        ("/v1/*/*", "/v1/a/", true),
        ("/v1/*/*", "/v1/a/b/c", true),
        ("/", "/", true),
        ("/", "/?x", true),
        ("/", "/v1", false),
        ("/*", "/", true),
        ("/*", "/v1", true),
        ("/*", "", false),
        ("/*", "*", false),
        ("/*", "http://a/v1", false),
        ("/*", "/v1/../admin", false),
        ("/*", "/v1/%2e%2e/admin", false),
        ("/*", "/v1//admin", false),
        ("/*", "/v1%2fadmin", false),
        ("/*", "/v1\\admin", false),
        ("/*", "/v1/..;/admin", false),
    ] {
        let matched = route(&format!("* {pattern}")).matches("GET", None, path);
        assert_eq!(matched, expected, "{pattern} {path}");
    }
}

#[test]
fn covers_methods_by_case() {
    assert!(route("GET /a").matches("GET", None, "/a"));
    for method in ["get", "HEAD", "GETX", "", "*"] {
        assert!(!route("GET /a").matches(method, None, "/a"), "{method}");
    }
    assert!(route("* /a").matches("PATCH", None, "/a"));
}

#[test]
fn covers_hosts() {
    for (pattern, host, expected) in [
        ("api.example.com", Some("api.example.com"), true),
        ("api.example.com", Some("API.Example.com:8443"), true),
        ("api.example.com", Some("api.example.com."), true),
        ("api.example.com", Some("api.example.com.:443"), true),
        ("api.example.com", Some("api.example.com.."), false),
        ("api.example.com", Some("api.example.com:"), false),
        ("api.example.com", Some("api.example.com:443:1"), false),
        ("api.example.com", Some("u@api.example.com"), false),
        ("api.example.com", Some("evil.com"), false),
        ("api.example.com", Some(""), false),
        ("api.example.com", None, false),
        ("*.example.com", Some("a.b.example.com:443"), true),
        ("*.example.com", Some("example.com"), false),
        ("*.example.com", None, false),
        ("[::1]", Some("[::1]:8080"), true),
        ("", None, true),
        ("", Some("anything at all"), true),
    ] {
        let matched = route(&format!("GET {pattern}/a")).matches("GET", host, "/a");
        assert_eq!(matched, expected, "{pattern} {host:?}");
    }
}

#[test]
fn travels_as_text() {
    let pattern: RoutePattern = serde_json::from_str(r#""GET /v1/%75sers""#).unwrap();
    assert_eq!(serde_json::to_string(&pattern).unwrap(), r#""GET /v1/users""#);
    let error = serde_json::from_str::<RoutePattern>(r#""get /x""#).unwrap_err().to_string();
    assert!(error.contains("must begin with a method"), "{error}");
}

/// What the documentation says, written naively.
fn model(wanted: &[&str], asked: &[&str]) -> bool {
    match (wanted, asked) {
        (["*"], [_, ..]) | ([], []) => true,
        ([first, wanted @ ..], [head, asked @ ..]) => {
            (*first == "*" || first == head) && model(wanted, asked)
        }
        _ => false,
    }
}

fn arb_segments(segment: &'static str) -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(segment, 1..5)
}

/// Encodes every letter that `mask` picks.
fn encode(text: &str, mask: u32) -> String {
    let picked = |index: usize| mask & (1 << (index % 32)) != 0;
    text.char_indices()
        .map(|(index, letter)| match letter {
            'a'..='z' if picked(index) => format!("%{:02x}", u32::from(letter)),
            _ => letter.to_string(),
        })
        .collect()
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model(
        wanted in arb_segments("(a|b|\\*)"),
        asked in arb_segments("(a|b|c)"),
        closing_slash in any::<bool>(),
        masks in any::<(u32, u32)>(),
    ) {
        let pattern = encode(&format!("/{}", wanted.join("/")), masks.0);
        let mut path = format!("/{}", asked.join("/"));
        if closing_slash {
            path.push('/');
        }
        let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
        let segments: Vec<_> = path[1..].split('/').collect();
        let expected = model(&wanted, &segments);
        let path = encode(&path, masks.1);
        let matched = route(&format!("GET {pattern}")).matches("GET", None, &path);
        prop_assert_eq!(matched, expected, "{} {}", pattern, path);
    }

    #[test]
    fn an_unclear_path_is_never_covered(
        before in "(/[a-z]{1,3}){0,3}",
        unclear in "(//|/\\.\\./|/\\./|/%2[eEfF5]|\\\\|/%5[cC]|/%0[0aA]|/\\.\\.;|#|\u{0}|%-|%g1)",
        after in "([a-z]{0,3}/[a-z]{1,3}){0,3}",
    ) {
        let path = format!("{before}{unclear}{after}");
        prop_assert!(!route("* /*").matches("GET", None, &path), "{}", path);
    }

    #[test]
    fn every_pattern_is_read_back_and_covers_itself(
        text in "(GET|\\*) (a\\.b|\\*\\.a)?(/[a-z0-9._~%:;-]{1,6}|/%[0-9A-Fa-f]{2}|/\\*){1,4}",
    ) {
        if let Ok(pattern) = text.parse::<RoutePattern>() {
            prop_assert_eq!(pattern.to_string().parse::<RoutePattern>(), Ok(pattern.clone()));
            let path = &text[text.find('/').unwrap()..];
            prop_assert!(pattern.matches("GET", Some("x.a"), path) || text.contains("a.b/"));
        }
    }

    #[test]
    fn never_panics(
        text in "\\PC{0,30}|[A-Z*]{1,4} [a-z.:*/%0-9;]{0,20}",
        method in "\\PC{0,5}",
        host in "\\PC{0,20}|[a.:\\[\\]0-9]{0,20}",
        path in "\\PC{0,20}|[/.%;?0-9a-fü\\\\]{0,20}",
    ) {
        let _ = text.parse::<RoutePattern>();
        let _ = route("* *.a/b/*/*").matches(&method, Some(&host), &path);
        let _ = route("* /*").matches(&method, None, &path);
    }
}
