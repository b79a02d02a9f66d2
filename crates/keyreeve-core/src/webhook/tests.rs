use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;
use crate::{Secret, encoding::hex};

const NOW_MS: i64 = 1_700_000_000_000;
const URL: &str = "https://app.example.com/hooks/in?x=1";

/// A secret that every form of keys takes.
const SECRET: &str = "whsec_RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ==";

fn secret_for(scheme: &str) -> &'static str {
    match scheme {
        "daily" => "RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ==",
        "postmark" => "user:EXAMPLE",
        _ => SECRET,
    }
}

/// A request that a scheme signs, and what it takes to verify it.
struct Case {
    scheme: Scheme,
    keys: Vec<SigningKey>,
    method: &'static str,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Case {
    fn signed(name: &str, content_type: &str, body: &[u8]) -> Option<Self> {
        Self::made(name, content_type, body, "msg_1", NOW_MS)
    }

    fn signed_at(name: &str, content_type: &str, body: &[u8], now_ms: i64) -> Option<Self> {
        Self::made(name, content_type, body, "msg_1", now_ms)
    }

    fn signed_id(name: &str, content_type: &str, body: &[u8], id: &str) -> Option<Self> {
        Self::made(name, content_type, body, id, NOW_MS)
    }

    fn made(name: &str, content_type: &str, body: &[u8], id: &str, now_ms: i64) -> Option<Self> {
        let scheme = named(name).unwrap();
        let secret = secret_for(name);
        let key = scheme.key(secret).ok()?;
        let signing = Signing { method: "POST", url: URL, content_type, body, id, now_ms };
        let signed = sign(&scheme, &key, &Secret::new(secret.to_owned()), &signing).ok()?;
        let mut headers = signed.headers;
        headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        Some(Self {
            scheme,
            keys: vec![key],
            method: "POST",
            url: signed.url,
            headers,
            body: signed.body,
        })
    }

    fn verify_at(&self, now_ms: i64) -> Result<Verified, Reason> {
        let lines: Vec<HeaderLine<'_>> = (self.headers.iter())
            .map(|(name, value)| HeaderLine { name, value: value.as_bytes() })
            .collect();
        let request = ReceivedRequest {
            method: self.method,
            url: &self.url,
            headers: &lines,
            body: &self.body,
            remote_ip: None,
            now_ms,
        };
        verify(&self.scheme, &self.keys, &Settings::default(), &request)
    }

    fn verify(&self) -> Result<Verified, Reason> {
        self.verify_at(NOW_MS)
    }
}

