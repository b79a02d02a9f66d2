//! Webhooks from outside: verified, never taken twice, never lost.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use keyreeve_api::{
    Client, CreateWebhookSourceRequest, ListAuditQuery, ListWebhookEventsQuery,
    RotateWebhookSecretRequest, UpdateWebhookSourceRequest, WebhookEventView,
};
use keyreeve_core::{
    Secret,
    webhook::{self, HeaderLine, ReceivedRequest, Settings, Signing},
};
use serde_json::{Value, json};

use crate::{
    backends::eventually,
    support::{Installation, Server, block_on, http, refusal},
    vault::call,
    webhook_app::{App, Taken},
};

pub(crate) const SECRET: &str = "whsec_EXAMPLEexampleEXAMPLEexample";
const PUBLIC: &str = "https://hooks.example.com/hooks";

/// A server with a source, and the app behind it.
pub(crate) struct Hooked {
    pub(crate) installation: Installation,
    pub(crate) server: Server,
    pub(crate) app: App,
    /// What the app verifies events with.
    signing: Secret<String>,
}

impl Hooked {
    pub(crate) fn start(scheme: &str, more: &Value) -> Self {
        Self::start_with(scheme, more, &[])
    }

    /// The same on a server with these settings.
    pub(crate) fn start_with(scheme: &str, more: &Value, settings: &[(&str, &str)]) -> Self {
        let installation = Installation::new();
        let server = installation.serve_with(settings);
        let app = App::start();
        let mut hooked = Self { installation, server, app, signing: Secret::new(String::new()) };
        hooked.write("sender", &json!({ "value": SECRET }));
        hooked.signing = hooked.add("in", scheme, more);
        hooked
    }

    pub(crate) fn admin(&self) -> Arc<Client> {
        self.server.client(&self.installation.admin_key)
    }

    pub(crate) fn write(&self, path: &str, fields: &Value) {
        let (path, admin) = (format!("secret/data/{path}"), &self.installation.admin_key);
        let body = json!({ "data": fields });
        let (status, said) = block_on(call(&self.server.url, admin, "PUT", &path, Some(&body)));
        assert_eq!(status, 200, "{said}");
    }

    pub(crate) fn request(
        &self,
        name: &str,
        scheme: &str,
        more: &Value,
    ) -> CreateWebhookSourceRequest {
        let mut body = json!({
            "name": name,
            "scheme": scheme,
            "secret": "sender",
            "public_url": format!("{PUBLIC}/{name}"),
            "to": self.app.url(),
            "allow_internal": true,
            "allow_plaintext": true,
        });
        for (member, value) in more.as_object().unwrap() {
            body[member] = value.clone();
        }
        serde_json::from_value(body).unwrap()
    }

    pub(crate) fn add(&self, name: &str, scheme: &str, more: &Value) -> Secret<String> {
        let request = self.request(name, scheme, more);
        let made = block_on(self.admin().create_webhook_source(&request)).unwrap();
        Secret::new(made.signing_secret.expose().to_owned())
    }

    pub(crate) fn change(&self, change: Value) {
        let change: UpdateWebhookSourceRequest = serde_json::from_value(change).unwrap();
        block_on(self.admin().update_webhook_source("in", &change)).unwrap();
    }

    pub(crate) fn events(&self, query: Value) -> Vec<WebhookEventView> {
        let query: ListWebhookEventsQuery = serde_json::from_value(query).unwrap();
        block_on(self.admin().list_webhook_events(&query)).unwrap().items
    }

    pub(crate) fn event(&self) -> WebhookEventView {
        let events = self.events(json!({}));
        assert_eq!(events.len(), 1, "{events:?}");
        events[0].clone()
    }

    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/hooks/{rest}", self.server.url)
    }

    /// A request for the source `in` as its sender signs it now.
    pub(crate) fn signed(&self, scheme: &str, secret: &str, body: &str) -> reqwest::RequestBuilder {
        signed(&self.url("in"), scheme, secret, body)
    }
}

