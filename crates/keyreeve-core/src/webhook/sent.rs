//! What of a request claims to prove it: signatures, the time and the id, as they stand in its head.

use std::borrow::Cow;

use aws_lc_rs::hmac;

use super::{
    Reason, ReceivedRequest,
    scheme::{Family, HeaderProof, Method, SignatureList, TextForm},
};

/// The most signatures that are looked at: a sender may send as many, each in a header of its own.
const MOST: usize = 100;
/// The most of them that are made with a public key, where each costs.
const MOST_WITH_PUBLIC_KEYS: usize = 8;
/// The header in which Twilio names key and algorithm.
pub(super) const TWILIO_SETTINGS: &str = "X-Twilio-Webhooks-Signature-Settings";
const PAYPAL_ALGORITHM: &str = "PAYPAL-AUTH-ALGO";

/// One signature and how it was made.
pub(super) struct Candidate<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) method: Method,
}

/// What of a request claims to prove it.
#[derive(Default)]
pub(super) struct Sent<'a> {
    pub(super) candidates: Vec<Candidate<'a>>,
    pub(super) timestamp: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
}

impl<'a> Sent<'a> {
    /// Reads the headers of the one family that is there.
    pub(super) fn read(proof: &HeaderProof, request: &ReceivedRequest<'a>) -> Result<Self, Reason> {
        if let SignatureList::Numbered = proof.list {
            return numbered(&proof.families, proof.method, request);
        }
        let family = family_of(&proof.families, request)?;
        let mut sent = Self {
            id: family.id.as_deref().map(|name| nonempty(request.required(name)?)).transpose()?,
            timestamp: (family.timestamp.as_deref())
                .map(|name| nonempty(request.required(name)?))
                .transpose()?,
            candidates: Vec::new(),
        };
        let method = method_of(proof.method, request)?;
        sent.read_list(&proof.list, method, request.required(&family.signature)?)?;
        Ok(sent)
    }

    fn read_list(
        &mut self,
        list: &SignatureList,
        method: Method,
        value: &'a str,
    ) -> Result<(), Reason> {
        match list {
            SignatureList::One { prefix } => {
                let text = value.strip_prefix(&**prefix).ok_or(Reason::MalformedHeader)?;
                if !is_written(method, text) {
                    return Err(Reason::MalformedHeader);
                }
                self.push(text, method)
            }
            SignatureList::Several { prefix, separator } => {
                let found = value.split(*separator).map(str::trim);
                for text in found.filter_map(|item| item.strip_prefix(&**prefix)) {
                    self.push(text, method)?;
                }
                self.require(Reason::NoSupportedSignature)
            }
            SignatureList::Pairs { separator, signature, timestamp } => {
                for item in value.split(*separator) {
                    let (name, text) = item.split_once('=').ok_or(Reason::MalformedHeader)?;
                    if timestamp.as_deref() == Some(name) {
                        if self.timestamp.replace(nonempty(text)?).is_some() {
                            return Err(Reason::MalformedHeader);
                        }
                    } else if name == signature {
                        self.push(text, method)?;
                    }
                }
                if timestamp.is_some() && self.timestamp.is_none() {
                    return Err(Reason::MissingTimestamp);
                }
                self.require(Reason::NoSupportedSignature)
            }
            SignatureList::Versions => {
                for item in value.split(' ').filter(|item| !item.is_empty()) {
                    let (version, text) = item.split_once(',').ok_or(Reason::MalformedHeader)?;
                    match version {
                        "v1" => {
                            self.push(text, Method::Hmac(hmac::HMAC_SHA256, TextForm::Base64))?;
                        }
                        "v1a" => self.push(text, Method::Ed25519(TextForm::Base64))?,
                        // Versions to come are not ours to refuse, as long as one is known.
                        _ => {}
                    }
                }
                self.require(Reason::NoSupportedSignature)
            }
            SignatureList::Numbered => Ok(()),
        }
    }

    fn push(&mut self, text: &'a str, method: Method) -> Result<(), Reason> {
        let most = match method {
            Method::Hmac(..) | Method::TwilioHmac => MOST,
            Method::Ed25519(_) | Method::P256 | Method::Certificate { .. } => MOST_WITH_PUBLIC_KEYS,
        };
        if self.candidates.iter().filter(|it| it.method == method).count() >= most {
            return Err(Reason::MalformedHeader);
        }
        self.candidates.push(Candidate { text: text.into(), method });
        Ok(())
    }

