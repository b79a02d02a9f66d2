//! Where in a file something stands, and what is wrong there.

use std::fmt;

use toml_edit::{ImDocument, Item};

/// A step on the way to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(&'static str),
    Index(usize),
}

/// The way to a member, such as `credential`, 2, `pattern`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(Vec<Step>);

impl Place {
    /// A member of this one.
    pub(crate) fn key(&self, name: &'static str) -> Self {
        self.with(Step::Key(name))
    }

    /// One of a list.
    pub(crate) fn at(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The line it stands on, from 1: of the member, or of the nearest thing around it.
    pub(crate) fn line(&self, document: &ImDocument<String>) -> usize {
        let mut item: &Item = document.as_item();
        let mut line = item.span().map_or(1, |span| line_of(document.raw(), span.start));
        for step in &self.0 {
            let inner = match step {
                Step::Key(name) => item.get(name),
                // A list of tables has its items elsewhere than a list of values.
                Step::Index(index) => {
                    if let Item::ArrayOfTables(tables) = item {
                        let span = tables.get(*index).and_then(toml_edit::Table::span);
                        line = span.map_or(line, |span| line_of(document.raw(), span.start));
                        item.get(*index)
                    } else {
                        let value = item.as_array().and_then(|array| array.get(*index));
                        let span = value.and_then(toml_edit::Value::span);
                        return span.map_or(line, |span| line_of(document.raw(), span.start));
                    }
                }
            };
            let Some(inner) = inner else { break };
            item = inner;
            line = item.span().map_or(line, |span| line_of(document.raw(), span.start));
        }
        line
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if index == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(number) => write!(f, "[{number}]")?,
            }
        }
        Ok(())
    }
}

/// The line of a byte, from 1.
pub(crate) fn line_of(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or(text).matches('\n').count() + 1
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {rule}")]
pub struct Mistake {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The member and its rule. The value is not repeated: files of users may hold what they should
    /// not.
    pub rule: String,
}
