//! What the service behind a gateway learns about the key.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

/// Bytes of the list of permissions that are sent at most. Many programs take no more than 8 KiB
/// of headers in all.
const LONGEST_LIST: usize = 4096;

/// A key, as text.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) key_id: String,
    pub(super) key_name: String,
    /// Empty when there is none.
    pub(super) owner: String,
    pub(super) roles: Vec<String>,
    /// In any order, and some perhaps twice: a role may grant what the key has of its own.
    pub(super) permissions: Vec<String>,
    pub(super) environment: String,
    pub(super) keyspace: String,
    pub(super) project: String,
}

impl Identity {
    /// Adds all headers, those without a value too: a gateway that copies them then drops what a
    /// client made up under their names.
    pub(super) fn insert_into(&self, headers: &mut HeaderMap) {
        let roles: Vec<String> = self.roles.iter().map(|role| visible(role)).collect();
        let (permissions, truncated) = list(&self.permissions);
        for (name, text) in [
            ("x-keyreeve-key-id", visible(&self.key_id)),
            ("x-keyreeve-key-name", visible(&self.key_name)),
            ("x-keyreeve-owner", visible(&self.owner)),
            ("x-keyreeve-roles", roles.join(",")),
            ("x-keyreeve-permissions", permissions),
            ("x-keyreeve-permissions-truncated", if truncated { "true" } else { "" }.to_owned()),
            ("x-keyreeve-environment", visible(&self.environment)),
            ("x-keyreeve-keyspace", visible(&self.keyspace)),
            ("x-keyreeve-project", visible(&self.project)),
        ] {
            // Visible ASCII and spaces only, so there is no way to fail.
            let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
            headers.insert(name, value);
        }
    }
}

/// The permissions in order, each once, with spaces between, and whether some had to go.
fn list(permissions: &[String]) -> (String, bool) {
    let mut words: Vec<String> = permissions.iter().map(|word| visible(word)).collect();
    words.sort_unstable();
    words.dedup();
    let mut text = String::new();
    for word in words {
        let space = usize::from(!text.is_empty());
        if text.len() + space + word.len() > LONGEST_LIST {
            return (text, true);
        }
        if space == 1 {
            text.push(' ');
        }
        text.push_str(&word);
    }
    (text, false)
}

/// The text with everything but visible ASCII percent-encoded as UTF-8, and `%` too, so that it
/// can be decoded.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            shown.push(char::from(byte));
        } else {
            // Into memory: there is nothing here that can fail.
            let _ = write!(shown, "%{byte:02X}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_of(identity: &Identity) -> HeaderMap {
        let mut headers = HeaderMap::new();
        identity.insert_into(&mut headers);
        headers
    }

    #[test]
    fn everything_is_told() {
        let headers = headers_of(&Identity {
            key_id: "abc123".into(),
            key_name: "Büro 100%".into(),
            owner: "acme".into(),
            roles: vec!["viewer".into(), "operator".into()],
            permissions: vec!["b.read".into(), "a.*".into(), "b.read".into()],
            environment: "production".into(),
            keyspace: "main".into(),
            project: "default".into(),
        });
        for (name, value) in [
            ("x-keyreeve-key-id", "abc123"),
            ("x-keyreeve-key-name", "B%C3%BCro%20100%25"),
            ("x-keyreeve-owner", "acme"),
            ("x-keyreeve-roles", "viewer,operator"),
            ("x-keyreeve-permissions", "a.* b.read"),
            ("x-keyreeve-permissions-truncated", ""),
            ("x-keyreeve-environment", "production"),
            ("x-keyreeve-keyspace", "main"),
            ("x-keyreeve-project", "default"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert_eq!(headers.len(), 9);
    }

    #[test]
    fn headers_without_a_value_are_there_too() {
        let headers = headers_of(&Identity::default());
        assert_eq!(headers.len(), 9);
        assert!(headers.values().all(HeaderValue::is_empty), "{headers:?}");
    }

    #[test]
    fn a_name_cannot_begin_a_header_of_its_own() {
        let name = "a\r\nx-keyreeve-owner: evil\0\u{7f}";
        let headers = headers_of(&Identity { key_name: name.into(), ..Identity::default() });
        assert_eq!(headers["x-keyreeve-key-name"], "a%0D%0Ax-keyreeve-owner:%20evil%00%7F");
    }

    #[test]
    fn a_long_list_is_cut_between_words() {
        // Eight bytes each with their space: 512 of them fit but for the last one's missing space.
        let words: Vec<String> = (0..513).map(|n| format!("a.{n:05}")).collect();
        assert_eq!(list(&words[..512]).0.len(), 8 * 512 - 1);
        assert!(!list(&words[..512]).1);
        let (text, truncated) = list(&words);
        assert!(truncated && text.ends_with(" a.00511"), "{text}");
        let headers = headers_of(&Identity { permissions: words, ..Identity::default() });
        assert_eq!(headers["x-keyreeve-permissions-truncated"], "true");
        assert_eq!(headers["x-keyreeve-permissions"], text);
    }

    #[test]
    fn a_word_that_is_too_long_is_left_out_whole() {
        assert_eq!(list(&["a".repeat(LONGEST_LIST + 1)]), (String::new(), true));
        assert_eq!(list(&["a".repeat(LONGEST_LIST)]).0.len(), LONGEST_LIST);
    }

    #[test]
    fn the_examples_know_every_header() {
        let headers = headers_of(&Identity::default());
        for (example, text) in [
            ("nginx", include_str!("../../../../examples/gateways/nginx.conf")),
            ("Caddy", include_str!("../../../../examples/gateways/Caddyfile")),
            ("Traefik", include_str!("../../../../examples/gateways/traefik-dynamic.yml")),
            ("Envoy", include_str!("../../../../examples/gateways/envoy.yaml")),
        ] {
            let text = text.to_ascii_lowercase();
            for name in headers.keys() {
                // A longer name would hold a shorter one.
                let named = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                let count = named.filter(|word| *word == name.as_str()).count();
                assert!(count > 0, "the example for {example} lacks {name}");
            }
        }
    }
}
