//! Requests that the senders' own libraries sign are accepted, and not a byte of them can be changed.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    support::{keyreeve, text},
    vault_clients::python_with,
};

/// What has to be there.
const PACKAGES: &str = "stripe, twilio, slack_sdk, svix, standardwebhooks, linebot";

/// Of each sender the request as it signs it, and a thousand with one byte changed, as test vectors.
const SIGN: &str = r#"
import base64, datetime, hashlib, hmac, json, random, sys
random.seed(int(sys.argv[1]))
NOW = 1700000000
SECRET = "whsec_RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ=="
URL = "https://hooks.example.com/in?source=1"
event = json.dumps({"id": "evt_1", "text": "caf\u00e9", "amount": 12.50})
cases = []

def case(name, secret, headers, body, url=URL, changes=("body", "headers")):
    base = dict(provider=name, secret=secret, method="POST", url=url, headers=headers,
                body=base64.b64encode(body).decode(), now=NOW)
    cases.append(dict(base, id=name, valid=True))
    for number in range(1000):
        changed = dict(base, id=f"{name}-{number}", valid=False)
        what = random.choice(changes)
        if what == "body":
            at = random.randrange(len(body))
            other = random.choice([byte for byte in range(256) if byte != body[at]])
            changed["body"] = base64.b64encode(body[:at] + bytes([other]) + body[at + 1:]).decode()
        else:
            place = random.choice([key for key in headers if key != "Content-Type"]) if what == "headers" else None
            text = headers[place] if place else url
            at = random.randrange(len(text))
            other = random.choice([chr(code) for code in range(33, 127) if chr(code) != text[at]])
            text = text[:at] + other + text[at + 1:]
            if place:
                changed["headers"] = dict(headers, **{place: text})
            else:
                changed["url"] = text
        cases.append(changed)

from urllib.parse import urlencode
from twilio.request_validator import RequestValidator
form = {"MessageSid": "SM1", "MessageStatus": "delivered", "Body": "a b+c &=caf\u00e9", "Empty": ""}
signature = RequestValidator("token").compute_signature(URL, form)
case("twilio", "token", {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature},
     urlencode(form).encode(), changes=("body", "headers", "url"))

import stripe
signature = stripe.WebhookSignature._compute_signature(f"{NOW}.{event}", SECRET)
header = f"t={NOW},v1={signature}"
stripe.WebhookSignature.verify_header(event, header, SECRET)
case("stripe", SECRET, {"Stripe-Signature": header}, event.encode())

from slack_sdk.signature import SignatureVerifier
signature = SignatureVerifier("slack").generate_signature(timestamp=str(NOW), body=event)
case("slack", "slack", {"X-Slack-Request-Timestamp": str(NOW), "X-Slack-Signature": signature}, event.encode())

at = datetime.datetime.fromtimestamp(NOW, tz=datetime.timezone.utc)
import svix.webhooks, standardwebhooks.webhooks
signature = svix.webhooks.Webhook(SECRET).sign("msg_1", at, event)
case("svix", SECRET, {"svix-id": "msg_1", "svix-timestamp": str(NOW), "svix-signature": signature}, event.encode())
signature = standardwebhooks.webhooks.Webhook(SECRET).sign("msg_1", at, event)
case("standard-webhooks", SECRET,
     {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signature}, event.encode())

from linebot.v3.webhook import SignatureValidator
digest = hmac.new(b"channel", event.encode(), hashlib.sha256).digest()
signature = base64.b64encode(digest).decode()
assert SignatureValidator("channel").validate(event, signature)
case("line", "channel", {"x-line-signature": signature}, event.encode())
json.dump(cases, sys.stdout)
"#;

#[test]
fn what_libraries_sign_is_accepted_and_no_byte_of_it_can_be_changed() {
    let Some(python) = python_with(PACKAGES) else { return };
    // Another one in each run, and told, so that a failure can be seen again.
    let seed = std::process::id().to_string();
    let signed = Command::new(python).args(["-c", SIGN, &seed]).output().unwrap();
    assert!(signed.status.success(), "{}", text(&signed.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("signed.json");
    fs::write(&file, &signed.stdout).unwrap();
    let verified = keyreeve()
        .args(["webhook", "verify", "--format", "json", "--vectors"])
        .arg(&file)
        .output()
        .unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&signed.stdout).unwrap();
    let verdicts: Vec<Value> =
        text(&verified.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((cases.len(), verdicts.len()), (6 * 1_001, 6 * 1_001));
    for (case, verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(case["id"], verdict["id"]);
        assert_eq!(case["valid"], verdict["valid"], "seed {seed}: {case} {verdict}");
    }
    assert_eq!(verified.status.code(), Some(0));
}