#[expect(clippy::disallowed_methods, reason = "the server has the machine's clock, too")]
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

pub(crate) fn signed(url: &str, scheme: &str, secret: &str, body: &str) -> reqwest::RequestBuilder {
    let scheme = webhook::named(scheme).unwrap();
    let key = scheme.key(secret).unwrap();
    let signing = Signing {
        method: "POST",
        url: "https://hooks.example.com/hooks/in",
        content_type: "application/json",
        body: body.as_bytes(),
        id: &format!("msg_{}", body.len()),
        now_ms: now_ms(),
    };
    let made = webhook::sign(&scheme, &key, &Secret::new(secret.to_owned()), &signing).unwrap();
    let mut request = http().post(url).header("content-type", "application/json").body(made.body);
    for (name, value) in made.headers {
        request = request.header(name, value);
    }
    request
}

pub(crate) fn event_body(number: usize) -> String {
    json!({ "id": format!("evt_{number}"), "text": "caf\u{e9}" }).to_string()
}

/// Status, and what it was refused for.
pub(crate) fn sent(request: reqwest::RequestBuilder) -> (u16, String) {
    block_on(async {
        let response = request.send().await.unwrap();
        let (status, duplicate) =
            (response.status().as_u16(), response.headers().contains_key("keyreeve-duplicate"));
        let text = response.text().await.unwrap();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = problem["detail"].as_str().or(problem["code"].as_str());
        (status, if duplicate { "duplicate" } else { said.unwrap_or(&text) }.to_owned())
    })
}

/// Whether the app can verify what it was sent.
fn verifies(taken: &Taken, secret: &Secret<String>) -> bool {
    let scheme = webhook::named("standard-webhooks").unwrap();
    let headers: Vec<HeaderLine<'_>> = taken
        .headers
        .iter()
        .map(|(name, value)| HeaderLine { name, value: value.as_bytes() })
        .collect();
    let request = ReceivedRequest {
        method: "POST",
        url: "",
        headers: &headers,
        body: &taken.body,
        remote_ip: None,
        now_ms: now_ms(),
    };
    let key = scheme.key(secret.expose()).unwrap();
    webhook::verify(&scheme, &[key], &Settings::default(), &request).is_ok()
}

#[test]
fn an_event_reaches_the_app_once_with_a_signature_of_ours() {
    let hooked = Hooked::start("stripe", &json!({}));
    let body = event_body(1);
    let request = || hooked.signed("stripe", SECRET, &body);
    assert_eq!(sent(request()), (200, String::new()));
    assert_eq!(sent(request()), (200, "duplicate".to_owned()));
    eventually("the events are there", || hooked.event().state == "delivered");
    let taken = hooked.app.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].body, body.as_bytes(), "byte for byte");
    assert!(verifies(&taken[0], &hooked.signing));
    assert!(!verifies(&taken[0], &Secret::new(SECRET.to_owned())));
    let headers = &taken[0].headers;
    assert_eq!(headers["keyreeve-source"], "in");
    assert_eq!(headers["keyreeve-event"], "evt_1");
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers.contains_key("keyreeve-original-stripe-signature"));

    let event = hooked.event();
    assert_eq!((event.attempts, event.status), (1, Some(200)));
    let details = block_on(hooked.admin().webhook_event_request(&event.id)).unwrap();
    assert_eq!(details.method, "POST");
    block_on(hooked.admin().replay_webhook_event(&event.id)).unwrap();
    eventually("the events are there", || hooked.app.taken().len() == 2);
    assert_eq!(hooked.app.taken()[1].id(), event.id, "under the same id");
    let entries = block_on(hooked.admin().list_audit(&ListAuditQuery::default())).unwrap().items;
    for action in ["webhook.accept", "webhook.delivered", "webhook.show_event", "webhook.replay"] {
        assert!(entries.iter().any(|entry| entry.action == action), "{action}");
    }
    let log = hooked.server.stop();
    assert!(
        !log.contains(SECRET) && !log.contains("caf\u{e9}") && !log.contains("caf\\u"),
        "{log}"
    );
}

