//! Text with places for credentials and parameters: `/bot{token}`.

use serde::Deserialize;

/// Text with places. `{name}` of lower case letters, digits and `_` is a place; other braces, as in
/// JSON, are text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// The value of a credential or parameter.
    Place(String),
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        let parts = parse(&text);
        Self { text, parts }
    }
}

impl Template {
    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of its places.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Place(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        plain.push_str(before);
        match after.get(1..).and_then(|inner| inner.split_once('}')) {
            Some((name, behind)) if is_name(name) => {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Place(name.to_owned()));
                rest = behind;
            }
            _ => {
                plain.push('{');
                rest = after.get(1..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    parts
}

/// Whether text can name a credential, a parameter or a way to use them.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_names_in_braces() {
        let template = Template::from("https://{shop}.example/{a}{b}?x={}".to_owned());
        assert_eq!(template.places().collect::<Vec<_>>(), ["shop", "a", "b"]);
    }

    #[test]
    fn other_braces_are_text() {
        let template = Template::from(r#"{"a":{},"k":"{api_key}{"#.to_owned());
        assert_eq!(template.places().collect::<Vec<_>>(), ["api_key"]);
    }
}
