//! What bounds calls through a connection: how many, how large, which, and whose.

use keyreeve_api::{CallUsageQuery, ReasonRequest};
use serde_json::{Value, json};

use crate::{
    backends::eventually,
    proxy::{Proxied, answer, answered},
    raw_http::Raw,
    service::Service,
    support::block_on,
};

#[test]
fn a_rate_bounds_all_clients_together() {
    let proxied = Proxied::start();
    proxied.connect("rated", &json!({ "limits": { "rate": "2/1h" } }));
    let other = proxied.make_key(&json!({ "roles": ["client"] }));
    assert_eq!(proxied.get("rated/x").status, 200);
    let request = proxied.bare("GET", "rated/x").bearer_auth(other.key.expose());
    assert_eq!(answer(request).status, 200);
    proxied.service.forget();
    let refused = proxied.get("rated/x");
    assert_eq!(refused.code(), "429 rate_limited");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=1800).contains(&seconds), "{seconds}");
    assert!(proxied.service.seen().is_empty());
    assert_eq!(proxied.figure("keyreeve_proxy_refusals_total{kind=\"rate_limited\"}"), 1);
    // Another connection counts for itself, and a change of something else takes nothing back.
    assert_eq!(proxied.get("echo/x").status, 200);
    proxied.change("rated", json!({ "patience": { "connect_ms": 4_000 } }));
    assert_eq!(proxied.get("rated/x").code(), "429 rate_limited");
}

#[test]
fn calls_without_a_credential_are_limited_and_counted() {
    let proxied = Proxied::start_with(&[("KEYREEVE_LIMITS__ANONYMOUS", "5")]);
    let codes: Vec<String> = (0..8).map(|_| answer(proxied.bare("GET", "echo/x")).code()).collect();
    assert_eq!(codes[..5], ["401 unauthenticated"; 5], "{codes:?}");
    assert_eq!(codes[5..], ["429 rate_limited"; 3], "{codes:?}");
    assert!(proxied.service.seen().is_empty());
    // Whoever shows a key is not among them.
    assert_eq!(proxied.get("echo/x").status, 200);
    let total = |check: &str| {
        let batches = proxied.audit("denial.batch");
        let of_check = batches.iter().filter(|it| it["details"]["check"] == check);
        of_check.map(|it| it["details"]["total"].as_u64().unwrap()).sum::<u64>()
    };
    eventually("they are in the audit", || (total("authentication"), total("anonymous")) == (5, 3));
}

#[test]
fn a_name_that_the_caller_made_up_is_repeated_nowhere() {
    const MADE_UP: &str = "kr-live-made-up-by-the-caller";
    let proxied = Proxied::start();
    let narrow = proxied.make_key(&json!({ "permissions": ["keyreeve.connections.echo.call"] }));
    let call = |path: &str| answer(proxied.bare("GET", path).bearer_auth(narrow.key.expose()));
    assert_eq!(call("echo/x").status, 200);
    let refused = call(&format!("{MADE_UP}/x"));
    assert_eq!(refused.code(), "403 forbidden");
    assert!(!refused.body.contains(MADE_UP), "{}", refused.body);
    let is_call = |it: &Value| it["details"]["check"] == "call";
    eventually("it is in the audit", || proxied.audit("denial.batch").iter().any(is_call));
    let denials = proxied.audit("denial.batch");
    assert!(!format!("{denials:?}").contains(MADE_UP), "{denials:?}");
}

#[test]
fn a_rate_per_client_bounds_each_by_itself() {
    let proxied = Proxied::start();
    proxied.connect("each", &json!({ "limits": { "rate_per_client": "2/1h", "rate": "3/1h" } }));
    let other = proxied.make_key(&json!({ "roles": ["client"] }));
    let others = || answer(proxied.bare("GET", "each/x").bearer_auth(other.key.expose())).code();
    assert_eq!(proxied.get("each/x").code(), "200");
    assert_eq!(proxied.get("each/x").code(), "200");
    assert_eq!(proxied.get("each/x").code(), "429 rate_limited");
    // What was refused took nothing of what all have together.
    assert_eq!(others(), "200");
    assert_eq!(others(), "429 rate_limited", "all together have had theirs");
}

