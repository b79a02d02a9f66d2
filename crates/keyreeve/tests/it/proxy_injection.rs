//! Every way to put a credential into a request, and that it takes the place of whatever the client put
//! there.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{
    other_stores::{Moto, REGION},
    proxy::{Proxied, SECRET, answer},
    service::Seen,
    support::refusal,
    vault_clients::program,
};

/// What the client makes up, and what must get nowhere.
const EVIL: &str = "evil-of-the-client";
const USER: &str = "account-4711";
/// Signs and is never sent.
const SIGNING: &str = "canary/signing+key/made-up";

impl Proxied {
    /// With a secret of several fields and a connection that puts it in this way.
    fn injecting(&self, name: &str, inject: &Value) {
        self.connect(name, &json!({ "secret": "fields", "inject": inject }));
    }

    fn with_fields() -> Self {
        let proxied = Self::start();
        let fields = json!({ "token": SECRET, "user": USER, "signing": SIGNING });
        proxied.write("fields", &fields);
        proxied
    }

    /// What arrives of a request.
    fn arrives(&self, request: RequestBuilder) -> Seen {
        self.service.forget();
        let answer = answer(request);
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut seen = self.service.seen();
        assert_eq!(seen.len(), 1);
        let seen = seen.remove(0);
        assert!(seen.is_whole && !format!("{seen:?}").contains(&self.key), "{seen:?}");
        seen
    }
}

/// A request with something made up in every slot that there is.
fn made_up(request: RequestBuilder) -> RequestBuilder {
    let mut request = request;
    for name in ["authorization", "x-api-key", "x-account", "x-signature", "x-time", "cookie"] {
        request = request.header(name, format!("{EVIL}=1"));
    }
    for name in ["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"] {
        request = request.header(name, EVIL);
    }
    // Whoever could have a header dropped on the way could have ours dropped.
    request.header("connection", "close, authorization, x-api-key, x-account, x-signature, cookie")
}

#[test]
fn headers_are_ours_alone() {
    let proxied = Proxied::with_fields();
    let basic = BASE64_STANDARD.encode(format!("{USER}:{SECRET}"));
    for (inject, expected) in [
        (
            json!({ "kind": "bearer", "token": "{token}" }),
            vec![("authorization", format!("Bearer {SECRET}"))],
        ),
        (
            json!({ "kind": "basic", "user": "{user}", "password": "{token}" }),
            vec![("authorization", format!("Basic {basic}"))],
        ),
        (
            json!({ "kind": "headers",
                    "headers": { "X-Api-Key": "{token}", "X-Account": "account {user}" } }),
            vec![("x-api-key", SECRET.to_owned()), ("x-account", format!("account {USER}"))],
        ),
        (
            json!({ "kind": "cookie", "cookies": { "session": "{token}", "user": "{user}" } }),
            vec![("cookie", format!("session={SECRET}; user={USER}"))],
        ),
    ] {
        let kind = inject["kind"].as_str().unwrap();
        proxied.injecting(kind, &inject);
        let seen = proxied.arrives(made_up(proxied.request("GET", &format!("{kind}/x"))));
        for (name, value) in expected {
            assert_eq!(seen.header(name), value, "{kind}");
        }
        // Cookies are the browser's, for this server.
        assert!(kind == "cookie" || seen.all("cookie").is_empty(), "{seen:?}");
    }
}