#[test]
fn of_many_at_once_one_is_accepted() {
    let hooked = Hooked::start("github", &json!({}));
    let body = event_body(1);
    let answers = block_on(async {
        join_all((0..24).map(|_| hooked.signed("github", SECRET, &body).send())).await
    });
    let is_duplicate = |answer: &reqwest::Response| {
        assert_eq!(answer.status().as_u16(), 200);
        answer.headers().contains_key("keyreeve-duplicate")
    };
    let duplicates = answers.iter().filter(|it| is_duplicate(it.as_ref().unwrap())).count();
    assert_eq!(duplicates, 23);
    eventually("the events are there", || hooked.event().state == "delivered");
    assert_eq!(hooked.app.taken().len(), 1);
}

#[test]
fn a_captured_request_is_taken_once_however_it_is_sent_again() {
    let hooked = Hooked::start("github", &json!({}));
    let body = event_body(1);
    let again = |rest: &str, delivery: &str| {
        let request = signed(&hooked.url(rest), "github", SECRET, &body);
        let mut request = request.build().unwrap();
        request.headers_mut().insert("x-github-delivery", delivery.parse().unwrap());
        let answer = block_on(async { http().execute(request).await.unwrap() });
        (answer.status().as_u16(), answer.headers().contains_key("keyreeve-duplicate"))
    };
    assert_eq!(again("in", "one"), (200, false));
    for (rest, delivery) in [("in", "one"), ("in", "two"), ("in?1", "three"), ("in/x", "four")] {
        assert_eq!(again(rest, delivery), (200, true), "{rest}");
    }
    assert_eq!(hooked.events(json!({})).len(), 1);
}

#[test]
fn a_secret_that_was_mended_does_not_bring_the_source_down() {
    let hooked = Hooked::start("stripe", &json!({}));
    let good = "whsec_RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ==";
    hooked.write("mended", &json!({ "value": "no base64 at all, but a secret 1x7q" }));
    hooked.write("mended", &json!({ "value": good }));
    hooked.add("mended", "standard-webhooks", &json!({ "secret": "mended" }));
    let url = hooked.url("mended");
    assert_eq!(sent(signed(&url, "standard-webhooks", good, &event_body(1))).0, 200);
}

#[test]
fn an_address_without_a_path_is_one_and_a_source_that_is_gone_is_gone() {
    let hooked = Hooked::start("stripe", &json!({}));
    let bare = hooked.app.url().trim_end_matches("/in").to_owned();
    hooked.add("bare", "stripe", &json!({ "to": bare }));
    assert_eq!(sent(signed(&hooked.url("bare"), "stripe", SECRET, &event_body(1))).0, 200);
    eventually("the events are there", || hooked.app.taken().len() == 1);
    hooked.change(json!({ "paused": true }));
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(2))).0, 200);
    block_on(hooked.admin().delete_webhook_source("in")).unwrap();
    let ended = hooked.events(json!({ "source": "in", "state": "dead" }));
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].failure.as_deref(), Some("its source was removed"));
    let again = block_on(hooked.admin().replay_webhook_event(&ended[0].id));
    assert_eq!(refusal(again), "not_found");
    let data = hooked.installation.data_dir();
    let all = crate::support::run_json(&["webhook", "replay", "--state", "dead"], &data);
    assert_eq!(all["items"], json!([]), "left out, and no reason to fail");
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(3))).0, 404);
}

