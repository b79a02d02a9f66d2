//! What a signature is verified with.

use aws_lc_rs::{digest, hmac};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use crate::{Invalid, Secret};

/// The longest secret in bytes that is taken.
const LONGEST: usize = 4_096;
/// The length of a public key for Ed25519 (RFC 8032 §5.1.5).
const ED25519: usize = 32;

/// How the secret that a provider shows becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyForm {
    /// The text is the key, whatever it looks like.
    Text,
    /// Base64, standard or URL-safe, with padding or without.
    Base64,
    /// Hexadecimal.
    Hex,
    /// As Standard Webhooks writes keys: `whsec_` and base64 for a shared key, `whpk_` and base64 for
    /// a public one. A `v1,` before it is how Supabase stores one.
    StandardWebhooks,
    /// The same, or text as it is where it does not begin with `whsec_`.
    StandardWebhooksOrText,
    /// A public key for Ed25519 in hexadecimal.
    Ed25519Hex,
    /// A public key on P-256 as base64 of its `SubjectPublicKeyInfo`, with or without the lines of PEM.
    P256,
    /// A token that is sent as it is.
    Token,
    /// There is no key: the certificate that signs is fetched, and the text is the id that the provider
    /// gave this webhook, where it gives one.
    Certificate,
    /// There is no key either: the text names the topics of Amazon SNS that are ours, one on a line or with
    /// commas between them. None at all where they are configured elsewhere.
    Topics,
}

/// What a signature is verified with. Its `Debug` does not show it.
#[derive(Debug)]
pub struct SigningKey(pub(super) KeyMaterial);

#[derive(Debug)]
pub(super) enum KeyMaterial {
    /// For an HMAC.
    Shared(Secret<Vec<u8>>),
    /// For Ed25519.
    Ed25519([u8; ED25519]),
    /// For ECDSA on P-256, in DER.
    P256(Vec<u8>),
    /// The SHA-256 of a token, so that lengths show nothing.
    Token([u8; digest::SHA256_OUTPUT_LEN]),
    /// The id of a webhook whose requests a certificate signs.
    WebhookId(String),
    /// The topics that are ours. A certificate signs their messages, and those of everybody else's.
    Topics(Vec<String>),
}

impl SigningKey {
    /// Reads a secret as a provider shows it.
    ///
    /// Fails with the rule that is broken; nothing of the secret is part of it.
    pub(super) fn parse(form: KeyForm, text: &str) -> Result<Self, Invalid> {
        if text.len() > LONGEST {
            return Err(Invalid::new("must be at most 4096 bytes long"));
        }
        if text.trim().is_empty() && !matches!(form, KeyForm::Certificate | KeyForm::Topics) {
            return Err(Invalid::new("must not be empty"));
        }
        let material = match form {
            KeyForm::StandardWebhooksOrText if text.starts_with("whsec_") => {
                standard_webhooks(text)?
            }
            KeyForm::Text | KeyForm::StandardWebhooksOrText => shared(text.as_bytes().to_vec()),
            KeyForm::Base64 => shared(decode_base64(text)?),
            KeyForm::Hex => shared(decode_hex(text)?),
            KeyForm::StandardWebhooks => standard_webhooks(text)?,
            KeyForm::Ed25519Hex => KeyMaterial::Ed25519(ed25519(&decode_hex(text)?)?),
            KeyForm::P256 => KeyMaterial::P256(p256(text)?),
            KeyForm::Token => KeyMaterial::Token(token_digest(text.as_bytes())),
            KeyForm::Certificate => KeyMaterial::WebhookId(text.to_owned()),
            KeyForm::Topics => KeyMaterial::Topics(topics(text)?),
        };
        Ok(Self(material))
    }
}

/// What stands for a token.
pub(super) fn token_digest(token: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    bytes
}

