//! Validated names. Each type can only be built from text that keeps its rule.

use std::{fmt, str::FromStr, sync::Arc};

use crate::Invalid;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name_type!(
    /// A project's name: the tenant everything else belongs to.
    ProjectName, slug);
name_type!(
    /// An environment's name within its project, such as `production`.
    EnvironmentName, slug);
name_type!(
    /// A keyspace's name within its project.
    KeyspaceName, slug);
name_type!(
    /// A connection's name within its project.
    ConnectionName, slug);
name_type!(
    /// A source of webhooks, within its project.
    WebhookSourceName, slug);
name_type!(
    /// A role's name within its project.
    RoleName, slug);
name_type!(
    /// The outside identity that keys belong to: the team's own id for a customer or a user.
    OwnerId, owner_id);
name_type!(
    /// What people call a key. Need not be unique.
    Label, label);
name_type!(
    /// The text every key of a keyspace begins with.
    KeyPrefix, key_prefix);

impl ProjectName {
    /// The project that exists from the first start and whose admins look after the others.
    pub fn default_project() -> Self {
        Self("default".into())
    }

    /// Whether this is the project that exists from the first start.
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }
}

fn slug(text: &str) -> Result<(), Invalid> {
    let bytes = text.as_bytes();
    let starts_well = bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let all_good = bytes
        .iter()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if starts_well && all_good && bytes.len() <= 64 {
        return Ok(());
    }
    Err(Invalid::new(
        "must be 1 to 64 characters of a-z, 0-9, '-' and '_', beginning with a letter or a digit",
    ))
}

fn owner_id(text: &str) -> Result<(), Invalid> {
    // As a path segment these two would name something else.
    if matches!(text, "." | "..") {
        return Err(Invalid::new("must not be '.' or '..'"));
    }
    visible(text, 255)
}

fn label(text: &str) -> Result<(), Invalid> {
    visible(text, 100)
}

/// Text a person can see whole: no control characters, nothing but spaces, no spaces at the ends.
fn visible(text: &str, longest: usize) -> Result<(), Invalid> {
    let length = text.chars().count();
    if length == 0 || length > longest {
        return Err(Invalid::new(format!("must be 1 to {longest} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new("must not contain control characters"));
    }
    if text.trim() != text {
        return Err(Invalid::new("must not begin or end with white space"));
    }
    Ok(())
}

fn key_prefix(text: &str) -> Result<(), Invalid> {
    let bytes = text.as_bytes();
    let good = bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last().is_some_and(|b| *b != b'_')
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        && !text.contains("__")
        && bytes.len() <= 24;
    if good {
        return Ok(());
    }
    Err(Invalid::new(
        "must be 1 to 24 characters of a-z, 0-9 and single '_', beginning with a letter and not \
         ending in '_'",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for good in ["default", "a", "0day", "my-app_2", &"x".repeat(64)] {
            assert!(good.parse::<ProjectName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "Default", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_and_owners() {
        assert!("Billing service (EU)".parse::<Label>().is_ok());
        assert!("Größe 北京".parse::<OwnerId>().is_ok());
        for bad in ["", " a", "a ", "a\nb", "a\u{0}b", ".", "..", &"x".repeat(256)] {
            assert!(bad.parse::<OwnerId>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(101).parse::<Label>().is_err());
    }

    #[test]
    fn prefixes_may_hold_single_underscores() {
        for good in ["kr", "acme_prod", "a1_b2_c3"] {
            assert!(good.parse::<KeyPrefix>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "a_", "_a", "a__b", "A", "a-b", &"x".repeat(25)] {
            assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
        }
    }
}
