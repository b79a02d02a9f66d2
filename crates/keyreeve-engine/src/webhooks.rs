//! Webhooks: requests that others send when something happened. Who signed them is verified, what was
//! accepted is kept until the app has taken it.

mod deliver;
mod events;
mod keys;
mod manage;
mod receive;
mod request;
mod source;
mod verdicts;

pub use self::{
    deliver::{Attempt, DueEvent, Places, UnderWay},
    events::RequestPreview,
    manage::{SourceChange, SourceSpec},
    receive::{HookRefused, HookRequest, Received},
    request::StoredRequest,
    source::{SourceProof, SourceSettings, WebhookSource},
    verdicts::{HookVerdict, SourceTally},
};
pub(crate) use self::{keys::SourceKeys, verdicts::VerdictLedger};