#[test]
fn what_is_not_signed_is_refused_and_says_why() {
    let hooked = Hooked::start("stripe", &json!({ "max_body_bytes": 1_000 }));
    let body = event_body(1);
    let not = |status: u16, said: &str| (status, said.to_owned());
    let other = hooked.signed("stripe", "whsec_EXAMPLEotherEXAMPLEotherEX", &body);
    assert_eq!(sent(other), not(401, "bad_signature"));
    let changed = hooked.signed("stripe", SECRET, &body).body("{}");
    assert_eq!(sent(changed), not(401, "bad_signature"));
    let twice = hooked.signed("stripe", SECRET, &body).header("stripe-signature", "t=1,v1=00");
    assert_eq!(sent(twice), not(401, "duplicate_header"));
    assert_eq!(sent(http().post(hooked.url("in")).body("{}")), not(401, "missing_header"));
    let old = http().post(hooked.url("in")).header("stripe-signature", "t=1,v1=00").body("{}");
    assert_eq!(sent(old), not(401, "bad_signature"), "time is told behind a good signature only");
    let long = "x".repeat(1_001);
    assert_eq!(sent(hooked.signed("stripe", SECRET, &long)).0, 413);
    let piece = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let in_chunks = format!(
        "POST /hooks/in HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{piece}0\r\n\r\n"
    );
    let mut stream = TcpStream::connect(hooked.server.url.trim_start_matches("http://")).unwrap();
    stream.write_all(in_chunks.as_bytes()).unwrap();
    let mut first = String::new();
    BufReader::new(stream).read_line(&mut first).unwrap();
    assert!(first.starts_with("HTTP/1.1 413 "), "{first}");
    for nobody in ["nope", "@nope/in", "@default/nope", ""] {
        assert_eq!(sent(http().post(hooked.url(nobody)).body("{}")).0, 404, "{nobody}");
    }
    assert_eq!(sent(http().put(hooked.url("in")).body("{}")).0, 405);
    assert!(hooked.events(json!({})).is_empty());
    let page = block_on(async {
        let page = http().get(format!("{}/metrics", hooked.server.url)).send().await.unwrap();
        page.text().await.unwrap()
    });
    let figure = "keyreeve_webhooks_received_total{verdict=\"bad_signature\"} 3";
    assert!(page.contains(figure), "{page}");
    assert!(!page.contains("source=") && !page.contains("project="), "open to all: no names");
}

#[test]
fn a_sender_may_change_its_secret_and_we_ours() {
    let hooked = Hooked::start("stripe", &json!({}));
    let new = "whsec_EXAMPLEnewerEXAMPLEnewerEX";
    hooked.write("sender", &json!({ "value": new }));
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(1))).0, 200, "the one before");
    assert_eq!(sent(hooked.signed("stripe", new, &event_body(2))).0, 200);
    hooked.write("sender", &json!({ "value": "whsec_EXAMPLEthirdEXAMPLEthirdEX" }));
    let gone = sent(hooked.signed("stripe", SECRET, &event_body(3)));
    assert_eq!(gone, (401, "bad_signature".to_owned()), "two at most");

    let overlap = RotateWebhookSecretRequest { overlap: Some("1h".to_owned()) };
    let made = block_on(hooked.admin().rotate_webhook_secret("in", &overlap)).unwrap();
    let newer = Secret::new(made.signing_secret.expose().to_owned());
    assert_eq!(sent(hooked.signed("stripe", new, &event_body(4))).0, 200);
    let fourth =
        || hooked.app.taken().into_iter().find(|it| it.headers["keyreeve-event"] == "evt_4");
    eventually("the events are there", || fourth().is_some());
    let fourth = fourth().unwrap();
    assert!(verifies(&fourth, &newer) && verifies(&fourth, &hooked.signing));
}

#[test]
fn handshakes_are_answered_and_are_no_events() {
    let hooked = Hooked::start("slack", &json!({}));
    let body = json!({ "type": "url_verification", "challenge": "made-up-1" }).to_string();
    assert_eq!(sent(hooked.signed("slack", SECRET, &body)), (200, "made-up-1".to_owned()));
    let refused = sent(http().post(hooked.url("in")).body(body));
    assert_eq!(refused, (401, "missing_header".to_owned()), "not without a signature");

    hooked.write(
        "meta",
        &json!({ "secret": "0123456789abcdef0123456789abcdef", "verify": "EXAMPLE-token" }),
    );
    let more = json!({ "secret": "meta", "field": "secret", "handshake_field": "verify" });
    hooked.add("meta", "meta", &more);
    let ask = |token: &str| {
        let query = format!("hub.mode=subscribe&hub.verify_token={token}&hub.challenge=77");
        sent(http().get(hooked.url(&format!("meta?{query}"))))
    };
    assert_eq!(ask("EXAMPLE-token"), (200, "77".to_owned()));
    assert_eq!(ask("other"), (403, "bad_token".to_owned()));
    assert!(hooked.events(json!({})).is_empty());
}

