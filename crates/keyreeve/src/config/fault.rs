//! What is wrong with the settings, and from where they came.

use std::fmt;

use figment::Figment;
use keyreeve_api::FieldProblem;
use keyreeve_core::Invalid;

/// The settings cannot be used. Names settings, rules and sources, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    faults: Vec<FieldProblem>,
}

impl ConfigError {
    /// One fault.
    pub(super) fn single(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { faults: vec![FieldProblem { field: field.into(), rule: rule.into() }] }
    }

    /// Everything that is wrong.
    pub(crate) fn faults(&self) -> &[FieldProblem] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid")?;
        for (n, fault) in self.faults.iter().enumerate() {
            let separator = if n == 0 { ": " } else { "; " };
            write!(f, "{separator}{} {}", fault.field, fault.rule)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<FieldProblem>);

impl Faults {
    /// Records one; `origin` is the source of the setting.
    pub(super) fn push(&mut self, field: impl Into<String>, rule: &str, origin: &str) {
        self.0.push(FieldProblem { field: field.into(), rule: format!("{rule} ({origin})") });
    }

    /// Fails if there are any.
    pub(super) fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { faults: self.0 }) }
    }
}

/// Judges values, and remembers what breaks a rule.
pub(super) struct Rules<'a> {
    figment: &'a Figment,
    faults: Faults,
}

impl<'a> Rules<'a> {
    /// For settings out of these layers.
    pub(super) fn new(figment: &'a Figment) -> Self {
        Self { figment, faults: Faults::default() }
    }

    /// The value, unless it breaks its rule.
    pub(super) fn keep<T>(&mut self, key: &str, judged: Result<T, Invalid>) -> Option<T> {
        match judged {
            Ok(value) => Some(value),
            Err(invalid) => {
                let layer = self.figment.find_metadata(key);
                let origin = layer.map_or("the defaults", |metadata| &*metadata.name);
                self.faults.push(key, invalid.rule(), origin);
                None
            }
        }
    }

    /// The outcome; `None` only after a fault.
    pub(super) fn into_result<T>(self, outcome: Option<T>) -> Result<T, ConfigError> {
        self.faults.into_result()?;
        outcome.ok_or_else(|| ConfigError::single("the configuration", "could not be read"))
    }
}
