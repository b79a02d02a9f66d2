//! From wire fields to domain values. All broken rules of a request are told at once.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use keyreeve_api::MetadataView;
use keyreeve_core::{
    Invalid, duration,
    model::{ApiKey, Metadata, Tags},
    name::RoleName,
    permission::PermissionSet,
};
use keyreeve_engine::{FieldError, Life, keys::Expiry};

use crate::{problem::Failure, view::NEVER};

const LONGEST_REASON: usize = 500;

/// Collects what is wrong while reading fields.
#[derive(Default)]
pub(crate) struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// Keeps a value, or notes why it is none.
    pub(crate) fn take<T>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, Invalid>,
    ) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(rule) => {
                self.errors.push(FieldError::new(field, rule));
                None
            }
        }
    }

    pub(crate) fn parse<T: FromStr<Err = Invalid>>(
        &mut self,
        field: &'static str,
        text: &str,
    ) -> Option<T> {
        self.take(field, text.parse())
    }

    /// A field that may be absent.
    pub(crate) fn optional<T: FromStr<Err = Invalid>>(
        &mut self,
        field: &'static str,
        text: Option<&str>,
    ) -> Option<T> {
        text.and_then(|text| self.parse(field, text))
    }

    pub(crate) fn duration(
        &mut self,
        field: &'static str,
        text: Option<&str>,
    ) -> Option<SignedDuration> {
        text.and_then(|text| self.take(field, duration::parse(text)))
    }

    /// A length of time, or `never`.
    pub(crate) fn life(&mut self, field: &'static str, text: Option<&str>) -> Option<Life> {
        match text? {
            NEVER => Some(Life::Unlimited),
            text => {
                let length = duration::parse(text).and_then(positive);
                self.take(field, length).map(Life::Limited)
            }
        }
    }

    pub(crate) fn expiry(
        &mut self,
        expires_in: Option<&str>,
        expires_at: Option<Timestamp>,
    ) -> Option<Expiry> {
        match (self.life("expires_in", expires_in), expires_at) {
            (Some(_), Some(_)) => {
                let rule = Invalid::new("must not stand together with expires_in");
                self.take("expires_at", Err(rule))
            }
            (Some(Life::Limited(length)), None) => Some(Expiry::In(length)),
            (Some(Life::Unlimited), None) => Some(Expiry::Never),
            (None, at) => at.map(Expiry::At),
        }
    }

    pub(crate) fn permissions(&mut self, texts: &[String]) -> Option<PermissionSet> {
        self.take("permissions", PermissionSet::parse(texts))
    }

    pub(crate) fn roles(&mut self, texts: &[String]) -> Option<Vec<RoleName>> {
        if texts.len() > ApiKey::MOST_ROLES {
            return self.take("roles", Err(Invalid::new("must hold at most 20 roles")));
        }
        let mut roles: Vec<RoleName> =
            self.take("roles", texts.iter().map(|text| text.parse()).collect())?;
        roles.sort();
        roles.dedup();
        Some(roles)
    }

    pub(crate) fn metadata(&mut self, map: MetadataView) -> Option<Metadata> {
        self.take("metadata", Metadata::new(map))
    }

    pub(crate) fn tags(&mut self, tags: Vec<String>) -> Option<Tags> {
        self.take("tags", Tags::new(tags))
    }

    /// Why something is done, for the audit.
    pub(crate) fn reason(&mut self, text: Option<String>) -> Option<String> {
        let text = text?;
        let good = (1..=LONGEST_REASON).contains(&text.chars().count())
            && !text.chars().any(char::is_control);
        let rule = || Invalid::new("must be 1 to 500 characters without control characters");
        self.take("reason", if good { Ok(text) } else { Err(rule()) })
    }

    /// One line for people; may be empty.
    pub(crate) fn description(&mut self, text: String) -> Option<String> {
        let good = text.chars().count() <= 200 && !text.chars().any(char::is_control);
        let rule = || Invalid::new("must be at most 200 characters without control characters");
        self.take("description", if good { Ok(text) } else { Err(rule()) })
    }

    /// Ends the reading. With nothing wrong, every field that had to be there is there.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Failure> {
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(Failure::fields(self.errors)),
        }
    }
}

fn positive(length: SignedDuration) -> Result<SignedDuration, Invalid> {
    if length.is_zero() { Err(Invalid::new("must be longer than nothing")) } else { Ok(length) }
}
