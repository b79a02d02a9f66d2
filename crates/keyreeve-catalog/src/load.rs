//! From the text of a file to a provider, or to every mistake in it with its line.

use toml_edit::ImDocument;

use crate::{
    check,
    place::{Mistake, line_of},
    provider::Provider,
};

/// A file of a provider is no longer than this, in bytes.
pub const LARGEST_FILE: usize = 256 << 10;

/// A provider and the file it is from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) document: ImDocument<String>,
    pub(crate) provider: Provider,
}

impl Source {
    /// What the file says, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        // What was read into a provider can be read into any value.
        toml_edit::de::from_document(self.document.clone()).unwrap_or_default()
    }
}

/// Reads and checks one file. `file` is how mistakes name it; its last part without the ending must
/// be the provider's id.
pub(crate) fn load(file: &str, text: &str) -> Result<Source, Vec<Mistake>> {
    let mistake = |line, rule: &str| Mistake { file: file.to_owned(), line, rule: rule.to_owned() };
    if text.len() > LARGEST_FILE {
        return Err(vec![mistake(1, "must be at most 256 KiB")]);
    }
    let at = |span: Option<std::ops::Range<usize>>| span.map_or(1, |it| line_of(text, it.start));
    let document = ImDocument::parse(text.to_owned())
        .map_err(|error| vec![mistake(at(error.span()), error.message())])?;
    let provider: Provider = toml_edit::de::from_document(document.clone())
        .map_err(|error| vec![mistake(at(error.span()), error.message())])?;
    let stem = file.rsplit(['/', '\\']).next().unwrap_or(file).trim_end_matches(".toml");
    let found = check::provider(&provider, stem).0;
    if found.is_empty() {
        return Ok(Source { file: file.to_owned(), document, provider });
    }
    let mistakes = found.into_iter().map(|(place, rule)| {
        mistake(place.line(&document), format!("{place} {rule}").trim_start())
    });
    Err(mistakes.collect())
}
