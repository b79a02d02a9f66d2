//! Countries a key is bound to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// An ISO 3166-1 alpha-2 country code, such as `DE`.
///
/// Any two letters are taken: codes come and go, and databases use some of their own, such as `XK`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

impl FromStr for CountryCode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.as_bytes() {
            [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
                Ok(Self([first.to_ascii_uppercase(), second.to_ascii_uppercase()]))
            }
            _ => Err(Invalid::new("must be a country code of two letters, such as DE")),
        }
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(CountryCode);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_letters_in_upper_case() {
        for (text, canonical) in [("DE", "DE"), ("us", "US"), ("xK", "XK")] {
            assert_eq!(text.parse::<CountryCode>().unwrap().to_string(), canonical);
        }
        for bad in ["", "D", "DEU", "D1", "ä", "D ", "--"] {
            assert!(bad.parse::<CountryCode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn travels_as_text() {
        let code: CountryCode = serde_json::from_str(r#""fr""#).unwrap();
        assert_eq!(serde_json::to_string(&code).unwrap(), r#""FR""#);
    }

    proptest! {
        #[test]
        fn every_code_is_read_back(text in "[a-zA-Z]{2}") {
            let code: CountryCode = text.parse().unwrap();
            prop_assert_eq!(code.to_string(), text.to_ascii_uppercase());
            prop_assert_eq!(code.to_string().parse::<CountryCode>(), Ok(code));
        }

        #[test]
        fn never_panics(text in "\\PC{0,4}") {
            let _ = text.parse::<CountryCode>();
        }
    }
}