#[test]
fn parameters_and_paths_are_ours_alone() {
    let proxied = Proxied::with_fields();
    let query = json!({ "kind": "query", "parameters": { "key": "{token}", "user": "{user}" } });
    proxied.injecting("query", &query);
    let evil =
        format!("query/tiles?key={EVIL}&z=1&%6b%65y={EVIL}&KEY={EVIL}&user&user={EVIL}&q=key");
    let seen = proxied.arrives(proxied.request("GET", &evil));
    let ours = format!("key=canary%2F4be1%2B9f2c%3Dmade-up&user={USER}");
    assert_eq!(seen.target, format!("/tiles?z=1&q=key&{ours}"));
    let seen = proxied.arrives(proxied.request("GET", "query/tiles"));
    assert_eq!(seen.target, format!("/tiles?{ours}"));

    proxied.injecting("path", &json!({ "kind": "path", "prefix": "/bot{user}" }));
    let seen = proxied.arrives(proxied.request("GET", "path/getMe?a=1"));
    assert_eq!(seen.target, format!("/bot{USER}/getMe?a=1"));
    let below = json!({ "secret": "fields", "inject": { "kind": "path", "prefix": "/bot{user}" },
                        "base_url": format!("{}/v1", proxied.service.url()) });
    proxied.connect("below", &below);
    let seen = proxied.arrives(proxied.request("GET", "below/getMe"));
    assert_eq!(seen.target, format!("/v1/bot{USER}/getMe"));
}

#[test]
fn fields_of_bodies_are_ours_alone() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let proxied = Proxied::with_fields();
    proxied.injecting("form", &json!({ "kind": "form", "fields": { "token": "{token}" } }));
    let body = format!("a=1&token={EVIL}&to%6ben={EVIL}&b=2");
    let request = proxied.request("POST", "form/x").header("content-type", FORM).body(body);
    let seen = proxied.arrives(request);
    assert_eq!(seen.text(), "a=1&b=2&token=canary%2F4be1%2B9f2c%3Dmade-up");
    assert_eq!(seen.header("content-length"), seen.size.to_string());
    // Nothing is a form, too.
    let seen = proxied.arrives(proxied.request("POST", "form/x"));
    assert_eq!(seen.text(), "token=canary%2F4be1%2B9f2c%3Dmade-up");
    assert_eq!(seen.header("content-type"), FORM);

    let pointers = json!({ "/auth/token": "{token}", "/new/user": "{user}" });
    proxied.injecting("json", &json!({ "kind": "json", "pointers": pointers }));
    let body = json!({ "auth": { "token": EVIL, "kept": [1, 2.5, null] }, "id": u64::MAX });
    let seen = proxied.arrives(proxied.request("POST", "json/x").json(&body));
    let expected = json!({ "auth": { "token": SECRET, "kept": [1, 2.5, null] },
                           "new": { "user": USER }, "id": u64::MAX });
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), expected);
    assert_eq!(seen.header("content-length"), seen.size.to_string());
}

#[test]
fn a_body_that_the_credential_cannot_go_into_is_refused() {
    let proxied = Proxied::with_fields();
    proxied.injecting("form", &json!({ "kind": "form", "fields": { "token": "{token}" } }));
    proxied.injecting("json", &json!({ "kind": "json", "pointers": { "/a/b": "{token}" } }));
    proxied.connect(
        "small",
        &json!({ "inject": { "kind": "json", "pointers": { "/token": "{token}" } },
                 "limits": { "max_buffered_bytes": 100 } }),
    );
    let json = "application/json";
    let long = json!({ "long": "l".repeat(100) }).to_string();
    for (connection, kind, body, expected) in [
        ("form", "text/plain", "a=1", "400 invalid_request"),
        ("form", json, "{}", "400 invalid_request"),
        ("json", "text/plain", "{}", "400 invalid_request"),
        ("json", json, "", "400 invalid_request"),
        ("json", json, "{", "400 invalid_request"),
        ("json", json, "[]", "400 invalid_request"),
        ("json", json, "{\"a\":1}", "400 invalid_request"),
        ("small", json, long.as_str(), "413 payload_too_large"),
    ] {
        let request = proxied.request("POST", &format!("{connection}/x"));
        let request = request.header("content-type", kind).body(body.to_owned());
        assert_eq!(answer(request).code(), expected, "{connection} {kind} {body}");
    }
    let encoded = proxied.request("POST", "json/x").header("content-type", json);
    let encoded = encoded.header("content-encoding", "gzip").body("{}");
    assert_eq!(answer(encoded).code(), "400 invalid_request");
    assert!(proxied.service.seen().is_empty(), "nothing is sent without the credential");
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn keyed(algorithm: hmac::Algorithm, key: &[u8], message: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes()).as_ref().to_vec()
}

