//! How events reach the app: in order, not while it is down, with its own answer; and what is told of them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use keyreeve_api::ListAuditQuery;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::{
    backends::eventually,
    support::{Server, block_on, http, keyreeve, run, text},
    webhook_app::App,
    webhooks::{Hooked, SECRET, event_body, sent, signed},
};

fn of_customer(customer: &str, number: usize) -> String {
    json!({ "id": format!("evt_{number}"), "customer": { "id": customer } }).to_string()
}

fn metrics(hooked: &Hooked) -> String {
    block_on(async {
        let page = http().get(format!("{}/metrics", hooked.server.url));
        let page = page.bearer_auth(&hooked.installation.admin_key).send().await.unwrap();
        page.text().await.unwrap()
    })
}

#[test]
fn an_event_waits_for_those_of_its_key_before_it() {
    let hooked = Hooked::start("stripe", &json!({ "order_by": "customer.id" }));
    let send = |body: &str| assert_eq!(sent(hooked.signed("stripe", SECRET, body)).0, 200);
    hooked.app.answers(400);
    send(&of_customer("a", 1));
    eventually("it was tried", || hooked.event().attempts == 1);
    hooked.app.answers(200);
    send(&of_customer("a", 2));
    send(&of_customer("b", 3));
    send(&event_body(4));
    eventually("the others do not wait", || {
        hooked.events(json!({ "state": "delivered" })).len() == 2
    });
    let waiting = hooked.events(json!({ "state": "waiting" }));
    let waiting: Vec<_> =
        waiting.iter().map(|it| (it.event_id.as_deref().unwrap(), it.attempts)).collect();
    assert_eq!(waiting, [("evt_2", 0), ("evt_1", 1)]);
    eventually("all are there", || hooked.app.taken().len() == 4);
    let taken = hooked.app.taken();
    let place = |id: &str| taken.iter().position(|it| it.headers["keyreeve-event"] == id).unwrap();
    assert!(place("evt_1") < place("evt_2"));
}

#[test]
fn what_is_dead_is_sent_again_in_order() {
    let hooked = Hooked::start("stripe", &json!({ "order_by": "*", "attempts": 1 }));
    hooked.app.answers(400);
    for number in 0..5 {
        assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(number))).0, 200);
    }
    eventually("they are dead", || hooked.events(json!({ "state": "dead" })).len() == 5);
    hooked.app.answers(200);
    hooked.change(json!({ "paused": true }));
    crate::support::run_json(
        &["webhook", "replay", "--state", "dead"],
        &hooked.installation.data_dir(),
    );
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(5))).0, 200);
    hooked.change(json!({ "paused": false }));
    eventually("all are there", || hooked.app.taken().len() == 6);
    let expected: Vec<String> = (0..6).map(|number| format!("evt_{number}")).collect();
    assert_eq!(taken_ids(&hooked.app), expected);
}

#[test]
fn an_app_that_is_down_is_left_alone() {
    let hooked = Hooked::start("stripe", &json!({}));
    hooked.app.answers(503);
    hooked.change(json!({ "paused": true }));
    for number in 0..30 {
        assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(number))).0, 200);
    }
    hooked.change(json!({ "paused": false }));
    eventually("the circuit is open", || {
        metrics(&hooked).contains("keyreeve_webhook_circuits_open 1")
    });
    let untried = hooked.events(json!({})).iter().filter(|event| event.attempts == 0).count();
    assert!(untried >= 10, "{untried} did not use up an attempt");
    hooked.app.answers(200);
    eventually("all are there", || hooked.events(json!({ "state": "delivered" })).len() == 30);
    assert!(metrics(&hooked).contains("keyreeve_webhook_circuits_open 0"));
}

