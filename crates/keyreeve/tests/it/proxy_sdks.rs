//! The vendors' own clients, and curl, pointed at the proxy: they have a key of ours and none of the vendor's.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    proxy::Proxied,
    service::Service,
    support::{run_json, text},
    vault_clients::python_with,
};

const STRIPE: &str = "sk_test_EXAMPLEexampleEXAMPLE01";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TWILIO: &str = "00112233445566778899aabbccddeeff";
const ANTHROPIC: &str = "sk-ant-api03-EXAMPLEexample0123456789EXAMPLEexample0123456789EXAMPLEexample\
                         0123456789EXAMPLEexample0123456789AA";

/// What has to be there.
const PACKAGES: &str = "stripe, twilio, anthropic";

/// What a program does that has a key of ours for everything.
const CALLS: &str = r#"
import json, sys
url, key = sys.argv[1:]
out = {}

import stripe
client = stripe.StripeClient(key, base_addresses={"api": url + "/proxy/stripe"}, max_network_retries=0)
out["stripe"] = client.v1.customers.create(params={"email": "a@example.com"}).id

from twilio.rest import Client
client = Client("AC0123456789abcdef0123456789abcdef", key)
client.api.base_url = url + "/proxy/twilio"
out["twilio"] = client.messages.create(to="+15005550006", from_="+15005550001", body="hello").sid

import anthropic
client = anthropic.Anthropic(api_key=key, base_url=url + "/proxy/anthropic", max_retries=0)
asked = dict(model="made-up", max_tokens=10, messages=[{"role": "user", "content": "hi"}])
out["anthropic"] = client.messages.create(**asked).content[0].text
client = anthropic.Anthropic(api_key=key, base_url=url + "/proxy/anthropic-events", max_retries=0)
with client.messages.stream(**asked) as stream:
    out["streamed"] = "".join(stream.text_stream)
print(json.dumps(out))
"#;

/// One message, in the events that the API of Anthropic sends.
fn events() -> String {
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "content": [],
                          "model": "made-up", "stop_reason": null, "stop_sequence": null,
                          "usage": { "input_tokens": 1, "output_tokens": 1 } });
    let delta = |text: &str| json!({ "index": 0, "delta": { "type": "text_delta", "text": text } });
    let end = json!({ "delta": { "stop_reason": "end_turn", "stop_sequence": null },
                      "usage": { "output_tokens": 2 } });
    let mut all = String::new();
    for (kind, mut data) in [
        ("message_start", json!({ "message": message })),
        (
            "content_block_start",
            json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
        ),
        ("content_block_delta", delta("hel")),
        ("content_block_delta", delta("lo")),
        ("content_block_stop", json!({ "index": 0 })),
        ("message_delta", end),
        ("message_stop", json!({})),
    ] {
        data["type"] = json!(kind);
        all.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
    }
    all
}

/// The vendors' APIs, as far as their clients look at them here.
fn vendors(service: &Service, events_service: &Service) {
    let json = "application/json";
    let customer = json!({ "id": "cus_made_up", "object": "customer", "email": "a@example.com" });
    service.says("/v1/customers", json, &customer.to_string());
    let sent = json!({ "sid": "SM0123456789abcdef0123456789abcdef", "status": "queued",
                       "body": "hello", "to": "+15005550006" });
    service.says(&format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"), json, &sent.to_string());
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant",
                          "model": "made-up", "content": [{ "type": "text", "text": "hello" }],
                          "stop_reason": "end_turn", "stop_sequence": null,
                          "usage": { "input_tokens": 1, "output_tokens": 1 } });
    service.says("/v1/messages", json, &message.to_string());
    events_service.says("/v1/messages", "text/event-stream", &events());
}

/// Connections to providers of the catalogue, whose fakes are on this machine.
fn connect_vendors(proxied: &Proxied, events_service: &Service) {
    proxied.write("staging/stripe", &json!({ "STRIPE_SECRET_KEY": STRIPE }));
    proxied.write("staging/twilio", &json!({ "account_sid": ACCOUNT, "auth_token": TWILIO }));
    proxied.write("staging/anthropic", &json!({ "api_key": ANTHROPIC }));
    for (name, provider, url) in [
        ("stripe", "stripe", proxied.service.url()),
        ("twilio", "twilio", proxied.service.url()),
        ("anthropic", "anthropic", proxied.service.url()),
        ("anthropic-events", "anthropic", events_service.url()),
    ] {
        let more = json!({ "provider": provider, "secret": format!("staging/{provider}"),
                           "base_url": url, "inject": null });
        proxied.connect(name, &more);
    }
}