fn body_for(name: &str) -> (&'static str, Vec<u8>) {
    match name {
        "twilio" => (
            "application/x-www-form-urlencoded",
            b"MessageSid=SM1&MessageStatus=sent&Body=a+b%2Bc&To=%2B15550100".to_vec(),
        ),
        _ => (
            "application/json",
            format!(r#"{{"id":"evt_1","webhookTimestamp":{NOW_MS},"text":"a"}}"#).into_bytes(),
        ),
    }
}

fn all_that_sign() -> Vec<(&'static str, Case)> {
    names()
        .filter_map(|name| {
            let (content_type, body) = body_for(name);
            Case::signed(name, content_type, &body).map(|case| (name, case))
        })
        .collect()
}

#[test]
fn what_is_signed_is_verified() {
    let cases = all_that_sign();
    assert!(cases.len() >= 35, "{}", cases.len());
    for (name, case) in cases {
        let verified = case.verify().unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert!(!verified.replay_keys.is_empty(), "{name}");
        assert_eq!(verified.handshake, None, "{name}");
        assert_eq!(verified.sent_at_ms.is_some(), case.scheme.is_timed(), "{name}");
    }
}

#[test]
fn another_secret_does_not_fit_and_two_may() {
    for (name, mut case) in all_that_sign() {
        let other = match name {
            "daily" => "b3RoZXI=",
            _ => "whsec_b3RoZXI=",
        };
        let other = case.scheme.key(other).unwrap();
        let own = std::mem::replace(&mut case.keys, vec![other]);
        let refused = case.verify().unwrap_err();
        assert!(matches!(refused, Reason::BadSignature | Reason::BadToken), "{name}: {refused}");
        case.keys.extend(own);
        assert_eq!(case.verify().unwrap().key, 1, "{name}");
        case.keys.clear();
        assert_eq!(case.verify(), Err(Reason::ConfigError), "{name}");
    }
}

#[test]
fn a_header_stands_once() {
    for (name, mut case) in all_that_sign() {
        let count = case.headers.len();
        for index in 0..count {
            let line = case.headers[index].clone();
            if line.0 == "Content-Type" {
                continue;
            }
            case.headers.push(line);
            assert_eq!(case.verify(), Err(Reason::DuplicateHeader), "{name}");
            case.headers.pop();
        }
    }
}

#[test]
fn names_of_headers_are_of_any_case() {
    for (name, mut case) in all_that_sign() {
        for (header, _) in &mut case.headers {
            *header = header.to_ascii_uppercase();
        }
        assert!(case.verify().is_ok(), "{name}");
    }
}

#[test]
fn time_is_good_to_the_second_on_both_sides() {
    for (name, case) in all_that_sign() {
        let Some(tolerance) = case.scheme.tolerance_s() else {
            assert!(case.verify_at(NOW_MS + 365 * 86_400_000).is_ok(), "{name}");
            continue;
        };
        let edge = i64::from(tolerance) * 1_000;
        assert!(case.verify_at(NOW_MS + edge).is_ok(), "{name}");
        assert!(case.verify_at(NOW_MS - edge).is_ok(), "{name}");
        let late = case.verify_at(NOW_MS + edge + 1_000);
        assert_eq!(late, Err(Reason::StaleTimestamp), "{name}");
        let early = case.verify_at(NOW_MS - edge - 1_000);
        assert_eq!(early, Err(Reason::FutureTimestamp), "{name}");
    }
}

#[test]
fn time_is_told_only_behind_a_good_signature() {
    for (name, mut case) in all_that_sign() {
        if case.scheme.is_token_only() {
            continue;
        }
        case.keys = vec![
            case.scheme.key("whsec_b3RoZXI=").or_else(|_| case.scheme.key("b3RoZXI=")).unwrap(),
        ];
        let refused = case.verify_at(NOW_MS + 365 * 86_400_000);
        assert_eq!(refused, Err(Reason::BadSignature), "{name}");
    }
}

#[test]
fn a_body_that_is_not_text_is_verified_as_bytes() {
    for name in ["github", "stripe", "standard-webhooks", "slack", "square"] {
        let case = Case::signed(name, "application/octet-stream", b"\xff\x00\xfe").unwrap();
        assert!(case.verify().is_ok(), "{name}");
    }
}

/// Whether the second would be taken for another event than the first.
fn is_new(first: &Case, second: &Case, now_ms: i64) -> bool {
    let first = first.verify().unwrap();
    let second = second.verify_at(now_ms).unwrap();
    !second.replay_keys.iter().any(|key| first.replay_keys.contains(key))
}

#[test]
fn an_event_is_known_again_though_it_was_signed_anew() {
    for name in ["stripe", "standard-webhooks", "pagerduty"] {
        let body = br#"{"id":"evt_1","event":{"id":"evt_1"}}"#;
        let first = Case::signed(name, "application/json", body).unwrap();
        let later = Case::signed_at(name, "application/json", body, NOW_MS + 9_000).unwrap();
        if first.scheme.is_timed() {
            assert_ne!(first.headers, later.headers, "{name}");
        }
        assert!(!is_new(&first, &later, NOW_MS + 9_000), "{name}");
        let other = br#"{"id":"evt_2","event":{"id":"evt_2"}}"#;
        let other = Case::signed_id(name, "application/json", other, "msg_2").unwrap();
        assert!(is_new(&first, &other, NOW_MS), "{name}");
    }
}

#[test]
fn what_nobody_signed_makes_no_new_event() {
    for (name, first) in all_that_sign() {
        if first.scheme.is_token_only() {
            continue;
        }
        let again = || {
            let (content_type, body) = body_for(name);
            Case::signed(name, content_type, &body).unwrap()
        };
        assert!(!is_new(&first, &again(), NOW_MS), "{name}");
        if !first.scheme.signs_url() {
            let elsewhere = Case { url: format!("{URL}&more=1"), ..again() };
            assert!(!is_new(&first, &elsewhere, NOW_MS), "{name}: another address");
        }
        let mut more = again();
        more.headers.push(("X-Request-Id".to_owned(), "another".to_owned()));
        assert!(!is_new(&first, &more, NOW_MS), "{name}: another header");
        if name != "hubspot" {
            let put = Case { method: "PUT", ..again() };
            assert!(!is_new(&first, &put, NOW_MS), "{name}: another method");
        }
    }
}

#[test]
fn more_signatures_make_no_new_event() {
    for (name, header, more) in [
        ("stripe", "Stripe-Signature", ",v1=00"),
        ("elevenlabs", "ElevenLabs-Signature", ",v0=00"),
        ("pagerduty", "X-PagerDuty-Signature", ",v1=00"),
        ("standard-webhooks", "webhook-signature", " v1,AAAA"),
    ] {
        let (content_type, body) = body_for(name);
        let first = Case::signed(name, content_type, &body).unwrap();
        let mut second = Case::signed(name, content_type, &body).unwrap();
        let line = second.headers.iter_mut().find(|(name, _)| name == header).unwrap();
        line.1.push_str(more);
        assert!(!is_new(&first, &second, NOW_MS), "{name}");
    }
    let first = Case::signed("docusign", "application/json", b"{}").unwrap();
    let mut second = Case::signed("docusign", "application/json", b"{}").unwrap();
    second.headers.push(("X-DocuSign-Signature-7".to_owned(), "AAAA".to_owned()));
    assert!(!is_new(&first, &second, NOW_MS));
}

#[test]
fn a_form_that_is_written_otherwise_makes_no_new_event() {
    let form = "application/x-www-form-urlencoded";
    let first = Case::signed("twilio", form, b"Body=a&MessageSid=SM1&MessageStatus=sent").unwrap();
    for other in [
        &b"MessageStatus=sent&Body=a&MessageSid=SM1"[..],
        b"Body=a&Body=a&MessageSid=SM1&MessageStatus=sent",
        b"Body=a&MessageSid=SM1&MessageStatus=%73ent",
        b"Bo=dya&MessageSidS=M1&MessageStatus=sent",
    ] {
        let mut second =
            Case::signed("twilio", form, b"Body=a&MessageSid=SM1&MessageStatus=sent").unwrap();
        second.body = other.to_vec();
        assert!(!is_new(&first, &second, NOW_MS), "{}", String::from_utf8_lossy(other));
    }
}

#[test]
fn a_header_that_nobody_signed_makes_no_new_event() {
    let mut case = Case::signed("github", "application/json", b"{}").unwrap();
    let first = case.verify().unwrap();
    for (name, value) in &mut case.headers {
        if name == "X-GitHub-Delivery" {
            *value = "another".to_owned();
        }
    }
    let again = case.verify().unwrap();
    assert_ne!(first.event_id, again.event_id);
    assert!(again.replay_keys.iter().any(|key| first.replay_keys.contains(key)));
}

#[test]
fn public_keys_verify_and_do_not_sign() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
    let scheme = named("sendgrid").unwrap();
    let body = b"[{\"event\":\"open\"}]\r\n".to_vec();
    let message = [b"1700000000".as_slice(), &body].concat();
    let signature = STANDARD.encode(pair.sign(&random, &message).unwrap());
    let mut case = Case {
        keys: vec![scheme.key(&STANDARD.encode(pair.public_key())).unwrap()],
        scheme,
        method: "POST",
        url: URL.to_owned(),
        headers: vec![
            ("X-Twilio-Email-Event-Webhook-Signature".to_owned(), signature),
            ("X-Twilio-Email-Event-Webhook-Timestamp".to_owned(), "1700000000".to_owned()),
        ],
        body,
    };
    assert!(case.verify().is_ok());
    case.body.truncate(case.body.len() - 2);
    assert_eq!(case.verify(), Err(Reason::BadSignature));

    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let scheme = named("discord").unwrap();
    let body = b"{\"type\":2}".to_vec();
    let signature = hex(pair.sign(&[b"1700000000".as_slice(), &body].concat()).as_ref());
    let key = scheme.key(&hex(pair.public_key().as_ref())).unwrap();
    let signing = Signing {
        method: "POST",
        url: URL,
        content_type: "",
        body: &body,
        id: "x",
        now_ms: NOW_MS,
    };
    assert!(sign(&scheme, &key, &Secret::new(String::new()), &signing).is_err());
    let case = Case {
        keys: vec![key],
        scheme,
        method: "POST",
        url: URL.to_owned(),
        headers: vec![
            ("X-Signature-Ed25519".to_owned(), signature.clone()),
            ("X-Signature-Timestamp".to_owned(), "1700000000".to_owned()),
        ],
        body,
    };
    assert!(case.verify().is_ok());
    let upper = Case {
        headers: vec![
            ("X-Signature-Ed25519".to_owned(), signature.to_ascii_uppercase()),
            ("X-Signature-Timestamp".to_owned(), "1700000000".to_owned()),
        ],
        ..case
    };
    assert_eq!(upper.verify(), Err(Reason::BadSignature));
}