#[test]
fn an_hmac_is_that_of_the_request_that_arrives() {
    let proxied = Proxied::with_fields();
    let one = json!({ "kind": "hmac", "key": "{signing}",
                      "message": "{timestamp}.{method}.{path}.{query}.{body}",
                      "header": "X-Signature", "value": "t={timestamp},v1={signature}",
                      "timestamp_header": "X-Time" });
    let other = json!({ "kind": "hmac", "key": "{signing}", "algorithm": "sha512",
                        "encoding": "base64", "message": "{method}\n{path}\n{body_sha256}",
                        "header": "X-Signature" });
    proxied.injecting("one", &one);
    proxied.injecting("other", &other);
    for body in ["", "a body"] {
        let sent = made_up(proxied.request("PUT", "one/%61/b?z=1&a=2")).body(body);
        let seen = proxied.arrives(sent);
        assert_eq!((seen.target.as_str(), seen.text().as_str()), ("/a/b?z=1&a=2", body));
        let time = seen.header("x-time");
        let message = format!("{time}.PUT./a/b.z=1&a=2.{body}");
        let signature = hex(&keyed(hmac::HMAC_SHA256, SIGNING.as_bytes(), &message));
        assert_eq!(seen.header("x-signature"), format!("t={time},v1={signature}"));

        let seen = proxied.arrives(made_up(proxied.request("POST", "other/x")).body(body));
        let message = format!("POST\n/x\n{}", sha256(body.as_bytes()));
        let signature = keyed(hmac::HMAC_SHA512, SIGNING.as_bytes(), &message);
        assert_eq!(seen.header("x-signature"), BASE64_STANDARD.encode(signature));
        assert!(!format!("{seen:?}").contains(SIGNING), "what signs is not sent");
    }
}

/// The signature that AWS expects of a request, by
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>. Path and
/// query must be such that nothing in them is encoded or out of order.
fn aws_signature(seen: &Seen, signed: &str, service: &str, payload: &str) -> String {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let mut request = format!("{}\n{path}\n{query}\n", seen.method);
    for name in signed.split(';') {
        request.push_str(&format!("{name}:{}\n", seen.header(name)));
    }
    request.push_str(&format!("\n{signed}\n{payload}"));
    let (date, scope, key) = aws_key(seen, service);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(request.as_bytes()));
    hex(&keyed(hmac::HMAC_SHA256, &key, &text))
}

/// When, for what and with what a request is signed.
fn aws_key(seen: &Seen, service: &str) -> (String, String, Vec<u8>) {
    let date = seen.header("x-amz-date").to_owned();
    let scope = format!("{}/{REGION}/{service}/aws4_request", &date[..8]);
    let mut key = format!("AWS4{SIGNING}").into_bytes();
    for part in scope.split('/') {
        key = keyed(hmac::HMAC_SHA256, &key, part);
    }
    (date, scope, key)
}