#[test]
fn calls_cost_units_and_no_more_are_spent_than_may_be() {
    let proxied = Proxied::start();
    let costs = json!([
        { "route": "GET /geocode/*", "units": 5 },
        { "route": "GET /free", "units": 0 },
    ]);
    let limits = json!({ "spend": "12/1h", "spend_per_client": "10/1h" });
    proxied.connect("dear", &json!({ "costs": costs, "limits": limits }));
    let other = proxied.make_key(&json!({ "roles": ["client"] }));
    let others =
        |path: &str| answer(proxied.bare("GET", path).bearer_auth(other.key.expose())).code();
    assert_eq!(proxied.get("dear/geocode/a").code(), "200");
    assert_eq!(proxied.get("dear/geocode/b").code(), "200");
    let refused = proxied.get("dear/x");
    assert_eq!(refused.code(), "429 rate_limited");
    assert!(refused.body.contains("connection, spend of each client"), "{}", refused.body);
    assert_eq!(proxied.get("dear/free").code(), "200");
    // What the connection refuses takes nothing of the client's own.
    assert_eq!(others("dear/geocode/c"), "429 rate_limited");
    assert_eq!(others("dear/x"), "200");
    assert_eq!(others("dear/x"), "200");
    assert_eq!(others("dear/x"), "429 rate_limited");
    eventually("all are recorded", || proxied.calls().len() == 5);
    let mut units: Vec<u32> = proxied.calls().iter().map(|call| call.units).collect();
    units.sort_unstable();
    assert_eq!(units, [0, 1, 1, 5, 5]);
    let usage = block_on(proxied.admin().connection_usage(&CallUsageQuery::default())).unwrap();
    assert_eq!(usage.items.iter().map(|count| count.units).sum::<u64>(), 12);
    // What no rule can speak of costs what the dearest call does, and HEAD what GET does.
    let tight = json!({ "spend": "6/1h" });
    proxied.connect("odd", &json!({ "costs": costs, "limits": tight }));
    assert_eq!(proxied.get("odd/geocode/50%25").code(), "200");
    assert_eq!(proxied.get("odd/geocode/50%25").code(), "429 rate_limited");
    proxied.connect("head", &json!({ "costs": costs, "limits": tight }));
    assert_eq!(answer(proxied.request("HEAD", "head/geocode/a")).status, 200);
    assert_eq!(answer(proxied.request("HEAD", "head/geocode/a")).status, 429);
    // A call that does not reach the service is given back.
    let lost = json!({ "base_url": "http://127.0.0.1:9", "costs": costs, "limits": tight });
    proxied.connect("lost", &lost);
    for _ in 0..3 {
        assert_eq!(proxied.get("lost/geocode/a").code(), "502 service_unreachable");
    }
    // One call must fit into what may be spent.
    let tight = json!({ "costs": costs, "limits": { "spend": "4/1h" } });
    let error = format!("{:?}", proxied.try_connect("tight", &tight).unwrap_err());
    assert!(error.contains("limits.spend"), "{error}");
}

#[test]
fn what_calls_cost_comes_from_the_catalogue_and_a_kept_answer_costs_nothing() {
    let proxied = Proxied::start();
    proxied.write("maps", &json!({ "api_key": "AIzaEXAMPLEexample0123456789EXAMPLEexam" }));
    let more = json!({
        "provider": "google-api",
        "secret": "maps",
        "cache": { "routes": ["GET /maps/api/geocode/*"], "max_age_s": 60 },
        "limits": { "spend": "501/1h", "spend_per_client": "501/1h" },
    });
    let mut request = serde_json::to_value(proxied.connection("maps", &more)).unwrap();
    request.as_object_mut().unwrap().remove("inject");
    let request = serde_json::from_value(request).unwrap();
    let made = block_on(proxied.admin().create_connection(&request)).unwrap();
    assert!(made.costs.iter().any(|cost| cost.units == 5), "{made:?}");
    for _ in 0..2 {
        assert_eq!(proxied.get("maps/maps/api/geocode/json").status, 200);
    }
    eventually("both are recorded", || proxied.calls().len() == 2);
    let units: Vec<u32> = proxied.calls().iter().map(|call| call.units).collect();
    assert_eq!(units, [0, 5], "the latest first");
    // Nothing was taken for the kept one, so the dearest just does not fit.
    for _ in 0..50 {
        assert_eq!(proxied.get("maps/maps/api/geocode/json").status, 200);
    }
    assert_eq!(proxied.get("maps/maps/api/geocode/other").status, 200);
    assert_eq!(proxied.get("maps/maps/api/distancematrix/json").code(), "429 rate_limited");
}