#[test]
fn a_sender_may_wait_for_what_the_app_answers() {
    const TWIML: &str = "<Response><Message>made up</Message></Response>";
    let hooked = Hooked::start("stripe", &json!({ "answer_within_ms": 1_500 }));
    hooked.app.says("text/xml", TWIML, Duration::ZERO);
    block_on(async {
        let answer = hooked.signed("stripe", SECRET, &event_body(1)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/xml");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.text().await.unwrap(), TWIML);
    });
    let event = hooked.event();
    assert_eq!((event.state.as_str(), event.attempts), ("delivered", 1));
    let again = sent(hooked.signed("stripe", SECRET, &event_body(1)));
    assert_eq!(again, (200, "duplicate".to_owned()));

    hooked.app.says("text/xml", TWIML, Duration::from_secs(3));
    let (status, said) = sent(hooked.signed("stripe", SECRET, &event_body(2)));
    assert_eq!(status, 504, "{said}");
    eventually("what came too late counts", || {
        hooked.events(json!({ "state": "delivered" })).len() == 2
    });
    assert_eq!(hooked.app.taken().len(), 2, "and is not sent again");

    hooked.app.says("text/plain", "no", Duration::ZERO);
    hooked.app.answers(422);
    assert_eq!(sent(hooked.signed("stripe", SECRET, &event_body(3))), (422, "no".to_owned()));
    hooked.app.answers(200);
    hooked.app.stop();
    let (status, said) = sent(hooked.signed("stripe", SECRET, &event_body(4)));
    assert_eq!(status, 502, "{said}");
    let waiting = hooked.events(json!({ "state": "waiting" }));
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|event| event.attempts == 1), "{waiting:?}");
    let _back = App::start_at(hooked.app.address, hooked.app.taken.clone());
    eventually("they are delivered later", || {
        hooked.events(json!({ "state": "delivered" })).len() == 4
    });
}

#[test]
fn what_customers_sent_is_shown_to_who_asks_for_it_only() {
    let hooked = Hooked::start("stripe", &json!({}));
    let body = json!({ "id": "evt_1", "type": "customer.created", "mail": "ana@example.com" });
    assert_eq!(sent(hooked.signed("stripe", SECRET, &body.to_string())).0, 200);
    let id = hooked.event().id;
    let data = hooked.installation.data_dir();
    let seen = text(&run(&["webhook", "show", &id], &data).stdout);
    assert!(seen.contains("customer.created") && seen.contains("\"mail\""), "{seen}");
    assert!(!seen.contains("ana@example.com"), "{seen}");
    let preview = block_on(hooked.admin().webhook_event(&id)).unwrap();
    let preview: Value = serde_json::from_str(&preview.preview).unwrap();
    assert_eq!(preview["mail"], "<15 characters>");
    let all = text(&run(&["webhook", "show", &id, "--reveal"], &data).stdout);
    assert!(all.contains("ana@example.com"), "{all}");
    let entries = block_on(hooked.admin().list_audit(&ListAuditQuery::default())).unwrap().items;
    assert_eq!(entries.iter().filter(|it| it.action == "webhook.show_event").count(), 1);
}

#[test]
fn a_burst_of_refused_requests_is_told_once() {
    // Names are on the page only where nobody else reads it.
    let settings = [("KEYREEVE_SERVER__METRICS", "authenticated")];
    let hooked = Hooked::start_with("stripe", &json!({}), &settings);
    for _ in 0..25 {
        assert_eq!(sent(http().post(hooked.url("in")).body("{}")).0, 401);
    }
    let source = block_on(hooked.admin().webhook_source("in")).unwrap();
    assert!(source.tally.failure_burst);
    assert_eq!(source.tally.verdicts["missing_header"], 25);
    assert_eq!((source.tally.recently_refused, source.tally.recently_taken), (25, 0));
    let page = metrics(&hooked);
    let source = "project=\"default\",source=\"in\"";
    for figure in [
        format!("keyreeve_webhook_failure_bursts{{{source}}} 1"),
        format!("keyreeve_webhooks_received_total{{{source},verdict=\"missing_header\"}} 25"),
    ] {
        assert!(page.contains(&figure), "{page}");
    }
    let entries = block_on(hooked.admin().list_audit(&ListAuditQuery::default())).unwrap().items;
    let told: Vec<_> = entries.iter().filter(|it| it.action == "webhook.failure_burst").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].details["refused"], 20);
}

