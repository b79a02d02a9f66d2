//! The data plane: calls to outside services with credentials that the callers never see.
//!
//! A call's way is the order of the files in `proxy/`: `request` (what was asked), the engine's
//! `admit_call` (who, whether, with what), `inject` (the credential goes in), `forward` and `send` (it is
//! sent and answered), `answer` (what comes back, scrubbed), `record` (what the record keeps). `upstream/` holds
//! connections to services: which addresses may be dialled, which connections are used again, and how
//! HTTP/1.1 is spoken on them.
//! `tokens/` has tokens minted with credentials that services do not take themselves; `probe/` asks services
//! whether a credential is good.
//! `webhooks/` is the other direction: requests that services send us, verified, kept and handed on.

mod body;
mod cache;
#[cfg(fuzzing)]
pub mod fuzzing;
mod probe;
mod proxy;
mod tokens;
mod upstream;
mod webhooks;

pub use self::{
    body::AnswerBody,
    proxy::{PREFIX, Proxy, ProxyOptions, Refusal, RefusalKind, Served},
    upstream::TrustError,
    webhooks::{HOOKS_PREFIX, Webhooks},
};
