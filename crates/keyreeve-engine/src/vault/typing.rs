//! Whether what is to be kept can be meant: said by whoever knows credentials.

use std::collections::BTreeMap;

use keyreeve_catalog::Provider;
use keyreeve_core::{Invalid, vault::SecretPath};
use serde_json::{Value, value::RawValue};
use zeroize::Zeroizing;

use super::{Fields, VaultError};
use crate::{Engine, FieldError};

/// Knows what credentials look like.
pub trait CredentialTypes: Send + Sync {
    /// What a value is, and whether it can be meant for that field of a secret.
    fn judge(&self, path: &SecretPath, field: &str, value: &str) -> CredentialJudgement;

    /// A provider of the catalogue, and its file as JSON.
    fn provider(&self, id: &str) -> Option<(&Provider, &Value)>;
}

/// What a value turned out to be. Nothing of the value may be in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialJudgement {
    /// Whose credential it is, such as `stripe`, where that is known.
    pub provider: Option<String>,
    /// Why it cannot be meant.
    pub objection: Option<String>,
}

/// What is known of fields that are to be kept.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// Whose credentials they are, if they are all of one provider.
    pub(super) provider: Option<String>,
    /// Fields that were kept although somebody objected.
    pub(super) forced: Vec<String>,
}

impl Engine {
    /// Looks at fields before they are kept. What cannot be meant is refused unless it is forced.
    pub(super) fn type_fields(
        &self,
        path: &SecretPath,
        fields: &Fields,
        force: bool,
    ) -> Result<Typed, VaultError> {
        let Some(types) = &self.credential_types else { return Ok(Typed::default()) };
        // EXPOSE: looked at for what it is.
        let texts = serde_json::from_str::<BTreeMap<String, &RawValue>>(fields.text().expose());
        let texts = texts.map_err(|_| {
            VaultError::Invalid(FieldError::new("data", Invalid::new("must be a JSON object")))
        })?;
        let (mut objections, mut typed) = (Vec::new(), Typed::default());
        let mut providers: Vec<String> = Vec::new();
        for (field, raw) in &texts {
            // Other values than texts are no credentials.
            let Ok(value) = serde_json::from_str::<String>(raw.get()).map(Zeroizing::new) else {
                continue;
            };
            let judged = types.judge(path, field, &value);
            objections.extend(judged.objection.map(|objection| (field.clone(), objection)));
            providers.extend(judged.provider);
        }
        providers.sort_unstable();
        providers.dedup();
        if let [provider] = providers.as_slice() {
            typed.provider = Some(provider.clone());
        }
        if objections.is_empty() {
            return Ok(typed);
        }
        if force {
            typed.forced = objections.into_iter().map(|(field, _)| field).collect();
            return Ok(typed);
        }
        Err(VaultError::Doubtful(objections))
    }
}

/// Says what is refused, field by field.
pub(super) fn objections(all: &[(String, String)]) -> String {
    let each: Vec<String> = all.iter().map(|(field, rule)| format!("{field} {rule}")).collect();
    each.join("; ")
}
