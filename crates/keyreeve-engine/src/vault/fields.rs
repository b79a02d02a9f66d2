//! The fields of a version.

use std::collections::BTreeMap;

use keyreeve_core::{Invalid, Secret, vault::merge_patch};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::VaultError;
use crate::FieldError;

/// The most bytes of a version's fields, as JSON.
const MOST_BYTES: usize = 1 << 20;

/// A version's fields: a JSON object, kept as the text that was given, so that numbers stay as they
/// were written.
#[derive(Debug)]
pub struct Fields(Secret<String>);

impl Fields {
    /// Takes the text of a JSON object.
    pub fn parse(text: Secret<String>) -> Result<Self, FieldError> {
        let refuse = |rule| Err(FieldError::new("data", Invalid::new(rule)));
        // EXPOSE: looked through for its shape.
        let exposed = text.expose();
        if exposed.len() > MOST_BYTES {
            return refuse("must be at most 1 MiB");
        }
        let is_object = exposed.trim_start().starts_with('{')
            && serde_json::from_str::<serde::de::IgnoredAny>(exposed).is_ok();
        if is_object { Ok(Self(text)) } else { refuse("must be a JSON object") }
    }

    /// Fields that were taken once and have been sealed since.
    pub(super) fn stored(text: Secret<String>) -> Self {
        Self(text)
    }

    /// The text.
    pub fn text(&self) -> &Secret<String> {
        &self.0
    }

    /// Whether these are the same fields, however each text is escaped. In doubt, they are not.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        // EXPOSE: compared, without a word about the outcome but this one.
        let [one, other] = [self, other].map(|fields| {
            serde_json::from_str::<BTreeMap<String, &RawValue>>(fields.text().expose())
        });
        // A text and whether it is one: 1 is not "1". What is nested is compared as it is written.
        let text = |value: &RawValue| {
            let text = serde_json::from_str::<String>(value.get());
            (text.is_ok(), Zeroizing::new(text.unwrap_or_else(|_| value.get().to_owned())))
        };
        let (Ok(one), Ok(other)) = (one, other) else { return false };
        one.len() == other.len()
            && one.iter().all(|(name, value)| {
                other.get(name).is_some_and(|other| text(value) == text(other))
            })
    }
}

/// The fields with a merge patch.
pub(super) fn patched(old: &Fields, patch: &Fields) -> Result<Fields, VaultError> {
    let refuse = |rule| VaultError::Invalid(FieldError::new("data", rule));
    let merged = merge_patch(old.text(), patch.text()).map_err(refuse)?;
    Fields::parse(merged).map_err(VaultError::Invalid)
}