#[test]
fn a_token_and_an_address_may_be_all_there_is() {
    let hooked = Hooked::start("stripe", &json!({}));
    let mut request = hooked.request("sms", "stripe", &json!({ "allow_from": ["127.0.0.0/8"] }));
    request.scheme = None;
    request.token = Some(json!({ "query": "token" }));
    request.event_id = keyreeve_api::Patch::Set("msgid".to_owned());
    block_on(hooked.admin().create_webhook_source(&request)).unwrap();
    let ask = |query: &str| sent(http().get(hooked.url(&format!("sms?{query}"))));
    assert_eq!(ask(&format!("token={SECRET}&msgid=1&status=0")).0, 200);
    assert_eq!(ask(&format!("token={SECRET}&msgid=1&status=0")), (200, "duplicate".to_owned()));
    assert_eq!(ask(&format!("token={SECRET}&msgid=2&status=0")), (200, String::new()));
    assert_eq!(ask("token=guess&msgid=3"), (403, "bad_token".to_owned()));
    request.name = "far".to_owned();
    request.allow_from = Some(vec!["203.0.113.0/24".to_owned()]);
    block_on(hooked.admin().create_webhook_source(&request)).unwrap();
    let far = sent(http().get(hooked.url(&format!("far?token={SECRET}&msgid=9"))));
    assert_eq!(far, (403, "ip_not_allowed".to_owned()));
    eventually("the events are there", || hooked.app.taken().len() == 2);
    let taken = hooked.app.taken();
    assert!(!format!("{taken:?}").contains(SECRET), "the token goes no further");
    let queries: HashSet<&str> =
        taken.iter().map(|it| it.headers["keyreeve-original-query"].as_str()).collect();
    assert_eq!(queries, HashSet::from(["msgid=1&status=0", "msgid=2&status=0"]));
    assert!(taken.iter().all(|it| it.headers["keyreeve-original-method"] == "GET"));
}

#[test]
fn an_app_that_is_away_gets_its_events_later() {
    let hooked = Hooked::start("stripe", &json!({ "attempts": 3 }));
    hooked.app.stop();
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(1))).0, 200);
    eventually("the events are there", || hooked.event().attempts == 1);
    let event = hooked.event();
    assert_eq!((event.state.as_str(), event.status), ("waiting", None));
    assert_eq!(event.failure.as_deref(), Some("the app cannot be connected to"));
    assert!(event.next_attempt_at.is_some());
    let back = App::start_at(hooked.app.address, hooked.app.taken.clone());
    eventually("the events are there", || hooked.event().state == "delivered");
    assert_eq!(back.taken().len(), 1);
}

#[test]
fn what_is_refused_often_enough_is_dead_until_somebody_has_it_sent_again() {
    let hooked = Hooked::start("stripe", &json!({ "attempts": 1 }));
    hooked.app.answers(503);
    for number in 0..3 {
        assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(number))).0, 200);
    }
    eventually("the events are there", || hooked.events(json!({ "state": "dead" })).len() == 3);
    let dead = hooked.events(json!({ "state": "dead" }));
    assert_eq!(dead[0].failure.as_deref(), Some("the app answered 503"));
    hooked.app.answers(200);
    let again = crate::support::run_json(
        &["webhook", "replay", "--source", "in", "--state", "dead"],
        &hooked.installation.data_dir(),
    );
    assert_eq!(again["items"].as_array().unwrap().len(), 3);
    eventually("the events are there", || {
        hooked.events(json!({ "state": "delivered" })).len() == 3
    });
    assert_eq!(hooked.app.taken().len(), 3);
}