#[test]
fn a_signature_for_aws_takes_the_place_of_the_clients() {
    let proxied = Proxied::with_fields();
    let inject = json!({ "kind": "aws_sigv4", "access_key_id": "{user}",
                         "secret_access_key": "{signing}", "region": REGION,
                         "service": "execute-api" });
    proxied.injecting("aws", &inject);
    for (method, body) in [("GET", ""), ("POST", "a body")] {
        let path = format!("aws/v1/things?a=1&X-Amz-Signature={EVIL}&x-amz-credential={EVIL}&z=2");
        let request = made_up(proxied.request(method, &path));
        let request = request.header("content-type", "text/plain").header("x-amz-target", "T.Do");
        let seen = proxied.arrives(request.body(body));
        assert_eq!(seen.target, "/v1/things?a=1&z=2");
        assert!(!seen.header("x-amz-date").contains(EVIL));
        assert!(seen.all("x-amz-security-token").is_empty(), "{seen:?}");
        let authorization = seen.header("authorization");
        let part = |name: &str| {
            let mut parts = authorization.split([' ', ',']);
            parts.find_map(|part| part.strip_prefix(name)).unwrap_or_default()
        };
        assert!(part("Credential=").starts_with(USER), "{authorization}");
        let signed = part("SignedHeaders=");
        for name in ["host", "x-amz-date", "x-amz-target", "content-type"] {
            assert!(signed.split(';').any(|it| it == name), "{name}: {signed}");
        }
        let expected = aws_signature(&seen, signed, "execute-api", &sha256(&seen.body));
        assert_eq!(part("Signature="), expected, "{authorization}");
        assert!(!format!("{seen:?}").contains(SIGNING), "what signs is not sent");
    }
}

#[test]
fn a_long_body_for_s3_is_signed_piece_by_piece_while_it_passes() {
    let proxied = Proxied::with_fields();
    let inject = json!({ "kind": "aws_sigv4", "access_key_id": "{user}",
                         "secret_access_key": "{signing}", "region": REGION, "service": "s3" });
    let more = json!({ "secret": "fields", "inject": inject,
                       "limits": { "max_buffered_bytes": 1000 } });
    proxied.connect("s3", &more);
    let body: Vec<u8> = (0..200_000_u32).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
    let request = proxied.request("PUT", "s3/bucket/object").header("content-encoding", "br");
    let seen = proxied.arrives(request.body(body.clone()));
    assert_eq!(seen.header("x-amz-decoded-content-length"), "200000");
    assert_eq!(seen.header("content-length"), seen.size.to_string());
    assert_eq!(seen.header("content-encoding"), "aws-chunked,br");
    let payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    assert_eq!(seen.header("x-amz-content-sha256"), payload);
    let authorization = seen.header("authorization");
    let (_, signed) = authorization.split_once("SignedHeaders=").unwrap();
    let (signed, signature) = signed.split_once(", Signature=").unwrap();
    assert_eq!(signature, aws_signature(&seen, signed, "s3", payload), "{authorization}");
    // Each piece is signed over the one before, and together they are what was sent.
    let (date, scope, key) = aws_key(&seen, "s3");
    let (mut before, mut rest, mut received) = (signature.to_owned(), &seen.body[..], Vec::new());
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        let (size, signature) = head.split_once(";chunk-signature=").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = &rest[end + 2..end + 2 + size];
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{date}\n{scope}\n{before}\n{}\n{}",
            sha256(b""),
            sha256(data)
        );
        assert_eq!(signature, hex(&keyed(hmac::HMAC_SHA256, &key, &text)));
        signature.clone_into(&mut before);
        received.extend_from_slice(data);
        assert_eq!(&rest[end + 2 + size..end + 4 + size], b"\r\n");
        rest = &rest[end + 4 + size..];
        if size == 0 {
            break;
        }
    }
    assert!(rest.is_empty() && received == body);
    // A short one is signed whole; one that the client has cut up by itself is not taken.
    let seen = proxied.arrives(proxied.request("PUT", "s3/bucket/short").body("short"));
    assert_eq!(seen.header("x-amz-content-sha256"), sha256(b"short"));
    proxied.service.forget();
    let cut = proxied.request("PUT", "s3/bucket/cut").header("content-encoding", "aws-chunked");
    let refused = answer(cut.body("5;chunk-signature=0\r\nshort\r\n0;chunk-signature=0\r\n\r\n"));
    assert_eq!(refused.code(), "400 invalid_request");
    assert!(proxied.service.seen().is_empty());
    // Other services take no pieces.
    let other = json!({ "secret": "fields", "inject": { "kind": "aws_sigv4",
        "access_key_id": "{user}", "secret_access_key": "{signing}", "region": REGION,
        "service": "execute-api" }, "limits": { "max_buffered_bytes": 1000 } });
    proxied.connect("other", &other);
    let refused = answer(proxied.request("PUT", "other/x").body(body));
    assert_eq!(refused.code(), "413 payload_too_large");
}

