//! Events that came in as webhooks: kept until they are delivered, and for a while after.

use jiff::Timestamp;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventState {
    /// It is to be delivered, at once or later.
    Waiting,
    /// The app took it.
    Delivered,
    /// It was tried often enough; only a person has it tried again.
    Dead,
}

impl EventState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Delivered, Self::Dead];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// From the stored form.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// An event that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent {
    /// Ours; later events have greater ones.
    pub id: String,
    /// The source's name.
    pub source: String,
    /// What the sender calls it, where it says so.
    pub event_id: Option<String>,
    /// When it came in.
    pub received_at: Timestamp,
    /// Bytes of its body.
    pub bytes: u64,
    /// How its delivery stands.
    pub progress: EventProgress,
    /// Where it stands among those that go to the app one after the other.
    pub order: Option<EventOrder>,
    /// The request, encrypted. Empty in lists.
    pub sealed: Vec<u8>,
}

/// A place among the events of a source that go to the app one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventOrder {
    /// A digest of what those events have in common.
    pub key: [u8; 32],
    /// Grows with every event of the key. The store gives it; 0 until then.
    pub number: u64,
}

/// How the delivery of an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventProgress {
    /// What became of it.
    pub state: EventState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub due_at: Option<Timestamp>,
    /// What the app answered last, if it answered.
    pub status: Option<u16>,
    /// Why the last attempt failed, in words without values.
    pub failure: Option<String>,
    /// When all this was last changed.
    pub changed_at: Timestamp,
}

/// A step of an event's delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventStep {
    /// Which event. One that is gone is passed over.
    pub id: String,
    /// When what is stored must have been changed last; if it was changed since, it stays as it is.
    pub follows: Option<Timestamp>,
    /// How it stands now.
    pub progress: EventProgress,
}

/// Which events a list has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this source only.
    pub source: Option<String>,
    /// In this state only.
    pub state: Option<EventState>,
    /// Only those before this one.
    pub before: Option<String>,
}