#[test]
fn events_of_a_source_that_is_paused_wait() {
    let hooked = Hooked::start("stripe", &json!({}));
    hooked.change(json!({ "paused": true }));
    hooked.add("other", "github", &json!({}));
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(1))).0, 200);
    let other = signed(&hooked.url("other"), "github", SECRET, &event_body(2));
    assert_eq!(sent(other).0, 200);
    eventually("the events are there", || {
        hooked.events(json!({ "source": "other", "state": "delivered" })).len() == 1
    });
    assert_eq!(hooked.events(json!({ "source": "in", "state": "waiting" })).len(), 1);
    hooked.change(json!({ "paused": false }));
    eventually("the events are there", || {
        hooked.events(json!({ "state": "delivered" })).len() == 2
    });
}

/// Each customer's events come one after the other, those of others meanwhile. Gives which of them were
/// acknowledged.
async fn post_in_order(url: &str, round: usize, count: &AtomicUsize) -> Vec<(String, bool)> {
    let of_customers = (0..10).map(async |customer| {
        let mut answers = Vec::new();
        for number in (round * 100)..(round * 100 + 20) {
            let id = format!("evt_{customer}_{number}");
            let body = json!({ "id": id, "customer": customer }).to_string();
            let answer = signed(url, "stripe", SECRET, &body).send().await;
            let is_good = answer.is_ok_and(|it| it.status().is_success());
            count.fetch_add(usize::from(is_good), Ordering::Relaxed);
            answers.push((id, is_good));
        }
        answers
    });
    join_all(of_customers).await.into_iter().flatten().collect()
}

