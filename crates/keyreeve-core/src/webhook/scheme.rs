//! How a provider signs, as data.

use std::borrow::Cow;

use aws_lc_rs::hmac;

use super::{form, handshake::Handshake, key::KeyForm, token::TokenPlace};
use crate::Invalid;

use super::SigningKey;

/// A text of a scheme: known when this is compiled, or configured.
pub(super) type Name = Cow<'static, str>;

/// How a provider signs. Those that are known are [`super::named`]; a [`super::GenericScheme`] describes
/// another one.
#[derive(Clone, Debug)]
pub struct Scheme {
    pub(super) name: Name,
    /// How the secret that the provider shows becomes a key.
    pub(super) key: KeyForm,
    /// Where the signature stands, and over what it is made.
    pub(super) proof: Proof,
    /// How old and how far ahead a request may be. Only where what says when it was sent is signed.
    pub(super) freshness: Option<Freshness>,
    /// What names an event, best first.
    pub(super) identity: Cow<'static, [Identity]>,
    /// What the provider asks to see whether we are there.
    pub(super) handshake: Handshake,
}

impl Scheme {
    /// Its name, as in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seconds that a request may be old or ahead, where it says when it was sent.
    pub fn tolerance_s(&self) -> Option<u32> {
        self.freshness.as_ref().map(|freshness| freshness.tolerance_s)
    }

    /// Whether the provider signs what says when a request was sent.
    pub fn is_timed(&self) -> bool {
        self.freshness.is_some()
    }

    /// Whether the public address is part of what is signed.
    pub fn signs_url(&self) -> bool {
        match &self.proof {
            Proof::Headers(proof) => proof.message.iter().any(|part| {
                matches!(part, Part::Url | Part::HubSpotUrl | Part::TwilioUrl | Part::Path)
            }),
            Proof::Mailgun | Proof::Sns | Proof::Token(_) => false,
        }
    }

    /// Whether a certificate signs, which has to be fetched.
    pub fn uses_certificate(&self) -> bool {
        self.key == KeyForm::Certificate
    }

    /// Whether the provider signs with a key of which only the public half is ours.
    pub fn uses_public_key(&self) -> bool {
        matches!(self.key, KeyForm::Ed25519Hex | KeyForm::P256)
    }

    /// Whether nothing is signed: whoever knows the token can send anything.
    pub fn is_token_only(&self) -> bool {
        matches!(self.proof, Proof::Token(_))
    }

    /// The header that shows a token, where one does.
    pub fn token_header(&self) -> Option<&str> {
        match &self.proof {
            Proof::Token(TokenPlace::Header(name)) => Some(name),
            _ => None,
        }
    }

    /// Whether a token stands in the path.
    pub fn has_token_in_path(&self) -> bool {
        matches!(self.proof, Proof::Token(TokenPlace::Path))
    }

    /// A query without the field that shows a token, where one does.
    pub fn without_token(&self, query: &str) -> String {
        match &self.proof {
            Proof::Token(TokenPlace::QueryField(name)) => form::without_field(query, name),
            _ => query.to_owned(),
        }
    }

    /// Reads a secret as the provider shows it.
    ///
    /// Fails with the rule that is broken; nothing of the secret is part of it.
    pub fn key(&self, secret: &str) -> Result<SigningKey, Invalid> {
        // Nothing of Amazon SNS is secret: what is kept in the secret's place is which topics are ours.
        let form = if matches!(self.proof, Proof::Sns) { KeyForm::Topics } else { self.key };
        SigningKey::parse(form, secret)
    }
}

/// Where a signature stands, and over what it is made.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// In headers.
    Headers(HeaderProof),
    /// In the body, as Mailgun does it.
    Mailgun,
    /// In the body, as Amazon SNS does it.
    Sns,
    /// Nothing is signed; a token is sent along.
    Token(TokenPlace),
}

