//! How the providers that are known sign. Each entry names the page that says so.

use std::borrow::Cow;

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256};

use super::{
    handshake::Handshake,
    key::KeyForm,
    scheme::{
        Family, Freshness, HeaderProof, Identity, Method, Part, Proof, Scheme, SignatureList,
        TextForm::{self, Base64, Hex},
        TimeUnit,
    },
    token::TokenPlace,
};

/// The names of all schemes that are known, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|(name, _)| *name)
}

/// The scheme of a provider.
pub fn named(name: &str) -> Option<Scheme> {
    ENTRIES.iter().find(|(known, _)| *known == name).map(|(name, make)| {
        let mut scheme = make();
        scheme.name = Cow::Borrowed(name);
        scheme
    })
}

type Entry = (&'static str, fn() -> Scheme);

const ENTRIES: &[Entry] = &[
    ("aws-sns", aws_sns),
    ("bitbucket", bitbucket),
    ("clerk", standard_webhooks),
    ("cursor", cursor),
    ("daily", daily),
    ("deepgram", deepgram),
    ("discord", discord),
    ("docusign", docusign),
    ("elevenlabs", elevenlabs),
    ("github", github),
    ("gitlab", gitlab),
    ("gitlab-token", gitlab_token),
    ("hubspot", hubspot),
    ("intercom", intercom),
    ("jira", jira),
    ("line", line),
    ("linear", linear),
    ("mailgun", mailgun),
    ("meta", meta),
    ("openai", standard_webhooks),
    ("paddle", paddle),
    ("pagerduty", pagerduty),
    ("paypal", paypal),
    ("postmark", postmark),
    ("replicate", standard_webhooks),
    ("resend", standard_webhooks),
    ("sendgrid", sendgrid),
    ("sentry", sentry),
    ("shopify", shopify),
    ("slack", slack),
    ("square", square),
    ("standard-webhooks", standard_webhooks),
    ("stripe", stripe),
    ("supabase", standard_webhooks),
    ("svix", standard_webhooks),
    ("telegram", telegram),
    ("twilio", twilio),
    ("typeform", typeform),
    ("vercel", vercel),
    ("webflow", webflow),
    ("whatsapp", meta),
    ("woocommerce", woocommerce),
    ("zoom", zoom),
];

const BODY: &[Part] = &[Part::Body];
const STAMP_BODY: &[Part] = &[Part::Timestamp, Part::Body];
const STAMP_DOT_BODY: &[Part] = &[Part::Timestamp, Part::Text(Cow::Borrowed(".")), Part::Body];
const STAMP_COLON_BODY: &[Part] = &[Part::Timestamp, Part::Text(Cow::Borrowed(":")), Part::Body];
/// What Slack and Zoom put before both.
const V0_STAMP_BODY: &[Part] = &[
    Part::Text(Cow::Borrowed("v0:")),
    Part::Timestamp,
    Part::Text(Cow::Borrowed(":")),
    Part::Body,
];

/// One signature in one header.
struct Single {
    families: Vec<Family>,
    prefix: &'static str,
    algorithm: hmac::Algorithm,
    form: TextForm,
    message: &'static [Part],
}

impl Single {
    /// Over the body, with SHA-256.
    fn body(header: &'static str, prefix: &'static str, form: TextForm) -> Self {
        let families = vec![Family::signature(header)];
        Self { families, prefix, algorithm: HMAC_SHA256, form, message: BODY }
    }

    fn scheme(self) -> Scheme {
        scheme(
            KeyForm::Text,
            Proof::Headers(HeaderProof {
                families: self.families.into(),
                list: SignatureList::One { prefix: self.prefix.into() },
                method: Method::Hmac(self.algorithm, self.form),
                message: self.message.into(),
            }),
        )
    }
}

fn scheme(key: KeyForm, proof: Proof) -> Scheme {
    Scheme {
        name: Cow::Borrowed(""),
        key,
        proof,
        freshness: None,
        identity: Cow::Borrowed(&[]),
        handshake: Handshake::None,
    }
}

impl Scheme {
    fn timed(mut self, unit: TimeUnit, tolerance_s: u32) -> Self {
        self.freshness = Some(Freshness { unit, pointer: None, tolerance_s });
        self
    }

    fn identified(mut self, identity: &'static [Identity]) -> Self {
        self.identity = identity.into();
        self
    }

    fn greeted(mut self, handshake: Handshake) -> Self {
        self.handshake = handshake;
        self
    }
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>, and the
/// names that Svix and who uses it have for the same headers: <https://docs.svix.com/receiving/verifying-payloads/how-manual>.
fn standard_webhooks() -> Scheme {
    scheme(
        KeyForm::StandardWebhooks,
        Proof::Headers(HeaderProof {
            families: vec![
                Family::whole("webhook-signature", "webhook-timestamp", "webhook-id"),
                Family::whole("svix-signature", "svix-timestamp", "svix-id"),
            ]
            .into(),
            list: SignatureList::Versions,
            method: Method::Hmac(HMAC_SHA256, Base64),
            message: Cow::Borrowed(
                const {
                    &[
                        Part::Id,
                        Part::Text(Cow::Borrowed(".")),
                        Part::Timestamp,
                        Part::Text(Cow::Borrowed(".")),
                        Part::Body,
                    ]
                },
            ),
        }),
    )
    .timed(TimeUnit::Seconds, 300)
    .identified(const { &[Identity::SignedId] })
}

/// <https://docs.gitlab.com/user/project/integrations/webhooks/>, with a signing token.
fn gitlab() -> Scheme {
    Scheme { key: KeyForm::StandardWebhooksOrText, ..standard_webhooks() }
}

/// The same page, with a secret token.
fn gitlab_token() -> Scheme {
    scheme(KeyForm::Token, Proof::Token(TokenPlace::Header("X-Gitlab-Token".into())))
        .identified(const { &[Identity::UnsignedHeader(Cow::Borrowed("Idempotency-Key"))] })
}

/// <https://www.twilio.com/docs/usage/webhooks/webhooks-security>.
fn twilio() -> Scheme {
    scheme(
        KeyForm::Text,
        Proof::Headers(HeaderProof {
            families: vec![Family::signature("X-Twilio-Signature")].into(),
            list: SignatureList::One { prefix: Cow::Borrowed("") },
            method: Method::TwilioHmac,
            message: Cow::Borrowed(&[Part::TwilioUrl, Part::TwilioForm]),
        }),
    )
    .identified(
        const {
            &[
                Identity::Fields(&["MessageSid", "MessageStatus"]),
                Identity::Fields(&["CallSid", "CallStatus", "SequenceNumber"]),
            ]
        },
    )
}

/// <https://docs.stripe.com/webhooks/signature>.
fn stripe() -> Scheme {
    pairs("Stripe-Signature", ',', "t", "v1", STAMP_DOT_BODY)
        .timed(TimeUnit::Seconds, 300)
        .identified(const { &[Identity::Member(Cow::Borrowed("/id"))] })
}

/// <https://developer.paddle.com/webhooks/signature-verification>. The vendor's libraries allow five
/// seconds, which clocks seldom keep.
fn paddle() -> Scheme {
    pairs("Paddle-Signature", ';', "ts", "h1", STAMP_COLON_BODY)
        .timed(TimeUnit::Seconds, 300)
        .identified(const { &[Identity::Member(Cow::Borrowed("/event_id"))] })
}

/// <https://elevenlabs.io/docs/product-guides/administration/webhooks>.
fn elevenlabs() -> Scheme {
    pairs("ElevenLabs-Signature", ',', "t", "v0", STAMP_DOT_BODY).timed(TimeUnit::Seconds, 1_800)
}

fn pairs(
    header: &'static str,
    separator: char,
    timestamp: &'static str,
    signature: &'static str,
    message: &'static [Part],
) -> Scheme {
    scheme(
        KeyForm::Text,
        Proof::Headers(HeaderProof {
            families: vec![Family::signature(header)].into(),
            list: SignatureList::Pairs {
                separator,
                signature: Cow::Borrowed(signature),
                timestamp: Some(Cow::Borrowed(timestamp)),
            },
            method: Method::Hmac(HMAC_SHA256, Hex),
            message: message.into(),
        }),
    )
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>. The header with
/// SHA-1 is never looked at.
fn github() -> Scheme {
    Single::body("X-Hub-Signature-256", "sha256=", Hex)
        .scheme()
        .identified(const { &[Identity::UnsignedHeader(Cow::Borrowed("X-GitHub-Delivery"))] })
}

/// <https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/>.
fn bitbucket() -> Scheme {
    Single::body("X-Hub-Signature", "sha256=", Hex)
        .scheme()
        .identified(const { &[Identity::UnsignedHeader(Cow::Borrowed("X-Request-UUID"))] })
}

/// <https://developer.atlassian.com/cloud/jira/platform/webhooks/>.
fn jira() -> Scheme {
    bitbucket().identified(
        const { &[Identity::UnsignedHeader(Cow::Borrowed("X-Atlassian-Webhook-Identifier"))] },
    )
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>.
fn slack() -> Scheme {
    let families = vec![Family::timed("X-Slack-Signature", "X-Slack-Request-Timestamp")];
    let single = Single { families, message: V0_STAMP_BODY, ..Single::body("", "v0=", Hex) };
    single
        .scheme()
        .timed(TimeUnit::Seconds, 300)
        .identified(const { &[Identity::Member(Cow::Borrowed("/event_id"))] })
        .greeted(Handshake::Slack)
}

/// <https://developers.zoom.us/docs/api/webhooks/>.
fn zoom() -> Scheme {
    let families = vec![Family::timed("x-zm-signature", "x-zm-request-timestamp")];
    let single = Single { families, message: V0_STAMP_BODY, ..Single::body("", "v0=", Hex) };
    single.scheme().timed(TimeUnit::Seconds, 300).greeted(Handshake::Zoom)
}

/// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>, under the old names and the new.
fn shopify() -> Scheme {
    let families =
        vec![Family::signature("X-Shopify-Hmac-Sha256"), Family::signature("shopify-hmac-sha256")];
    Single { families, ..Single::body("", "", Base64) }.scheme().identified(
        const {
            &[
                Identity::UnsignedHeader(Cow::Borrowed("X-Shopify-Webhook-Id")),
                Identity::UnsignedHeader(Cow::Borrowed("shopify-webhook-id")),
            ]
        },
    )
}

/// <https://developers.facebook.com/docs/graph-api/webhooks/getting-started>.
fn meta() -> Scheme {
    Single::body("X-Hub-Signature-256", "sha256=", Hex).scheme().greeted(Handshake::Meta)
}

/// <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features>.
fn sendgrid() -> Scheme {
    scheme(
        KeyForm::P256,
        Proof::Headers(HeaderProof {
            families: vec![Family::timed(
                "X-Twilio-Email-Event-Webhook-Signature",
                "X-Twilio-Email-Event-Webhook-Timestamp",
            )]
            .into(),
            list: SignatureList::One { prefix: Cow::Borrowed("") },
            method: Method::P256,
            message: STAMP_BODY.into(),
        }),
    )
    .timed(TimeUnit::Seconds, 600)
}

/// <https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks>. Only time and
/// token are signed; of what happened nothing is.
fn mailgun() -> Scheme {
    scheme(KeyForm::Text, Proof::Mailgun)
        .timed(TimeUnit::Seconds, 900)
        .identified(const { &[Identity::SignedId] })
}

/// <https://discord.com/developers/docs/interactions/overview>.
fn discord() -> Scheme {
    scheme(
        KeyForm::Ed25519Hex,
        Proof::Headers(HeaderProof {
            families: vec![Family::timed("X-Signature-Ed25519", "X-Signature-Timestamp")].into(),
            list: SignatureList::One { prefix: Cow::Borrowed("") },
            method: Method::Ed25519(Hex),
            message: STAMP_BODY.into(),
        }),
    )
    .identified(const { &[Identity::Member(Cow::Borrowed("/id"))] })
    .greeted(Handshake::Discord)
}

/// <https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/>.
fn line() -> Scheme {
    Single::body("x-line-signature", "", Base64)
        .scheme()
        .identified(const { &[Identity::Member(Cow::Borrowed("/events/0/webhookEventId"))] })
        .greeted(Handshake::Line)
}

/// <https://developer.squareup.com/docs/webhooks/step3validate>.
fn square() -> Scheme {
    let message: &[Part] = &[Part::Url, Part::Body];
    Single { message, ..Single::body("x-square-hmacsha256-signature", "", Base64) }
        .scheme()
        .identified(const { &[Identity::Member(Cow::Borrowed("/event_id"))] })
}

/// <https://developer.paypal.com/api/rest/webhooks/rest/>. Three days are as long as `PayPal` retries.
fn paypal() -> Scheme {
    scheme(
        KeyForm::Certificate,
        Proof::Headers(HeaderProof {
            families: vec![Family::whole(
                "PAYPAL-TRANSMISSION-SIG",
                "PAYPAL-TRANSMISSION-TIME",
                "PAYPAL-TRANSMISSION-ID",
            )]
            .into(),
            list: SignatureList::One { prefix: Cow::Borrowed("") },
            method: Method::Certificate { sha1: false },
            message: Cow::Borrowed(
                const {
                    &[
                        Part::Id,
                        Part::Text(Cow::Borrowed("|")),
                        Part::Timestamp,
                        Part::Text(Cow::Borrowed("|")),
                        Part::WebhookId,
                        Part::Text(Cow::Borrowed("|")),
                        Part::BodyCrc32,
                    ]
                },
            ),
        }),
    )
    .timed(TimeUnit::Rfc3339, 72 * 3_600)
    .identified(const { &[Identity::SignedId] })
}

/// <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>.
fn aws_sns() -> Scheme {
    scheme(KeyForm::Certificate, Proof::Sns).identified(const { &[Identity::SignedId] })
}

/// <https://linear.app/developers/webhooks>. The header with a time is not signed; the member is.
fn linear() -> Scheme {
    let mut scheme = Single::body("Linear-Signature", "", Hex)
        .scheme()
        .timed(TimeUnit::Millis, 60)
        .identified(const { &[Identity::UnsignedHeader(Cow::Borrowed("Linear-Delivery"))] });
    if let Some(freshness) = &mut scheme.freshness {
        freshness.pointer = Some("/webhookTimestamp");
    }
    scheme
}

/// <https://docs.sentry.io/organization/integrations/integration-platform/webhooks/>. The header with a
/// time is not signed.
fn sentry() -> Scheme {
    Single::body("Sentry-Hook-Signature", "", Hex)
        .scheme()
        .identified(const { &[Identity::UnsignedHeader(Cow::Borrowed("Request-ID"))] })
}

/// <https://developer.pagerduty.com/docs/verifying-webhook-signatures>.
fn pagerduty() -> Scheme {
    scheme(
        KeyForm::Text,
        Proof::Headers(HeaderProof {
            families: vec![Family::signature("X-PagerDuty-Signature")].into(),
            list: SignatureList::Several { prefix: Cow::Borrowed("v1="), separator: ',' },
            method: Method::Hmac(HMAC_SHA256, Hex),
            message: BODY.into(),
        }),
    )
    .identified(const { &[Identity::Member(Cow::Borrowed("/event/id"))] })
}

/// <https://www.typeform.com/developers/webhooks/secure-your-webhooks/>.
fn typeform() -> Scheme {
    Single::body("Typeform-Signature", "sha256=", Base64)
        .scheme()
        .identified(const { &[Identity::Member(Cow::Borrowed("/event_id"))] })
}

/// <https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests>, version 3.
fn hubspot() -> Scheme {
    let families = vec![Family::timed("X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp")];
    let message: &[Part] = &[Part::Method, Part::HubSpotUrl, Part::Body, Part::Timestamp];
    Single { families, message, ..Single::body("", "", Base64) }
        .scheme()
        .timed(TimeUnit::Millis, 300)
}

/// <https://developers.docusign.com/platform/webhooks/connect/hmac/>.
fn docusign() -> Scheme {
    scheme(
        KeyForm::Text,
        Proof::Headers(HeaderProof {
            families: vec![Family::signature("X-DocuSign-Signature-")].into(),
            list: SignatureList::Numbered,
            method: Method::Hmac(HMAC_SHA256, Base64),
            message: BODY.into(),
        }),
    )
}

/// <https://developers.intercom.com/docs/webhooks/setting-up-webhooks>. There is nothing but SHA-1.
fn intercom() -> Scheme {
    Single {
        algorithm: HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ..Single::body("X-Hub-Signature", "sha1=", Hex)
    }
    .scheme()
    .identified(const { &[Identity::Member(Cow::Borrowed("/id"))] })
}

/// <https://core.telegram.org/bots/api#setwebhook>.
fn telegram() -> Scheme {
    let place = TokenPlace::Header("X-Telegram-Bot-Api-Secret-Token".into());
    scheme(KeyForm::Token, Proof::Token(place))
        .identified(const { &[Identity::Member(Cow::Borrowed("/update_id"))] })
}

/// <https://docs.daily.co/reference/rest-api/webhooks>.
fn daily() -> Scheme {
    let families = vec![Family::timed("X-Webhook-Signature", "X-Webhook-Timestamp")];
    let single = Single { families, message: STAMP_DOT_BODY, ..Single::body("", "", Base64) };
    Scheme { key: KeyForm::Base64, ..single.scheme() }
        .timed(TimeUnit::SecondsOrMillis, 300)
        .identified(const { &[Identity::Member(Cow::Borrowed("/id"))] })
        .greeted(Handshake::Daily)
}

/// <https://vercel.com/docs/webhooks/webhooks-api>. There is nothing but SHA-1.
fn vercel() -> Scheme {
    Single {
        algorithm: HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ..Single::body("x-vercel-signature", "", Hex)
    }
    .scheme()
    .identified(const { &[Identity::Member(Cow::Borrowed("/id"))] })
}

/// <https://developers.webflow.com/data/docs/working-with-webhooks>.
fn webflow() -> Scheme {
    let families = vec![Family::timed("x-webflow-signature", "x-webflow-timestamp")];
    Single { families, message: STAMP_COLON_BODY, ..Single::body("", "", Hex) }
        .scheme()
        .timed(TimeUnit::Millis, 300)
}

/// <https://woocommerce.com/document/webhooks/>. Deliveries of the same second have the same id, which is
/// therefore not looked at.
fn woocommerce() -> Scheme {
    Single::body("X-WC-Webhook-Signature", "", Base64).scheme().greeted(Handshake::WooCommerce)
}

/// <https://cursor.com/docs/cloud-agent/api/webhooks>.
fn cursor() -> Scheme {
    Single::body("X-Webhook-Signature", "sha256=", Hex)
        .scheme()
        .identified(const { &[Identity::UnsignedHeader(Cow::Borrowed("X-Webhook-ID"))] })
}

/// <https://postmarkapp.com/developer/webhooks/webhooks-overview>: no signature, but basic
/// authentication in the address.
fn postmark() -> Scheme {
    scheme(KeyForm::Token, Proof::Token(TokenPlace::Basic))
}

/// <https://developers.deepgram.com/docs/callback>: no signature, but basic authentication in the address.
fn deepgram() -> Scheme {
    scheme(KeyForm::Token, Proof::Token(TokenPlace::Basic))
        .identified(const { &[Identity::Member(Cow::Borrowed("/metadata/request_id"))] })
}
