//! Whoever finds the address of a source can send anything there.
#![no_main]

use std::sync::LazyLock;

use keyreeve_core::webhook::{
    self, Certificate, HeaderLine, ReceivedRequest, Scheme, Settings, SigningKey,
    certificate_needed, preview, verify,
};
use libfuzzer_sys::fuzz_target;

const URL: &str = "https://app.example.com/hooks/in?bodySHA256=00&token=a";
const HEADERS: [&str; 30] = [
    "X-Twilio-Signature",
    "X-Twilio-Webhooks-Signature-Settings",
    "Stripe-Signature",
    "X-Hub-Signature-256",
    "X-Hub-Signature",
    "X-Slack-Signature",
    "X-Slack-Request-Timestamp",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "svix-signature",
    "X-Shopify-Hmac-Sha256",
    "X-Twilio-Email-Event-Webhook-Signature",
    "X-Twilio-Email-Event-Webhook-Timestamp",
    "X-Signature-Ed25519",
    "X-Signature-Timestamp",
    "PAYPAL-TRANSMISSION-ID",
    "PAYPAL-TRANSMISSION-TIME",
    "PAYPAL-TRANSMISSION-SIG",
    "PAYPAL-CERT-URL",
    "PAYPAL-AUTH-ALGO",
    "Paddle-Signature",
    "X-PagerDuty-Signature",
    "X-DocuSign-Signature-1",
    "X-DocuSign-Signature-99",
    "X-HubSpot-Signature-v3",
    "X-HubSpot-Request-Timestamp",
    "X-Webhook-Signature",
    "Authorization",
    "Content-Type",
];

static SCHEMES: LazyLock<Vec<(Scheme, Vec<SigningKey>)>> = LazyLock::new(|| {
    let secrets = [
        "whsec_RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ==",
        "RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ==",
        "arn:aws:sns:us-west-2:123456789012:MyTopic",
        "2a64d5f6c537e130a209fdadddb59966962129c903c67243bc4d80190426d538",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
    ];
    let schemes = webhook::names().filter_map(webhook::named);
    let with_keys = schemes.map(|scheme| {
        let keys: Vec<_> = secrets.iter().filter_map(|secret| scheme.key(secret).ok()).collect();
        assert!(!keys.is_empty(), "{}", scheme.name());
        (scheme, keys)
    });
    with_keys.collect()
});

// A byte that chooses the scheme; then lines, each with a byte that chooses its name; then, behind an
// empty line, the body.
fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let (scheme, keys) = &SCHEMES[usize::from(*choice) % SCHEMES.len()];
    let mut lines = Vec::new();
    let mut rest = rest;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some((name, value)) = line.split_first() else { break };
        lines.push(HeaderLine { name: HEADERS[usize::from(*name) % HEADERS.len()], value });
    }
    let topics = ["arn:aws:sns:us-west-2:123456789012:MyTopic".to_owned()];
    let settings = Settings {
        verify_token: Some(b"EXAMPLE"),
        topics: &topics,
        allow_sha1: true,
        event_id: Some("data.id"),
        order_by: Some("header:X-Webhook-Signature"),
        ..Settings::default()
    };
    for content_type in [None, Some("application/x-www-form-urlencoded")] {
        let _ = preview(content_type, rest);
    }
    let _ = Certificate::trusted(rest);
    for method in ["POST", "GET"] {
        let request = ReceivedRequest {
            method,
            url: URL,
            headers: &lines,
            body: rest,
            remote_ip: None,
            now_ms: 1_700_000_000_000,
        };
        let _ = certificate_needed(scheme, &request);
        if let Ok(verified) = verify(scheme, keys, &settings, &request) {
            assert!(verified.key < keys.len());
        }
    }
});
