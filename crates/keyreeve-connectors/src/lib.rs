//! Other services that Keyreeve calls.
//!
//! Each service is one file. All of them go through one client ([`http::GuardedClient`]) that speaks TLS,
//! follows no redirects, and bounds time and size.

pub mod backends;
pub mod http;