#[test]
fn what_a_generic_scheme_may_not_say_is_refused() {
    let usual = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::json!({ "header": "X-Signature" });
        change(&mut value);
        serde_json::from_value::<GenericScheme>(value).ok()?.scheme("generic-hmac").ok()
    };
    assert!(usual(&|_| {}).is_some());
    for (member, value) in [
        ("header", ""),
        ("header", "X Signature"),
        ("payload", "{timestamp}"),
        ("payload", "{timestamp}.{body}"),
        ("payload", "{secret}{body}"),
        ("payload", "{body"),
        ("payload", "body}{body}"),
        ("payload", "{id}{body}"),
        ("timestamp_header", "X-Timestamp"),
        ("timestamp_key", "t"),
        ("algorithm", "md5"),
        ("encoding", "base32"),
    ] {
        assert!(usual(&|it| it[member] = value.into()).is_none(), "{member} {value}");
    }
    let timed = usual(&|it| {
        it["payload"] = "{timestamp}.{body}".into();
        it["timestamp_header"] = "X-Timestamp".into();
        it["tolerance_s"] = 0.into();
    });
    assert!(timed.is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a byte of what a sender signs is another one, the request is refused.
    #[test]
    fn no_byte_of_what_is_signed_can_be_changed(at in 0_usize..10_000, byte in any::<u8>()) {
        for name in ["twilio", "stripe", "slack", "standard-webhooks", "svix", "line", "github", "hubspot"] {
            let (content_type, body) = body_for(name);
            let whole = Case::signed(name, content_type, &body).unwrap();

            let mut case = Case { body: whole.body.clone(), ..Case::signed(name, content_type, &body).unwrap() };
            let place = at % case.body.len();
            if case.body[place] != byte {
                case.body[place] = byte;
                prop_assert!(case.verify().is_err(), "{name}: body");
            }

            let mut case = Case::signed(name, content_type, &body).unwrap();
            let last = case.headers.len() - 2;
            let mut value = case.headers[last].1.clone().into_bytes();
            let place = at % value.len();
            if byte.is_ascii() && value[place] != byte {
                value[place] = byte;
                case.headers[last].1 = String::from_utf8(value).unwrap();
                prop_assert!(case.verify().is_err(), "{name}: {}", case.headers[last].1);
            }

            let mut case = Case::signed(name, content_type, &body).unwrap();
            let mut url = case.url.clone().into_bytes();
            let place = at % url.len();
            if case.scheme.signs_url() && byte.is_ascii() && url[place] != byte {
                url[place] = byte;
                case.url = String::from_utf8(url).unwrap();
                prop_assert!(case.verify().is_err(), "{name}: {}", case.url);
            }
        }
    }

    /// Nothing that anybody sends makes the engine fail in another way than with a reason.
    #[test]
    fn every_request_has_a_verdict(
        value in proptest::collection::vec(any::<u8>(), 0..80),
        body in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        for name in names() {
            let Ok(scheme) = named(name).ok_or(()) else { continue };
            let Ok(key) = scheme.key(secret_for(name)) else { continue };
            let (_, whole) = body_for(name);
            let Some(case) = Case::signed(name, "application/json", &whole) else { continue };
            let lines: Vec<HeaderLine<'_>> = case
                .headers
                .iter()
                .map(|(name, _)| HeaderLine { name, value: &value })
                .collect();
            let request = ReceivedRequest {
                method: "POST",
                url: URL,
                headers: &lines,
                body: &body,
                remote_ip: None,
                now_ms: NOW_MS,
            };
            let _ = verify(&scheme, &[key], &Settings::default(), &request);
        }
    }
}