fn run_python(python: &Path, proxied: &Proxied, key: &str) -> Value {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command.args(["-c", CALLS, proxied.server.url.as_str(), key]);
    // Nothing of the environment: no key of a vendor is in it, and no other proxy.
    command.env_clear().env("HOME", home.path()).env("NO_PROXY", "*").current_dir(home.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_vendors_clients_work_without_a_key_of_the_vendor() {
    let Some(python) = python_with(PACKAGES) else { return };
    let proxied = Proxied::start();
    let events_service = Service::start();
    vendors(&proxied.service, &events_service);
    connect_vendors(&proxied, &events_service);
    let out = run_python(&python, &proxied, &proxied.key);
    assert_eq!(out["stripe"], "cus_made_up");
    assert_eq!(out["twilio"], "SM0123456789abcdef0123456789abcdef");
    assert_eq!((&out["anthropic"], &out["streamed"]), (&json!("hello"), &json!("hello")));

    let mut seen = proxied.service.seen();
    seen.extend(events_service.seen());
    let with = |path: &str| seen.iter().filter(|one| one.path() == path).collect::<Vec<_>>();
    let stripe = with("/v1/customers");
    assert_eq!(stripe.len(), 1);
    assert_eq!(stripe[0].header("authorization"), format!("Bearer {STRIPE}"));
    assert_eq!(stripe[0].text(), "email=a%40example.com");
    let twilio = with(&format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    assert_eq!(twilio.len(), 1);
    let pair = BASE64_STANDARD.encode(format!("{ACCOUNT}:{TWILIO}"));
    assert_eq!(twilio[0].header("authorization"), format!("Basic {pair}"));
    let anthropic = with("/v1/messages");
    assert_eq!(anthropic.len(), 2);
    for one in anthropic {
        assert_eq!(one.header("x-api-key"), ANTHROPIC);
        assert!(one.all("authorization").is_empty(), "{one:?}");
    }
    for one in &seen {
        assert!(!format!("{one:?}").contains(&proxied.key), "{one:?}");
    }
}

/// Where curl is; `None`, said loudly, where it is not installed.
fn curl() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join("curl")).find(|it| it.is_file());
    if found.is_none() {
        let _ = writeln!(io::stderr(), "\nSKIPPED: curl is not installed\n");
    }
    found
}

#[test]
fn curl_calls_as_the_guide_has_it() {
    let Some(curl) = curl() else { return };
    let proxied = Proxied::start();
    let data_dir = &proxied.server.data_dir;
    proxied.write("production/echo", &json!({ "token": "made-up-for-the-guide" }));
    let url = proxied.service.url();
    run_json(
        &[
            "connection",
            "add",
            "guide",
            "--base-url",
            &url,
            "--allow-internal",
            "--allow-plaintext",
            "--secret",
            "production/echo",
            "--inject",
            "header:Authorization=Bearer {token}",
        ],
        data_dir,
    );
    let create = ["key", "create", "--name", "web", "--role", "client", "--connection", "guide"];
    let made = run_json(&create, data_dir);
    let key = made["key"].as_str().unwrap();
    let call = |connection: &str, header: &str| {
        let mut command = Command::new(&curl);
        command.env_clear().args(["--silent", "--max-time", "30", "--header", header]);
        command.args(["--write-out", "\n%{http_code}"]);
        command.arg(proxied.url(&format!("{connection}/some/path?x=1")));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    };
    for header in [format!("Authorization: Bearer {key}"), format!("X-Keyreeve-Key: {key}")] {
        let (status, body) = call("guide", &header);
        assert_eq!(status, "200", "{body}");
        let said: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(said["target"], "/some/path?x=1");
        assert!(!body.contains("made-up-for-the-guide"), "{body}");
        let seen = proxied.service.last();
        assert_eq!(seen.header("authorization"), "Bearer made-up-for-the-guide");
        // It may call through that one and nothing else.
        assert_eq!(call("echo", &header).0, "403");
    }
    assert_eq!(call("guide", "X-Other: x").0, "401");
    let listed = run_json(&["connection", "list"], data_dir);
    assert!(listed.to_string().contains("\"guide\""), "{listed}");
}