/// A signature in headers.
#[derive(Clone, Debug)]
pub(super) struct HeaderProof {
    /// The names that the headers go by; one set is used, and sets are never mixed.
    pub(super) families: Cow<'static, [Family]>,
    /// How signatures stand in theirs.
    pub(super) list: SignatureList,
    /// How they are made.
    pub(super) method: Method,
    /// Over what.
    pub(super) message: Cow<'static, [Part]>,
}

/// One set of names of headers.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) signature: Name,
    pub(super) timestamp: Option<Name>,
    pub(super) id: Option<Name>,
}

impl Family {
    /// A signature alone.
    pub(super) const fn signature(name: &'static str) -> Self {
        Self { signature: Cow::Borrowed(name), timestamp: None, id: None }
    }

    /// With a header for the time.
    pub(super) const fn timed(signature: &'static str, timestamp: &'static str) -> Self {
        Self {
            signature: Cow::Borrowed(signature),
            timestamp: Some(Cow::Borrowed(timestamp)),
            id: None,
        }
    }

    /// With headers for the time and the event's id.
    pub(super) const fn whole(
        signature: &'static str,
        timestamp: &'static str,
        id: &'static str,
    ) -> Self {
        Self {
            signature: Cow::Borrowed(signature),
            timestamp: Some(Cow::Borrowed(timestamp)),
            id: Some(Cow::Borrowed(id)),
        }
    }
}

/// How signatures stand in their header.
#[derive(Clone, Debug)]
pub(super) enum SignatureList {
    /// One, behind these characters.
    One { prefix: Name },
    /// Several like that one, with a character between them.
    Several { prefix: Name, separator: char },
    /// Pairs of a name and a value, of which some are signatures and one may be the time.
    Pairs { separator: char, signature: Name, timestamp: Option<Name> },
    /// `v1,… v1a,…`, as Standard Webhooks has them.
    Versions,
    /// One in each of several headers, whose names end in a number from 1 to 100.
    Numbered,
}

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Hmac(hmac::Algorithm, TextForm),
    /// HMAC with SHA-1 unless another header names SHA-256.
    TwilioHmac,
    Ed25519(TextForm),
    /// ECDSA on P-256 with SHA-256, in DER and base64.
    P256,
    /// RSA PKCS #1 v1.5 with the key of a certificate, in base64.
    Certificate {
        sha1: bool,
    },
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextForm {
    /// In small letters.
    Hex,
    /// With padding.
    Base64,
    /// Without padding.
    Base64Url,
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Name),
    Body,
    /// As it stands in its header.
    Timestamp,
    Id,
    Method,
    Url,
    Path,
    /// The CRC-32 of the body, decimal.
    BodyCrc32,
    /// The id that the provider gave this webhook.
    WebhookId,
    /// The address with some escapes undone, as `HubSpot` has it.
    HubSpotUrl,
    /// The address, with and without the port, as Twilio has it.
    TwilioUrl,
    /// The fields of a form, sorted, as Twilio has it; nothing where the address has the body's hash.
    TwilioForm,
}

/// How long a request is good.
#[derive(Clone, Debug)]
pub(super) struct Freshness {
    pub(super) unit: TimeUnit,
    /// Where the time stands, if not where the signature's place says.
    pub(super) pointer: Option<&'static str>,
    pub(super) tolerance_s: u32,
}

/// What a time is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeUnit {
    Seconds,
    Millis,
    /// Either; in this century, milliseconds have more digits.
    SecondsOrMillis,
    Rfc3339,
}

/// What names an event.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// The id that is signed beside the body.
    SignedId,
    /// A member of the body (RFC 6901), which is signed.
    Member(Name),
    /// Fields of a form, which are signed.
    Fields(&'static [&'static str]),
    /// A header that is not signed. It names the event for people; what tells a repetition is what was
    /// signed, for whoever changes the header changes nothing about that.
    UnsignedHeader(Name),
}
