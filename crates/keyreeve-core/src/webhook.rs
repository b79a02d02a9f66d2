//! Webhooks: whether a request that came in was sent by who it says.
//!
//! [`Scheme`] says how a provider signs, as data; [`verify`] is the one engine that reads it. What is
//! looked at, and in which order: the configuration, the form of what was sent, the signature (every
//! key with every signature, without an early end), and only then the time and the body, so that
//! nobody learns about those without a good signature. Whether a request was seen before is for the
//! caller to know: [`Verified::replay_keys`] says what to look for.
//!
//! A signature is compared as text where it can be made again (HMAC), and decoded strictly where it
//! cannot, so that of each there is one spelling only.

mod burst;
mod certificate;
mod form;
mod generic;
mod handshake;
mod key;
mod message;
mod preview;
mod providers;
mod reason;
mod request;
mod retry;
mod scheme;
mod sent;
mod sign;
mod sns;
#[cfg(test)]
mod tests;
mod token;
mod vectors;
mod verify;

pub use self::{
    burst::{Counts, RecentVerdicts, is_burst},
    certificate::{Certificate, CertificateUrl, ConfirmationUrl},
    generic::GenericScheme,
    handshake::HandshakeAnswer,
    key::SigningKey,
    preview::preview,
    providers::{named, names},
    reason::Reason,
    request::{HeaderLine, ReceivedRequest},
    retry::retry_delay,
    scheme::Scheme,
    sign::{SignedHeaders, Signing, sign, sign_standard},
    token::SharedToken,
    vectors::{Outcome, Vector},
    verify::{Settings, Verified, certificate_needed, verify},
};