#[test]
fn certificates_are_looked_for_at_the_provider_only() {
    let hooked = Hooked::start("paypal", &json!({}));
    let send = |cert_url: &str| {
        let request = http()
            .post(hooked.url("in"))
            .header("paypal-transmission-id", "made-up-1")
            .header("paypal-transmission-time", "2026-01-01T00:00:00Z")
            .header("paypal-transmission-sig", "AAAA")
            .header("paypal-auth-algo", "SHA256withRSA")
            .header("paypal-cert-url", cert_url);
        sent(request.body("{}"))
    };
    let untrusted = (401, "untrusted_cert_url".to_owned());
    let here = format!("http://{}/cert", hooked.app.address);
    for url in [here.as_str(), "https://127.0.0.1/cert", "https://api.paypal.com.evil.example/cert"]
    {
        assert_eq!(send(url), untrusted, "{url}");
    }
    assert!(hooked.app.taken().is_empty());
}

#[test]
fn bytes_are_verified_and_delivered_as_they_came() {
    let hooked = Hooked::start("github", &json!({}));
    // Made with gzip; nobody unpacks it on the way.
    let zipped: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 171, 86, 202, 76, 81, 178, 82, 74, 45, 75, 141, 55, 84,
        170, 5, 0, 101, 18, 150, 3, 14, 0, 0, 0,
    ];
    for (number, body) in [zipped, &[0xff, 0xfe, 0, 0x80]].into_iter().enumerate() {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, body);
        let hex = keyreeve_core::encoding::hex(tag.as_ref());
        // Names of headers in any case, the body in pieces.
        let (first, second) = body.split_at(2);
        let mut request = format!(
            "POST /hooks/in HTTP/1.1\r\nHOST: a\r\nx-HUB-signature-256: sha256={hex}\r\n\
             X-gitHUB-Delivery: made-up-{number}\r\nContent-Encoding: gzip\r\n\
             Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        .into_bytes();
        for piece in [first, second, &[]] {
            request.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            request.extend(piece);
            request.extend(b"\r\n");
        }
        let mut stream =
            TcpStream::connect(hooked.server.url.trim_start_matches("http://")).unwrap();
        stream.write_all(&request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        eventually("it is there", || hooked.app.taken().len() == number + 1);
        let taken = &hooked.app.taken()[number];
        assert_eq!(taken.body, body);
        assert_eq!(taken.headers["content-encoding"], "gzip");
    }
}

#[test]
fn nothing_is_acknowledged_when_the_disk_takes_no_more() {
    let hooked = Hooked::start("stripe", &json!({}));
    let Hooked { installation, server, app, .. } = hooked;
    drop(server);
    // A file that is as long as it may be is to the server what a full disk is.
    let mut command = Command::new("sh");
    let program = keyreeve();
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(program.get_program());
    let server = Server::try_start_as(command, &installation.data_dir(), &[]).unwrap();
    let url = format!("{}/hooks/in", server.url);
    let limit = |most: Option<u64>| {
        let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
        prlimit(pid, Resource::Fsize, Rlimit { current: most, maximum: None }).unwrap();
    };
    let body = |number: usize| {
        json!({ "id": format!("evt_{number}"), "pad": "x".repeat(200_000) }).to_string()
    };
    limit(Some(3 << 20));
    let mut acknowledged = Vec::new();
    let mut refused = Vec::new();
    for number in 0..40 {
        let (status, said) = sent(signed(&url, "stripe", SECRET, &body(number)));
        match status {
            200 => acknowledged.push(number),
            503 => refused.push(number),
            other => panic!("{other} {said}"),
        }
    }
    assert!(!acknowledged.is_empty() && refused.len() >= 5, "{acknowledged:?} {refused:?}");
    limit(None);
    let again = refused[0];
    eventually("it goes on when there is room", || {
        sent(signed(&url, "stripe", SECRET, &body(again))).0 == 200
    });
    acknowledged.push(again);
    let got = || {
        let taken = app.taken();
        acknowledged
            .iter()
            .filter(|number| {
                let id = format!("evt_{number}");
                taken.iter().any(|it| it.headers["keyreeve-event"] == id)
            })
            .count()
    };
    eventually("what was acknowledged is there", || got() == acknowledged.len());
    let kept = taken_ids(&app);
    for number in &refused[1..] {
        assert!(!kept.contains(&format!("evt_{number}")), "{number} was refused");
    }
}

fn taken_ids(app: &App) -> Vec<String> {
    app.taken().iter().map(|it| it.headers["keyreeve-event"].clone()).collect()
}
