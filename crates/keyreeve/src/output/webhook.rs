//! Webhooks, for people.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use keyreeve_api::{
    Page, WebhookEventDetailsView, WebhookEventPreviewView, WebhookEventView, WebhookSourceView,
};
use keyreeve_core::webhook::{Reason, Scheme, SignedHeaders, Verified};

use super::{
    canvas::{Canvas, Tone},
    fields::Fields,
    printable::{printable, printable_lines},
    table::{Cell, Column, Table},
};

const SCHEMES: &[Column] = &[
    Column::Whole("SCHEME"),
    Column::Free("PROOF"),
    Column::Whole("GOOD FOR"),
    Column::Whole("SIGNS THE ADDRESS"),
];

const SOURCES: &[Column] = &[
    Column::Whole("NAME"),
    Column::Whole("SCHEME"),
    Column::Free("TAKEN AT"),
    Column::Free("GOES TO"),
    Column::Free("VERIFIED WITH"),
    Column::Free("STATE"),
];

const EVENTS: &[Column] = &[
    Column::Whole("ID"),
    Column::Whole("SOURCE"),
    Column::Free("SENDER'S ID"),
    Column::Free("CAME IN"),
    Column::Free("STATE"),
    Column::Free("TRIED"),
    Column::Free("LAST ANSWER"),
];

/// The longest body that is shown.
const LONGEST_BODY: usize = 4_000;

/// Many sources.
pub(crate) fn sources(page: &Page<WebhookSourceView>, canvas: &Canvas) -> String {
    let mut table = Table::new(SOURCES);
    for source in &page.items {
        table.row([
            Cell::new(&source.name),
            Cell::new(&source.scheme),
            Cell::new(&source.path),
            Cell::new(&source.to),
            Cell::new(&source.secret),
            source_state(source),
        ]);
    }
    table.draw(canvas)
}

fn source_state(source: &WebhookSourceView) -> Cell {
    if source.paused {
        Cell::toned("paused", Tone::Warning)
    } else {
        Cell::toned("active", Tone::Good)
    }
}

/// One source.
pub(crate) fn source(source: &WebhookSourceView, canvas: &Canvas) -> String {
    let good_for = source.tolerance_s.map(|s| format!("{s} s"));
    let mut fields = Fields::default();
    fields
        .add("name", &source.name)
        .add("state", if source.paused { "paused: events wait" } else { "active" })
        .add("scheme", &source.scheme)
        .add("taken at", &source.path)
        .add("given to the sender", &source.public_url)
        .add("verified with", &source.secret)
        .maybe("field of the secret", source.field.as_deref())
        .add("goes to", &source.to)
        .add("requests are good for", good_for.as_deref().unwrap_or("ever: no time is signed"))
        .list("may come from", &source.allow_from)
        .maybe("event named by", source.event_id.as_deref())
        .add("longest body", format!("{} bytes", source.max_body_bytes))
        .add("tried at most", times(source.attempts))
        .add("the app may take", format!("{} ms", source.patience_ms))
        .add("on their way at once", format!("{} at most", source.max_concurrent))
        .maybe("one after the other by", source.order_by.as_deref())
        .maybe("answered by the app within", source.answer_within_ms.map(|ms| format!("{ms} ms")))
        .add("made by", &source.created_by)
        .add("made", canvas.moment(source.created_at))
        .add("changed", canvas.moment(source.updated_at));
    for (verdict, count) in &source.tally.verdicts {
        fields.add("requests on this node", format!("{count} {verdict}"));
    }
    if source.tally.failure_burst {
        let refused = source.tally.recently_refused;
        let said = format!("{refused} were refused in the last five minutes");
        fields.toned("look at this", &said, Tone::Bad);
    }
    fields.draw(canvas)
}

/// Many events.
pub(crate) fn events(page: &Page<WebhookEventView>, canvas: &Canvas) -> String {
    let mut table = Table::new(EVENTS);
    for event in &page.items {
        table.row([
            Cell::new(&event.id),
            Cell::new(&event.source),
            Cell::maybe(event.event_id.as_deref()),
            Cell::new(canvas.distance(event.received_at)),
            Cell::toned(&event.state, state_tone(&event.state)),
            Cell::new(event.attempts.to_string()),
            Cell::maybe(answer(event)),
        ]);
    }
    table.draw(canvas)
}

fn state_tone(state: &str) -> Tone {
    match state {
        "delivered" => Tone::Good,
        "dead" => Tone::Bad,
        _ => Tone::Warning,
    }
}

fn answer(event: &WebhookEventView) -> Option<String> {
    event.failure.clone().or_else(|| event.status.map(|status| status.to_string()))
}

/// One event on one line.
pub(crate) fn event_line(event: &WebhookEventView, canvas: &Canvas) -> String {
    let state = canvas.paint(&event.state, state_tone(&event.state));
    let answer = answer(event).map(|answer| format!(" ({answer})")).unwrap_or_default();
    let line = format!("{} {} {state}", printable(&event.id), printable(&event.source));
    format!("{line} after {} tries{}", event.attempts, printable(&answer))
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn event_fields(event: &WebhookEventView, canvas: &Canvas) -> Fields {
    let mut fields = Fields::default();
    fields
        .add("id", &event.id)
        .add("source", &event.source)
        .maybe("sender's id", event.event_id.as_deref())
        .toned("state", &event.state, state_tone(&event.state))
        .add("came in", canvas.moment(event.received_at))
        .add("tried", times(event.attempts))
        .maybe("last answer", answer(event))
        .maybe("next", event.next_attempt_at.map(|at| canvas.moment(at)));
    fields
}

/// One event with the form of what came in.
pub(crate) fn preview(preview: &WebhookEventPreviewView, canvas: &Canvas) -> String {
    let mut fields = event_fields(&preview.event, canvas);
    fields.add("method", &preview.method).list("headers", &preview.header_names);
    format!("{}\n\n{}", fields.draw(canvas), printable_lines(&preview.preview))
}

/// One event with what came in.
pub(crate) fn event(details: &WebhookEventDetailsView, canvas: &Canvas) -> String {
    let mut fields = event_fields(&details.event, canvas);
    fields.add("method", &details.method).maybe("query", details.query.as_deref());
    for (name, value) in &details.headers {
        fields.add("header", format!("{name}: {value}"));
    }
    let body = BASE64_STANDARD.decode(&details.body).unwrap_or_default();
    let text = match String::from_utf8(body) {
        Ok(text) if text.len() > LONGEST_BODY => {
            let shown: String = text.chars().take(LONGEST_BODY).collect();
            format!("{shown}… ({} bytes; all of it with --format json)", text.len())
        }
        Ok(text) => text,
        Err(bytes) => format!("{} bytes that are no text", bytes.as_bytes().len()),
    };
    format!("{}\n\n{}", fields.draw(canvas), printable_lines(&text))
}

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