#[test]
fn so_many_calls_go_on_at_once_and_no_more() {
    const MOST: usize = 3;
    let proxied = Proxied::start();
    proxied.connect("few", &json!({ "limits": { "concurrency": MOST } }));
    let open = |number: usize| {
        let mut raw = Raw::connect(&proxied.server.url);
        let head = proxied.head(&format!("GET /proxy/few/sse?n=100000&number={number}"));
        raw.send(format!("{head}\r\n").as_bytes());
        raw.until("data: 0\n");
        raw
    };
    let streams: Vec<Raw> = (0..MOST).map(open).collect();
    assert_eq!(proxied.service.streams(), MOST);
    let refused = proxied.get("few/x");
    assert_eq!(refused.code(), "429 rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(proxied.get("echo/x").status, 200);
    drop(streams);
    eventually("there is room again", || proxied.get("few/x").status == 200);
    // All at once: as many as may are served, and every place is given back.
    let call = |_: usize| {
        let request = proxied.request("GET", "few/slow-head?ms=200");
        async move { answered(request).await.status }
    };
    let statuses = block_on(futures_util::future::join_all((0..40).map(call)));
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!(served >= MOST && statuses.iter().all(|it| [200, 429].contains(it)), "{statuses:?}");
    assert_eq!(proxied.get("few/x").status, 200);
}

#[test]
fn a_request_is_no_longer_than_the_connection_allows() {
    let proxied = Proxied::start();
    proxied.connect("short", &json!({ "limits": { "max_request_bytes": 10 } }));
    let send = |body: &'static str| answer(proxied.request("POST", "short/x").body(body)).code();
    assert_eq!(send("0123456789"), "200");
    proxied.service.forget();
    assert_eq!(send("0123456789+"), "413 payload_too_large");
    // Ten gigabytes are refused before any of them is sent.
    let mut raw = Raw::connect(&proxied.server.url);
    let head = proxied.head("POST /proxy/short/x");
    raw.send(format!("{head}content-length: 10737418240\r\n\r\n").as_bytes());
    assert!(raw.head().starts_with("http/1.1 413 "));
    assert!(proxied.service.seen().is_empty(), "{:?}", proxied.service.seen());
    // What does not say how long it is, is cut off where it is too long.
    let mut raw = Raw::connect(&proxied.server.url);
    let head = proxied.head("POST /proxy/short/x");
    raw.send(format!("{head}transfer-encoding: chunked\r\n\r\n8\r\n01234567\r\n").as_bytes());
    raw.send(b"8\r\n01234567\r\n");
    assert!(raw.head().starts_with("http/1.1 413 "));
    assert!(proxied.service.seen().iter().all(|seen| !seen.is_whole && seen.size <= 10));
    assert_eq!(send("after that"), "200");
}

#[test]
fn an_answer_is_no_longer_than_the_connection_allows() {
    let proxied = Proxied::start();
    proxied.connect("short", &json!({ "limits": { "max_response_bytes": 1_000 } }));
    for more in ["", "&chunked=1"] {
        assert_eq!(proxied.get(&format!("short/big?n=1000{more}")).body.len(), 1_000);
    }
    assert_eq!(proxied.get("short/big?n=1001").code(), "502 service_answer");
    let cut = block_on(async {
        let request = proxied.request("GET", "short/big?n=1000000&chunked=1");
        let mut response = request.send().await?;
        let mut size = 0;
        while let Some(piece) = response.chunk().await? {
            size += piece.len();
        }
        Ok::<_, reqwest::Error>(size)
    });
    assert!(cut.is_err(), "what is cut off is not taken for the whole: {cut:?}");
}

#[test]
fn only_named_routes_are_called() {
    let proxied = Proxied::start();
    let routes = json!(["GET /v1/charges/*", "POST /v1/charges", "* /v1/*/refunds"]);
    proxied.connect("narrow", &json!({ "restrictions": { "routes": routes } }));
    for (method, path, expected) in [
        ("GET", "/v1/charges/ch_1", "200"),
        ("GET", "/v1/charges/%63h_1?expand=1", "200"),
        ("POST", "/v1/charges", "200"),
        ("DELETE", "/v1/ch_1/refunds", "200"),
        ("GET", "/v1/charges", "403 forbidden"),
        ("POST", "/v1/charges/ch_1", "403 forbidden"),
        ("GET", "/v1/Charges/ch_1", "403 forbidden"),
        ("GET", "/v2/charges/ch_1", "403 forbidden"),
        ("GET", "/", "403 forbidden"),
        ("GET", "", "403 forbidden"),
    ] {
        proxied.service.forget();
        let answer = answer(proxied.request(method, &format!("narrow{path}")));
        assert_eq!(answer.code(), expected, "{method} {path}");
        assert_eq!(proxied.service.seen().len(), usize::from(expected == "200"));
    }
}

#[test]
fn only_named_clients_call() {
    let proxied = Proxied::start();
    let owned = proxied.make_key(&json!({ "roles": ["client"], "owner": "acme" }));
    let own = |name: &str| {
        answer(proxied.bare("GET", &format!("{name}/x")).bearer_auth(owned.key.expose())).code()
    };
    proxied.connect("mine", &json!({ "clients": [proxied.client] }));
    proxied.connect("theirs", &json!({ "clients": ["owner:acme"] }));
    assert_eq!(proxied.get("mine/x").code(), "200");
    assert_eq!(own("mine"), "403 forbidden");
    assert_eq!(proxied.get("theirs/x").code(), "403 forbidden");
    assert_eq!(own("theirs"), "200");
    proxied.change("theirs", json!({ "clients": [] }));
    assert_eq!(proxied.get("theirs/x").code(), "200");
}

#[test]
fn a_key_calls_through_the_connections_it_was_made_for() {
    let proxied = Proxied::start();
    proxied.connect("other", &json!({}));
    let narrow = proxied.make_key(&json!({ "permissions": ["keyreeve.connections.echo.call"] }));
    let call = |name: &str| {
        answer(proxied.bare("GET", &format!("{name}/x")).bearer_auth(narrow.key.expose())).code()
    };
    assert_eq!(call("echo"), "200");
    // It is not told which others there are.
    assert_eq!(call("other"), "403 forbidden");
    assert_eq!(call("none"), "403 forbidden");
    assert_eq!(proxied.get("none/x").code(), "404 not_found");
    let reason = ReasonRequest::default();
    block_on(proxied.admin().disable_api_key(&narrow.details.id, &reason)).unwrap();
    assert_eq!(call("echo"), "401 invalid_credential");
    block_on(proxied.admin().enable_api_key(&narrow.details.id)).unwrap();
    assert_eq!(call("echo"), "200");
    block_on(proxied.admin().revoke_api_key(&narrow.details.id, &reason)).unwrap();
    assert_eq!(call("echo"), "401 invalid_credential");
    // The roles of people do not call services by their way.
    for role in ["viewer", "operator", "verifier"] {
        let key = proxied.make_key(&json!({ "roles": [role] }));
        let request = proxied.bare("GET", "echo/x").bearer_auth(key.key.expose());
        assert_eq!(answer(request).code(), "403 forbidden", "{role}");
    }
}

#[test]
fn connections_work_from_where_and_when_they_may() {
    let proxied = Proxied::start();
    let elsewhere = Service::start();
    for (name, restrictions, expected) in [
        ("here", json!({ "allow_ips": ["127.0.0.0/8"] }), "200"),
        ("elsewhere", json!({ "allow_ips": ["203.0.113.0/24"] }), "403 forbidden"),
        ("not-here", json!({ "deny_ips": ["127.0.0.1"] }), "403 forbidden"),
        ("always", json!({ "windows": ["Mon-Sun 00:00-24:00 UTC"] }), "200"),
    ] {
        let more = json!({ "restrictions": restrictions, "base_url": elsewhere.url() });
        proxied.connect(name, &more);
        let before = elsewhere.seen().len();
        assert_eq!(proxied.get(&format!("{name}/x")).code(), expected, "{name}");
        assert_eq!(elsewhere.seen().len() - before, usize::from(expected == "200"), "{name}");
    }
    // A client has no say in where it is.
    for name in ["x-forwarded-for", "x-real-ip", "forwarded"] {
        let request = proxied.request("GET", "elsewhere/x").header(name, "203.0.113.7");
        assert_eq!(answer(request).code(), "403 forbidden", "{name}");
    }
}
