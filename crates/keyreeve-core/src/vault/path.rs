//! Where a secret is: `production/stripe`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The longest path, in bytes.
const LONGEST: usize = 512;
/// The most segments.
const DEEPEST: usize = 32;

/// The path of a secret: segments between slashes, none of them empty, `.` or `..`, none with
/// control characters. Exactly one text names one secret: nothing is normalised.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretPath(Arc<str>);

/// A folder of secrets: empty for all, else a path that ends in a slash.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretPathPrefix(Arc<str>);

impl SecretPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments in order.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }
}

impl SecretPathPrefix {
    /// All secrets.
    pub fn root() -> Self {
        Self("".into())
    }

    /// The folder as text, with the slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SecretPath {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<SecretPath> for String {
    fn from(path: SecretPath) -> Self {
        path.as_str().to_owned()
    }
}

impl FromStr for SecretPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

impl FromStr for SecretPathPrefix {
    type Err = Invalid;

    /// The slash at the end may be left out.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let folder = text.strip_suffix('/').unwrap_or(text);
        if folder.is_empty() {
            return if text == "/" { Err(segments()) } else { Ok(Self::root()) };
        }
        check(folder)?;
        Ok(Self(format!("{folder}/").into()))
    }
}

fn segments() -> Invalid {
    Invalid::new("must be segments between slashes, none of them empty, '.' or '..'")
}

fn check(text: &str) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > LONGEST {
        return Err(Invalid::new("must be 1 to 512 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new("must not contain control characters"));
    }
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(segments());
    }
    if text.split('/').count() > DEEPEST {
        return Err(Invalid::new("must have at most 32 segments"));
    }
    Ok(())
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
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
    )*};
}

as_text!(SecretPath SecretPathPrefix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_names_one_secret() {
        for good in ["stripe", "production/stripe", "a b/ü", "x".repeat(512).as_str()] {
            assert!(good.parse::<SecretPath>().is_ok(), "{good}");
        }
        let deep = vec!["a"; 33].join("/");
        let long = "x".repeat(513);
        let bad =
            ["", "/a", "a/", "a//b", ".", "a/..", "../a", "a/./b", "a\nb", "a\0", &deep, &long];
        for bad in bad {
            assert!(bad.parse::<SecretPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn folders_end_in_a_slash() {
        let folder = |text: &str| text.parse::<SecretPathPrefix>().map(|it| it.to_string());
        assert_eq!(folder("").unwrap(), "");
        assert_eq!(folder("a/b").unwrap(), "a/b/");
        assert_eq!(folder("a/b/").unwrap(), "a/b/");
        assert!(folder("/").is_err() && folder("a//").is_err() && folder("..").is_err());
    }
}
