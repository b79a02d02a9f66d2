//! Regular expressions that match whole values.

use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

/// What one expression may take when compiled, in bytes.
const MOST_COMPILED_BYTES: usize = 4 << 20;

/// What a whole value looks like. Compiled at first use: most of a catalogue is never asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Pattern {
    text: Arc<str>,
    compiled: Arc<OnceLock<Option<Regex>>>,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self { text: text.into(), compiled: Arc::default() }
    }
}

impl Pattern {
    /// As it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole value matches. A pattern that does not compile, which validation refuses,
    /// matches nothing.
    pub fn matches(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| compile(&self.text).ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(value))
    }

    /// Whether every value begins with the same two letters or digits.
    pub(crate) fn begins_with_letters(&self) -> bool {
        let mut letters = self.text.chars();
        let letter = |it: Option<char>| it.is_some_and(|it| it.is_ascii_alphanumeric());
        letter(letters.next())
            && letter(letters.next())
            && !matches!(letters.next(), Some('?' | '*' | '{' | '|'))
    }

    /// Why it does not compile, on one line.
    pub(crate) fn mistake(&self) -> Option<String> {
        let error = compile(&self.text).err()?;
        let text = error.to_string();
        // The library draws the expression over several lines; the last says what is wrong.
        let last = text.lines().last().unwrap_or_default();
        Some(last.trim_start_matches("error: ").to_owned())
    }
}

fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!(r"\A(?:{text})\z")).size_limit(MOST_COMPILED_BYTES).build()
}