#[test]
fn unsigned_probes_are_answered_and_nothing_else_is() {
    for (name, probe) in [("daily", &b"{\"test\":\"test\"}"[..]), ("woocommerce", b"webhook_id=17")]
    {
        let mut case = Case::signed(name, "application/json", b"{}").unwrap();
        case.headers.clear();
        case.body = probe.to_vec();
        let verified = case.verify().unwrap();
        assert!(verified.handshake.is_some() && verified.replay_keys.is_empty(), "{name}");
        case.body = b"{\"test\":\"other\"}".to_vec();
        assert_eq!(case.verify(), Err(Reason::MissingHeader), "{name}");
    }
}

#[test]
fn what_a_subaccount_of_mailgun_sends_is_signed_with_the_key_above_it() {
    let case = Case::signed("mailgun", "application/json", b"{\"event-data\":{}}").unwrap();
    let mut body: serde_json::Value = serde_json::from_slice(&case.body).unwrap();
    let own = body["signature"]["signature"].take();
    body["signature"]["signature"] = "00".repeat(32).into();
    let mut other = Case { body: body.to_string().into_bytes(), ..case };
    assert_eq!(other.verify(), Err(Reason::BadSignature));
    body["signature"]["parent-signature"] = own;
    other.body = body.to_string().into_bytes();
    assert!(other.verify().is_ok());
}
