//! Pages in browsers: which may call, by the Fetch standard, and what they are told.

use reqwest::RequestBuilder;
use serde_json::json;

use crate::proxy::{Answer, Proxied, answer};

const PAGE: &str = "https://app.example.com";
const OTHERS: [&str; 8] = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://evil.example/https://app.example.com",
    "https://user@app.example.com",
    "https://app.example.com https://evil.example",
    "null",
];

impl Proxied {
    /// With a connection that pages of [`PAGE`] may call.
    fn with_page() -> Self {
        let proxied = Self::start();
        proxied.connect("pages", &json!({ "restrictions": { "origins": [PAGE] } }));
        proxied
    }

    fn preflight(&self, connection: &str, origin: &str) -> RequestBuilder {
        self.bare("OPTIONS", &format!("{connection}/x"))
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "x-keyreeve-key, content-type")
    }

    fn of_page(&self, path: &str, origin: &str) -> Answer {
        answer(self.request("GET", path).header("origin", origin))
    }
}

/// Whether a browser would show an answer to a page.
fn is_shown_to(answer: &Answer, origin: &str) -> bool {
    let allowed = answer.header("access-control-allow-origin");
    assert_ne!(allowed, "*", "nothing is for everybody");
    allowed == origin
}

fn varies_by_origin(answer: &Answer) -> bool {
    let mut values = answer.headers.get_all("vary").iter();
    values.any(|value| value.to_str().unwrap().to_ascii_lowercase().contains("origin"))
}

#[test]
fn a_page_asks_first_and_only_named_pages_may() {
    let proxied = Proxied::with_page();
    let allowed = answer(proxied.preflight("pages", PAGE));
    assert_eq!(allowed.status, 204);
    assert!(is_shown_to(&allowed, PAGE) && varies_by_origin(&allowed), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-methods"), "PUT");
    let headers = allowed.header("access-control-allow-headers");
    assert!(headers.contains("x-keyreeve-key") && headers.contains("content-type"), "{headers}");
    assert!(allowed.header("access-control-max-age").parse::<u32>().unwrap() <= 86_400);
    // Cookies are none of it: the key is shown in a header.
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    for (connection, origin) in OTHERS.iter().map(|origin| ("pages", *origin)).chain([
        // No page is named there, or there is no such connection.
        ("echo", PAGE),
        ("none", PAGE),
        ("", PAGE),
    ]) {
        let refused = answer(proxied.preflight(connection, origin));
        assert_eq!(refused.status, 403, "{connection} {origin}: {refused:?}");
        assert!(!is_shown_to(&refused, origin) && varies_by_origin(&refused), "{refused:?}");
    }
    // What is no question of a browser is a method like others, which is not passed on.
    let plain = proxied.request("OPTIONS", "pages/x").header("origin", PAGE);
    assert_eq!(answer(plain).code(), "405 method_not_allowed");
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn answers_are_shown_to_named_pages_and_to_no_others() {
    let proxied = Proxied::with_page();
    let shown = proxied.of_page("pages/private-headers", PAGE);
    assert_eq!(shown.status, 200);
    assert!(is_shown_to(&shown, PAGE) && varies_by_origin(&shown), "{shown:?}");
    assert_eq!(shown.header("x-of-the-service"), "kept");
    // What the service says of pages, and what it wants the browser to keep, is not for this host.
    for name in ["access-control-allow-credentials", "set-cookie", "server"] {
        assert_eq!(shown.header(name), "", "{name}");
    }
    let seen = proxied.service.last();
    assert!(seen.all("origin").is_empty() && seen.all("referer").is_empty(), "{seen:?}");
    proxied.service.forget();
    for origin in OTHERS {
        let refused = proxied.of_page("pages/private-headers", origin);
        assert_eq!(refused.status, 403, "{origin}");
        assert!(!is_shown_to(&refused, origin), "{refused:?}");
    }
    let refused = proxied.of_page("echo/private-headers", PAGE);
    assert_eq!(refused.code(), "403 forbidden_origin", "no page is named there");
    assert!(!is_shown_to(&refused, PAGE));
    let nowhere = proxied.get("pages/private-headers");
    assert_eq!(nowhere.status, 403, "whoever is on no page is on none that is named");
    assert!(proxied.service.seen().is_empty());
    let twice =
        proxied.request("GET", "pages/x").header("origin", PAGE).header("origin", OTHERS[0]);
    assert_eq!(answer(twice).code(), "400 duplicate_header");
    assert!(proxied.service.seen().is_empty());
}

#[test]
fn without_a_page_nothing_is_said_of_pages() {
    let proxied = Proxied::start();
    let answer = proxied.get("echo/private-headers");
    assert_eq!(answer.status, 200);
    let said = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(said.count(), 0, "{answer:?}");
}

#[test]
fn a_page_that_may_call_is_told_why_it_was_refused() {
    let proxied = Proxied::with_page();
    let nobody = answer(proxied.bare("GET", "pages/x").header("origin", PAGE));
    assert_eq!(nobody.code(), "401 unauthenticated");
    assert!(is_shown_to(&nobody, PAGE), "{nobody:?}");
    proxied.change("pages", json!({ "enabled": false }));
    let refused = proxied.of_page("pages/x", PAGE);
    assert_eq!(refused.code(), "403 forbidden");
    proxied.change("pages", json!({ "enabled": true, "limits": { "rate": "1/1h" } }));
    assert_eq!(proxied.of_page("pages/x", PAGE).status, 200);
    let refused = proxied.of_page("pages/x", PAGE);
    assert_eq!(refused.code(), "429 rate_limited");
    assert!(is_shown_to(&refused, PAGE), "{refused:?}");
    let garbage = answer(proxied.request("GET", "pages/garbage").header("origin", OTHERS[0]));
    assert!(!is_shown_to(&garbage, OTHERS[0]), "{garbage:?}");
}

#[test]
fn a_page_that_is_named_no_more_is_refused_at_once() {
    let proxied = Proxied::with_page();
    assert_eq!(proxied.of_page("pages/x", PAGE).status, 200);
    let other = "https://other.example.com";
    proxied.change("pages", json!({ "restrictions": { "origins": [other] } }));
    assert_eq!(proxied.of_page("pages/x", PAGE).status, 403);
    assert_eq!(answer(proxied.preflight("pages", PAGE)).status, 403);
    assert!(is_shown_to(&proxied.of_page("pages/x", other), other));
    assert_eq!(answer(proxied.preflight("pages", other)).status, 204);
}