#[test]
fn aws_as_moto_plays_it_takes_what_was_signed_here() {
    let Some(moto_server) = program("KEYREEVE_MOTO", "moto_server") else { return };
    let moto = Moto::start(&moto_server);
    let proxied = Proxied::start();
    let (id, secret) = &moto.key;
    proxied.write("aws", &json!({ "id": id, "secret": secret }));
    proxied.write("wrong", &json!({ "id": id, "secret": "made-up-and-wrong-secret" }));
    let inject = json!({ "kind": "aws_sigv4", "access_key_id": "{id}",
                         "secret_access_key": "{secret}", "region": REGION,
                         "service": "secretsmanager" });
    for name in ["aws", "wrong"] {
        proxied.connect(name, &json!({ "secret": name, "base_url": moto.url, "inject": inject }));
    }
    let ask = |connection: &str, call: &str, body: Value| {
        let request = proxied.request("POST", &format!("{connection}/"));
        let request = request.header("x-amz-target", format!("secretsmanager.{call}"));
        // What the client signed with is of no interest.
        let request = request.header("authorization", "AWS4-HMAC-SHA256 Credential=evil/x");
        let request = request.header("x-amz-security-token", EVIL);
        answer(request.header("content-type", "application/x-amz-json-1.1").body(body.to_string()))
    };
    let body = json!({ "Name": "team/db", "SecretString": "hello" });
    assert_eq!(ask("aws", "CreateSecret", body).status, 200);
    let got = ask("aws", "GetSecretValue", json!({ "SecretId": "team/db" }));
    assert_eq!((got.status, &got.json()["SecretString"]), (200, &json!("hello")));
    let refused = ask("wrong", "GetSecretValue", json!({ "SecretId": "team/db" }));
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert!(!refused.body.contains("hello"), "{refused:?}");
}

#[test]
fn how_a_credential_goes_in_is_judged_when_the_connection_is_made() {
    let proxied = Proxied::with_fields();
    for inject in [
        json!({ "kind": "azure_shared_key", "account": "{user}", "key": "{signing}" }),
        json!({ "kind": "connection_url", "url": "{token}" }),
        json!({ "kind": "bearer" }),
        json!({ "kind": "bearer", "token": "{token}", "user": "{user}" }),
        json!({ "kind": "bearer", "token": "{no_such_field}" }),
        json!({ "kind": "headers", "headers": {} }),
        json!({ "kind": "no-such-kind" }),
        json!("bearer"),
    ] {
        let more = json!({ "secret": "fields", "inject": inject });
        let refused = proxied.try_connect("refused", &more);
        assert_eq!(refusal(refused), "invalid_request", "{inject}");
    }
    let missing = json!({ "secret": "no/such/secret" });
    assert_eq!(refusal(proxied.try_connect("x", &missing)), "invalid_request");
    // What cannot stand in a header does not get there.
    proxied.write("odd", &json!({ "token": "two\r\nlines: canary" }));
    let odd = proxied.try_connect("odd", &json!({ "secret": "odd" }));
    assert_eq!(refusal(odd), "invalid_request");
    // Nor does it if it came later.
    proxied.write("later", &json!({ "token": SECRET }));
    proxied.connect("later", &json!({ "secret": "later" }));
    assert_eq!(proxied.get("later/x").status, 200);
    proxied.write("later", &json!({ "token": "two\r\nlines: canary" }));
    proxied.service.forget();
    assert_eq!(proxied.get("later/x").code(), "503 credential_unavailable");
    assert!(proxied.service.seen().is_empty());
}
