//! What a failed command says: what went wrong, because of what, and what to do next.
//!
//! Errors inside this crate are `anyhow` errors. They become words here and nowhere else, so that
//! text and JSON say the same.

mod hint;

use std::error::Error;

use anstyle::{AnsiColor, Style};
use keyreeve_api::{ClientError, FieldProblem};
use serde::Serialize;

use crate::{
    config::ConfigError,
    output::printable::{printable, printable_lines},
};

const RED: Style = AnsiColor::Red.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// A failed command, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    causes: Vec<String>,
    code: Option<String>,
    hint: Option<String>,
    errors: Vec<FieldProblem>,
}

/// An error that comes with advice.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Advised {
    message: String,
    hint: String,
}

impl Advised {
    /// `hint` says what to do next.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl Failure {
    /// Puts an error into words.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut failure = Self::default();
        let mut messages: Vec<String> = Vec::new();
        for link in error.chain() {
            let message = failure.learn(link);
            // Wrappers often repeat what they wrap.
            if messages.last() != Some(&message) {
                messages.push(message);
            }
            if let Some(ClientError::Unreachable { source, .. }) = link.downcast_ref() {
                // Between "no server answers" and the reason stand layers of the HTTP library.
                messages.push(root_of(source).to_string());
                break;
            }
        }
        let mut messages = messages.into_iter();
        failure.message = messages.next().unwrap_or_default();
        failure.causes = messages.collect();
        failure.hint = hint::find(error);
        failure
    }

    /// Takes what one link of the chain knows, and gives its message.
    fn learn(&mut self, link: &(dyn Error + 'static)) -> String {
        if let Some(ClientError::Refused(problem)) = link.downcast_ref() {
            self.code = Some(problem.code.clone());
            self.errors.clone_from(&problem.errors);
            return problem.detail.clone().unwrap_or_else(|| problem.title.clone());
        }
        if let Some(error) = link.downcast_ref::<ConfigError>() {
            self.errors = error.faults().to_vec();
            return "the configuration is not valid".to_owned();
        }
        link.to_string()
    }

    /// For people: a line for the error, one for each field and cause, and one of advice.
    pub(crate) fn to_text(&self) -> String {
        let mut lines = vec![format!("{RED}error:{RED:#} {}", printable_lines(&self.message))];
        for error in &self.errors {
            lines.push(format!("  {}: {}", printable(&error.field), printable(&error.rule)));
        }
        for cause in &self.causes {
            lines.push(format!("  because {}", printable_lines(cause)));
        }
        if let Some(hint) = &self.hint {
            lines.push(format!("{CYAN}hint:{CYAN:#} {}", printable(hint)));
        }
        lines.join("\n")
    }

    /// For programs: one JSON object on one line.
    pub(crate) fn to_json(&self) -> String {
        let mut message = self.message.clone();
        for cause in &self.causes {
            message.push_str(": ");
            message.push_str(cause);
        }
        let error = ErrorView {
            message,
            code: self.code.as_deref(),
            hint: self.hint.as_deref(),
            errors: &self.errors,
        };
        serde_json::to_string(&FailureView { error }).unwrap_or_default()
    }
}

fn root_of<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root
}

#[derive(Serialize)]
struct FailureView<'a> {
    error: ErrorView<'a>,
}

#[derive(Serialize)]
struct ErrorView<'a> {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use keyreeve_api::{ErrorCode, Problem};

    use super::*;

    fn refused(code: ErrorCode) -> anyhow::Error {
        let mut problem = Problem::new(code, "r-1");
        problem.detail = Some("it breaks a rule".to_owned());
        problem.errors =
            vec![FieldProblem { field: "name".to_owned(), rule: "must be short".to_owned() }];
        ClientError::Refused(Box::new(problem)).into()
    }

    fn plain(failure: &Failure) -> String {
        anstream::adapter::strip_str(&failure.to_text()).to_string()
    }

    #[test]
    fn a_refusal_names_its_fields() {
        let failure = Failure::of(&refused(ErrorCode::InvalidRequest));
        assert_eq!(plain(&failure), "error: it breaks a rule\n  name: must be short");
        let expected = concat!(
            r#"{"error":{"message":"it breaks a rule","code":"invalid_request","#,
            r#""errors":[{"field":"name","rule":"must be short"}]}}"#,
        );
        assert_eq!(failure.to_json(), expected);
    }

    #[test]
    fn causes_stand_beneath_and_advice_at_the_end() {
        let error: anyhow::Error = Advised::new("the disk is full", "make room").into();
        let failure = Failure::of(&error.context("cannot export"));
        let expected = "error: cannot export\n  because the disk is full\nhint: make room";
        assert_eq!(plain(&failure), expected);
        let expected =
            r#"{"error":{"message":"cannot export: the disk is full","hint":"make room"}}"#;
        assert_eq!(failure.to_json(), expected);
    }

    #[test]
    fn nothing_is_said_twice_and_nothing_acts_on_the_terminal() {
        let error = Err::<(), _>(anyhow!("a\u{1b}[2Jb")).context("a\u{1b}[2Jb").unwrap_err();
        assert_eq!(plain(&Failure::of(&error)), "error: a�[2Jb");
    }
}
