//! Requests that go out with a credential: where they may go, and what may stand in their paths.
//!
//! A request to `/proxy/<connection>/<path>` is sent on to the connection's service with a
//! credential that its sender never sees. Whatever decides on it and whatever sends it read one
//! and the same value: an [`Origin`] for the host, a [`Target`] for the path. Addresses are judged
//! by [`reach`] after the name was resolved, each of them, and again on every connect.

/// Lets serde read and write a type in its text form.
macro_rules! serde_as_text {
    ($name:ident) => {
        impl std::str::FromStr for $name {
            type Err = crate::Invalid;

            fn from_str(text: &str) -> Result<Self, crate::Invalid> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = crate::Invalid;

            fn try_from(text: String) -> Result<Self, crate::Invalid> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

mod address;
mod host;
mod scrub;
mod target;

pub use address::{Reach, reach};
pub use host::{BaseUrl, HostName, Origin, Scheme};
pub use scrub::{Fed, SHORTEST, ScrubSet, Scrubber, forms};
pub use target::{PathRules, Target, TargetFault};
