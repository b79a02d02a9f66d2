//! Webhooks, for people.

use std::path::Path;

use keyreeve_core::webhook::{Reason, Scheme, SignedHeaders, Verified};

use super::{
    canvas::{Canvas, Tone},
    fields::Fields,
    table::{Cell, Column, Table},
};

const SCHEMES: &[Column] = &[
    Column::Whole("SCHEME"),
    Column::Free("PROOF"),
    Column::Whole("GOOD FOR"),
    Column::Whole("SIGNS THE ADDRESS"),
];

/// What proves a sender.
pub(crate) fn proof(scheme: &Scheme) -> &'static str {
    if scheme.is_token_only() {
        "a token, nothing is signed"
    } else if scheme.uses_certificate() {
        "a signature by the provider's certificate"
    } else if scheme.uses_public_key() {
        "a signature by the provider's key"
    } else {
        "a signature with a shared secret"
    }
}

/// All schemes.
pub(crate) fn schemes(schemes: &[Scheme], canvas: &Canvas) -> String {
    let mut table = Table::new(SCHEMES);
    for scheme in schemes {
        let tone = if scheme.is_token_only() { Tone::Warning } else { Tone::Plain };
        let good_for = scheme.tolerance_s().map_or_else(|| "-".to_owned(), |s| format!("{s} s"));
        table.row([
            Cell::new(scheme.name()),
            Cell::toned(proof(scheme), tone),
            Cell::new(good_for),
            Cell::new(if scheme.signs_url() { "yes" } else { "no" }),
        ]);
    }
    table.draw(canvas)
}

/// A line of a file of vectors.
pub(crate) fn case(id: &str, reason: Option<&str>, is_expected: bool, canvas: &Canvas) -> String {
    let (word, tone) = match (is_expected, reason) {
        (false, _) => ("NOT AS IT SAYS", Tone::Bad),
        (true, None) => ("accepted", Tone::Good),
        (true, Some(_)) => ("refused", Tone::Plain),
    };
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("{id}: {}{reason}", canvas.paint(word, tone))
}

/// What became of a captured request.
pub(crate) fn verdict(
    verdict: &Result<Verified, Reason>,
    secrets: usize,
    canvas: &Canvas,
) -> String {
    let mut fields = Fields::default();
    match verdict {
        Ok(verified) => {
            fields.toned("Verdict", "accepted", Tone::Good);
            fields.maybe("Event", verified.event_id.as_deref());
            if secrets > 1 {
                fields.add("Secret", format!("number {} of {secrets}", verified.key + 1));
            }
            if let Some(answer) = &verified.handshake {
                fields.add("Handshake", format!("{} {}", answer.status, answer.body));
            }
        }
        Err(reason) => {
            fields.toned("Verdict", "refused", Tone::Bad);
            fields.add("Reason", reason.as_str());
            fields.add("Meaning", meaning(*reason));
        }
    }
    fields.draw(canvas)
}

/// What a reason means, and what to do.
fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::BadSignature => {
            "no signature fits: another secret, another address, or a body that was changed on its way"
        }
        Reason::BadToken => "the token is another one",
        Reason::MissingHeader => "a header that the scheme needs is not there",
        Reason::MissingSignature => "there is no signature",
        Reason::MissingTimestamp => "the time that should be signed is not there",
        Reason::MalformedHeader => "a header cannot be read",
        Reason::DuplicateHeader => "a header stands twice that may stand once",
        Reason::StaleTimestamp => "it was signed too long ago; see --at and --tolerance",
        Reason::FutureTimestamp => "it was signed in the future; see --at and --tolerance",
        Reason::Replay => "it was seen before",
        Reason::NoSupportedSignature => "there are signatures, but none of a kind that is taken",
        Reason::UnsupportedAlgorithm => "it names an algorithm that is not taken",
        Reason::BodyHashMismatch => "the body is not the one whose hash was signed",
        Reason::UnauthenticatedBody => "what was signed says nothing about the body",
        Reason::UntrustedCertUrl => "the certificate is not on a host of the provider",
        Reason::TopicNotAllowed => "the topic is none of yours; see --topic",
        Reason::IpNotAllowed => "it came from elsewhere; see --remote-ip and --allow-from",
        Reason::ConfigError => {
            "something is missing to verify it: --certificate, --topic or --handshake-file"
        }
    }
}

/// A line for curl.
///
/// The body stands in the line, unless it is in a file or is no text.
pub(crate) fn curl(method: &str, signed: &SignedHeaders, file: Option<&Path>) -> String {
    let mut line = format!("curl -X {} {}", quoted(method), quoted(&signed.url));
    for (name, value) in &signed.headers {
        line.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
    }
    if let Some(path) = file {
        line.push_str(&format!(" --data-binary {}", quoted(&format!("@{}", path.display()))));
    } else if !signed.body.is_empty() {
        // Raw: a text that begins with `@` is no name of a file.
        let text = String::from_utf8_lossy(&signed.body);
        line.push_str(&format!(" --data-raw {}", quoted(&text)));
    }
    line
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (text, word) in [
            ("plain", "plain"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