    fn require(&self, reason: Reason) -> Result<(), Reason> {
        if self.candidates.is_empty() { Err(reason) } else { Ok(()) }
    }
}

/// The one set of headers that is there.
///
/// Two sets may be there, as long as they say the same: whose word counts must never be a choice.
fn family_of<'f>(
    families: &'f [Family],
    request: &ReceivedRequest<'_>,
) -> Result<&'f Family, Reason> {
    let mut present = families.iter().filter(|family| request.has(&family.signature));
    let first = present.next().ok_or(Reason::MissingHeader)?;
    for other in present {
        for (one, two) in [
            (Some(&first.signature), Some(&other.signature)),
            (first.timestamp.as_ref(), other.timestamp.as_ref()),
            (first.id.as_ref(), other.id.as_ref()),
        ] {
            let (Some(one), Some(two)) = (one, two) else { continue };
            if request.required(one)? != request.required(two)? {
                return Err(Reason::DuplicateHeader);
            }
        }
    }
    Ok(first)
}

/// The method, where another header has a say in it.
fn method_of(method: Method, request: &ReceivedRequest<'_>) -> Result<Method, Reason> {
    match method {
        Method::TwilioHmac => {
            let Some(settings) = request.header(TWILIO_SETTINGS)? else {
                return Ok(Method::Hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TextForm::Base64));
            };
            let mut algorithms =
                settings.split(',').filter_map(|item| item.trim().strip_prefix("algorithm="));
            let algorithm = algorithms.next().ok_or(Reason::MalformedHeader)?;
            if algorithms.next().is_some() {
                return Err(Reason::MalformedHeader);
            }
            let algorithm = match algorithm {
                "HMAC_SHA256" => hmac::HMAC_SHA256,
                "HMAC_SHA1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                _ => return Err(Reason::UnsupportedAlgorithm),
            };
            Ok(Method::Hmac(algorithm, TextForm::Base64))
        }
        Method::Certificate { .. } => match request.required(PAYPAL_ALGORITHM)? {
            "SHA256withRSA" => Ok(method),
            _ => Err(Reason::UnsupportedAlgorithm),
        },
        other => Ok(other),
    }
}

/// One header for each key that is active, with a number behind its name.
fn numbered<'a>(
    families: &[Family],
    method: Method,
    request: &ReceivedRequest<'a>,
) -> Result<Sent<'a>, Reason> {
    let mut sent = Sent::default();
    let base = families.first().map_or("", |family| &family.signature);
    for line in request.headers {
        let Some(number) = line
            .name
            .get(..base.len())
            .filter(|name| name.eq_ignore_ascii_case(base))
            .and_then(|_| line.name.get(base.len()..))
        else {
            continue;
        };
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        let in_range = number.parse::<usize>().is_ok_and(|number| (1..=MOST).contains(&number));
        if !is_plain || !in_range {
            continue;
        }
        sent.push(request.required(line.name)?, method)?;
    }
    sent.require(Reason::MissingHeader)?;
    Ok(sent)
}

fn nonempty(text: &str) -> Result<Cow<'_, str>, Reason> {
    if text.is_empty() { Err(Reason::MalformedHeader) } else { Ok(Cow::Borrowed(text)) }
}

/// Whether a signature could have been written so. Its length is looked at when it is compared.
fn is_written(method: Method, text: &str) -> bool {
    let form = match method {
        Method::Hmac(_, form) | Method::Ed25519(form) => form,
        Method::TwilioHmac | Method::P256 | Method::Certificate { .. } => TextForm::Base64,
    };
    let fits = |byte: u8| match form {
        TextForm::Hex => byte.is_ascii_hexdigit(),
        TextForm::Base64 => byte.is_ascii_alphanumeric() || b"+/=".contains(&byte),
        TextForm::Base64Url => byte.is_ascii_alphanumeric() || b"-_=".contains(&byte),
    };
    !text.is_empty() && text.bytes().all(fits)
}