/// The HMAC of these parts, one after the other.
pub(super) fn mac(algorithm: hmac::Algorithm, key: &Secret<Vec<u8>>, parts: &[&[u8]]) -> hmac::Tag {
    // EXPOSE: to make the key of the HMAC, which stays in this function.
    let key = hmac::Key::new(algorithm, key.expose());
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

fn shared(bytes: Vec<u8>) -> KeyMaterial {
    KeyMaterial::Shared(Secret::new(bytes))
}

fn standard_webhooks(text: &str) -> Result<KeyMaterial, Invalid> {
    let text = text.strip_prefix("v1,").unwrap_or(text);
    if let Some(public) = text.strip_prefix("whpk_") {
        return Ok(KeyMaterial::Ed25519(ed25519(&decode_base64(public)?)?));
    }
    if text.starts_with("whsk_") {
        return Err(Invalid::new(
            "must be the public key, whpk_…, and not the sender's private one",
        ));
    }
    Ok(shared(decode_base64(text.strip_prefix("whsec_").unwrap_or(text))?))
}

fn decode_base64(text: &str) -> Result<Vec<u8>, Invalid> {
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let decoded = engines.into_iter().find_map(|engine| engine.decode(text.trim()).ok());
    decoded
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| Invalid::new("must be base64, of at least one byte"))
}

fn decode_hex(text: &str) -> Result<Vec<u8>, Invalid> {
    let digits: Option<Vec<u8>> = text
        .trim()
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect();
    let rule = || Invalid::new("must be hexadecimal, of at least one byte");
    let digits = Zeroizing::new(digits.ok_or_else(rule)?);
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(rule());
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn ed25519(bytes: &[u8]) -> Result<[u8; ED25519], Invalid> {
    bytes.try_into().map_err(|_| Invalid::new("must be a public key of 32 bytes"))
}

fn p256(text: &str) -> Result<Vec<u8>, Invalid> {
    let text: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = decode_base64(&text)?;
    aws_lc_rs::signature::ParsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1, &der)
        .map(|_| der)
        .map_err(|_| Invalid::new("must be a public key on P-256, as base64 of its DER"))
}

fn topics(text: &str) -> Result<Vec<String>, Invalid> {
    // A text of commas alone is a mistake; no text at all says that the topics stand elsewhere.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let named = text.split(['\n', ',']).map(str::trim).filter(|topic| !topic.is_empty());
    let topics: Vec<String> = named.map(str::to_owned).collect();
    let is_topic = |topic: &String| topic.starts_with("arn:aws") && topic.contains(":sns:");
    if topics.is_empty() || !topics.iter().all(is_topic) {
        return Err(Invalid::new(
            "must be ARNs of topics, arn:aws:sns:…, one on a line or with commas between them",
        ));
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_cannot_be_keys_are_refused() {
        for (form, text) in [
            (KeyForm::Text, ""),
            (KeyForm::Text, " "),
            (KeyForm::Base64, "not base64!"),
            (KeyForm::Base64, ""),
            (KeyForm::Hex, "abc"),
            (KeyForm::Hex, "zz"),
            (KeyForm::StandardWebhooks, "whsec_"),
            (KeyForm::StandardWebhooks, "whsec_???"),
            (KeyForm::StandardWebhooks, "whpk_AAAA"),
            (KeyForm::StandardWebhooks, "whsk_AAAAAAAAAAAAAAAAAAA"),
            (KeyForm::Ed25519Hex, "00ff"),
            (KeyForm::P256, "AAAA"),
            (KeyForm::Token, ""),
            (KeyForm::Topics, ",,"),
            (KeyForm::Topics, "MyTopic"),
            (KeyForm::Topics, "arn:aws:sqs:us-west-2:123456789012:MyQueue"),
            (KeyForm::Topics, "arn:aws:sns:us-west-2:123456789012:A, b"),
        ] {
            let refused = SigningKey::parse(form, text).unwrap_err();
            assert!(text.trim().is_empty() || !refused.rule().contains(text), "{form:?}");
        }
        assert!(SigningKey::parse(KeyForm::Text, &"x".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn topics_stand_on_lines_or_between_commas() {
        let [a, b, c] =
            ["a", "b", "c.fifo"].map(|it| format!("arn:aws:sns:us-west-2:123456789012:{it}"));
        for (text, expected) in [
            (String::new(), vec![]),
            (" \n".to_owned(), vec![]),
            (a.clone(), vec![a.clone()]),
            (format!("{a}\r\n{b}, {c}\n"), vec![a, b, c]),
        ] {
            let SigningKey(read) = SigningKey::parse(KeyForm::Topics, &text).unwrap();
            assert!(matches!(&read, KeyMaterial::Topics(topics) if *topics == expected), "{text}");
        }
    }

    #[test]
    fn keys_do_not_print() {
        let shown = format!("{:?}", SigningKey::parse(KeyForm::Text, "canary-1b2c").unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