#[test]
fn what_was_acknowledged_is_delivered_in_order_whoever_is_killed() {
    let hooked = Hooked::start("stripe", &json!({ "order_by": "customer" }));
    let Hooked { installation, mut server, mut app, .. } = hooked;
    let mut acknowledged = HashSet::new();
    let mut broken_off = 0;
    for round in 0..6_usize {
        let url = format!("{}/hooks/in", server.url);
        let acknowledged_now = Arc::new(AtomicUsize::new(0));
        let count = acknowledged_now.clone();
        let posting = thread::spawn(move || block_on(post_in_order(&url, round, &count)));
        // Another moment in each run; as a power cut would.
        let enough = 5 + usize::try_from(now_ms() % 60).unwrap();
        eventually("some are acknowledged", || acknowledged_now.load(Ordering::Relaxed) >= enough);
        if round % 2 == 0 {
            app.stop();
        }
        thread::sleep(Duration::from_millis(u64::try_from(now_ms() % 50).unwrap()));
        server.kill();
        for (id, is_good) in posting.join().unwrap() {
            if is_good {
                acknowledged.insert(id);
            } else {
                broken_off += 1;
            }
        }
        server = installation.serve();
        if round % 2 == 0 {
            app = App::start_at(app.address, app.taken.clone());
        }
    }
    assert!(broken_off > 0, "killed while requests went on");
    assert!(acknowledged.len() >= 30, "{}", acknowledged.len());
    let missing = || {
        let taken = app.taken();
        let got: HashSet<String> =
            taken.iter().map(|it| it.headers["keyreeve-event"].clone()).collect();
        acknowledged.iter().filter(|event| !got.contains(*event)).count()
    };
    for _ in 0..3 {
        // Whose attempts met a dead app twice waits for half a minute.
        if missing() > 0 {
            thread::sleep(Duration::from_secs(10));
        }
    }
    eventually("the events are there", || missing() == 0);
    // What came twice can be told by its id, and what came first came in order.
    let mut ids: HashMap<String, String> = HashMap::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    for taken in app.taken() {
        let event = taken.headers["keyreeve-event"].clone();
        if let Some(known) = ids.get(&event) {
            assert_eq!(known, taken.id(), "one event has one id");
            continue;
        }
        ids.insert(event.clone(), taken.id().to_owned());
        let (customer, number) = event.rsplit_once('_').unwrap();
        let number: usize = number.parse().unwrap();
        let before = last.insert(customer.to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{event} after {before:?}");
    }
}

#[test]
fn a_source_that_cannot_be_meant_is_refused() {
    let hooked = Hooked::start("stripe", &json!({}));
    let try_add = |more: Value| {
        let request = hooked.request("x", "stripe", &more);
        let refused = block_on(hooked.admin().create_webhook_source(&request)).unwrap_err();
        let keyreeve_api::ClientError::Refused(problem) = refused else { panic!("{refused}") };
        problem.errors.iter().map(|it| it.field.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(try_add(json!({ "scheme": "nope" })), "proof.scheme");
    assert_eq!(try_add(json!({ "scheme": "aws-sns" })), "secret");
    assert_eq!(try_add(json!({ "scheme": null })), "scheme");
    assert_eq!(try_add(json!({ "token": { "header": "x" } })), "scheme");
    assert_eq!(try_add(json!({ "scheme": null, "token": {} })), "proof.token");
    assert_eq!(try_add(json!({ "scheme": null, "hmac": { "header": "" } })), "proof.hmac");
    assert_eq!(try_add(json!({ "scheme": null, "hmac": { "nope": 1 } })), "hmac");
    assert_eq!(try_add(json!({ "name": "No Name" })), "name");
    assert_eq!(try_add(json!({ "secret": "nothing/here" })), "secret");
    assert_eq!(try_add(json!({ "field": "nope" })), "field");
    assert_eq!(try_add(json!({ "scheme": "discord" })), "secret");
    assert_eq!(try_add(json!({ "public_url": "hooks.example.com" })), "public_url");
    assert_eq!(try_add(json!({ "to": "nowhere" })), "to");
    assert_eq!(try_add(json!({ "allow_plaintext": false })), "to");
    assert_eq!(try_add(json!({ "allow_from": ["nope"] })), "allow_from[0]");
    assert_eq!(try_add(json!({ "tolerance_s": 0 })), "tolerance_s");
    assert_eq!(try_add(json!({ "attempts": 0 })), "attempts");
    assert_eq!(try_add(json!({ "patience_ms": 1 })), "patience_ms");
    assert_eq!(try_add(json!({ "max_body_bytes": 0 })), "max_body_bytes");
    assert_eq!(try_add(json!({ "max_concurrent": 0 })), "max_concurrent");
    assert_eq!(try_add(json!({ "order_by": "" })), "order_by");
    assert_eq!(try_add(json!({ "answer_within_ms": 99 })), "answer_within_ms");
    let both = json!({ "answer_within_ms": 100, "order_by": "*" });
    assert_eq!(try_add(both), "answer_within_ms");
    let again = hooked.request("in", "stripe", &json!({}));
    let taken = block_on(hooked.admin().create_webhook_source(&again));
    assert_eq!(refusal(taken), "already_exists");
    let internal = hooked.request("inner", "stripe", &json!({ "allow_internal": false }));
    block_on(hooked.admin().create_webhook_source(&internal)).unwrap();
    let url = hooked.url("inner");
    assert_eq!(sent(signed(&url, "stripe", SECRET, &event_body(1))).0, 200);
    eventually("the events are there", || hooked.event().attempts == 1);
    let failure = hooked.event().failure.unwrap();
    assert_eq!(failure, "the app's address is one that may not be called");
    assert!(hooked.app.taken().is_empty());
}

#[test]
fn a_sealed_vault_takes_nothing_and_says_come_again() {
    let hooked = Hooked::start("stripe", &json!({}));
    let data = hooked.installation.data_dir();
    crate::support::run(&["vault", "seal"], &data);
    let answer =
        block_on(async { hooked.signed("stripe", SECRET, &event_body(1)).send().await.unwrap() });
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(Path::new(&data).is_dir());
}
