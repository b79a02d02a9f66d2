//! What was signed, put together again.

use std::borrow::Cow;

use super::{Reason, ReceivedRequest, form, scheme::Part, sent::Sent};

/// The escapes that `HubSpot` undoes before it signs an address.
const HUBSPOT_ESCAPES: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];
/// The field of an address in which Twilio puts the hash of a body that is no form.
pub(super) const BODY_SHA256: &str = "bodySHA256";

/// Pieces that are signed as one.
pub(super) type Message<'a> = Vec<Cow<'a, [u8]>>;

/// What was signed; more than one where it depends on what the sender took the address to be.
pub(super) fn messages<'a>(
    parts: &'a [Part],
    request: &ReceivedRequest<'a>,
    sent: &'a Sent<'a>,
    webhook_id: &'a str,
) -> Result<Vec<Message<'a>>, Reason> {
    let urls = if parts.contains(&Part::TwilioUrl) {
        twilio_urls(request.url)
    } else {
        vec![Cow::Borrowed(request.url)]
    };
    urls.into_iter()
        .map(|url| parts.iter().map(|part| piece(part, request, sent, webhook_id, &url)).collect())
        .collect()
}

fn piece<'a>(
    part: &'a Part,
    request: &ReceivedRequest<'a>,
    sent: &'a Sent<'a>,
    webhook_id: &'a str,
    url: &Cow<'a, str>,
) -> Result<Cow<'a, [u8]>, Reason> {
    Ok(match part {
        Part::Text(text) => Cow::Borrowed(text.as_bytes()),
        Part::Body => Cow::Borrowed(request.body),
        Part::Timestamp => {
            sent.timestamp.as_deref().ok_or(Reason::MissingTimestamp)?.as_bytes().into()
        }
        Part::Id => sent.id.as_deref().ok_or(Reason::MissingHeader)?.as_bytes().into(),
        Part::Method => Cow::Borrowed(request.method.as_bytes()),
        Part::Path => Cow::Borrowed(request.path().as_bytes()),
        Part::BodyCrc32 => Cow::Owned(crc32fast::hash(request.body).to_string().into_bytes()),
        Part::WebhookId => Cow::Borrowed(webhook_id.as_bytes()),
        Part::Url | Part::TwilioUrl => Cow::Owned(url.as_bytes().to_vec()),
        Part::HubSpotUrl => Cow::Owned(hubspot_url(url).into_bytes()),
        Part::TwilioForm if is_hashed(request) || !is_form(request) => Cow::Borrowed(b""),
        Part::TwilioForm => Cow::Owned(twilio_form(request.body)?),
    })
}

/// Whether the address says what the body's hash is.
pub(super) fn is_hashed(request: &ReceivedRequest<'_>) -> bool {
    form::query_field(request.query(), BODY_SHA256).is_some()
}

/// Whether the body is a form. What does not say what it is counts as one: then it is signed.
pub(super) fn is_form(request: &ReceivedRequest<'_>) -> bool {
    match request.header("content-type") {
        Ok(None) => true,
        Ok(Some(kind)) => {
            let essence = kind.split(';').next().unwrap_or(kind).trim();
            essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        }
        Err(_) => false,
    }
}

/// Every name with every value of its own, in order and each once:
/// <https://www.twilio.com/docs/usage/webhooks/webhooks-security>, and for values that repeat as the
/// vendor's own libraries have it.
fn twilio_form(body: &[u8]) -> Result<Vec<u8>, Reason> {
    let mut fields = form::fields(body)?;
    fields.sort_unstable();
    fields.dedup();
    Ok(fields.into_iter().flat_map(|(name, value)| [name, value]).collect::<String>().into_bytes())
}

/// The address with its port and without. A port of one's own is kept for `http` only.
fn twilio_urls(url: &str) -> Vec<Cow<'_, str>> {
    let mut urls = vec![Cow::Borrowed(url)];
    let Some((scheme, rest)) = url.split_once("://") else { return urls };
    let usual = match scheme {
        "https" => "443",
        "http" => "80",
        _ => return urls,
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host_at = authority.rfind('@').map_or(0, |at| at + 1);
    // Of an address in brackets, the colons inside are none of a port.
    let host_end = authority[host_at..].rfind(']').map_or(host_at, |at| host_at + at);
    match authority[host_end..].rfind(':').map(|at| authority.split_at(host_end + at)) {
        None => urls.push(format!("{scheme}://{authority}:{usual}{path}").into()),
        Some((host, port)) if scheme == "https" || &port[1..] == usual => {
            urls.push(format!("{scheme}://{host}{path}").into());
        }
        Some(_) => {}
    }
    urls
}

fn hubspot_url(url: &str) -> String {
    let mut text = url.to_owned();
    for (escape, plain) in HUBSPOT_ESCAPES {
        text = text.replace(escape, plain);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tried_with_and_without_their_port() {
        for (url, other) in [
            ("https://a.example/x?y", Some("https://a.example:443/x?y")),
            ("http://a.example", Some("http://a.example:80")),
            ("https://a.example:443/x", Some("https://a.example/x")),
            ("https://a.example:8443/x", Some("https://a.example/x")),
            ("http://a.example:1234/x", None),
            ("http://a.example:80/x", Some("http://a.example/x")),
            ("https://u:p@a.example/x", Some("https://u:p@a.example:443/x")),
            ("https://[2001:db8::1]/x", Some("https://[2001:db8::1]:443/x")),
            ("https://[2001:db8::1]:443/x", Some("https://[2001:db8::1]/x")),
            ("ftp://a.example/x", None),
        ] {
            let urls = twilio_urls(url);
            assert_eq!(urls[0], url);
            assert_eq!(urls.get(1).map(|url| &**url), other, "{url}");
        }
    }

    #[test]
    fn fields_are_sorted_and_each_value_stands_once() {
        assert_eq!(twilio_form(b"b=2&a=3&a=1&a=3").unwrap(), b"a1a3b2");
        assert_eq!(twilio_form(b"").unwrap(), b"");
    }
}
