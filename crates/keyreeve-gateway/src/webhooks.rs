//! Webhooks: taken at `/hooks/<source>`, handed to the app behind until it takes them.

mod certificates;
mod deliver;
mod figures;
mod ingress;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use keyreeve_core::name::ProjectName;
use keyreeve_engine::{
    Clock, Engine,
    store::{EventOrder, WebhookEvent},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use self::{
    certificates::Certificates,
    figures::{Figures, received},
};
use crate::{
    proxy::ProxyOptions,
    upstream::{Breakers, Dialer, TrustError, roots, tls},
};

/// What the address of every source begins with.
pub const HOOKS_PREFIX: &str = "/hooks/";

/// Requests that are taken at once; each may be as long as its source allows.
const MOST_AT_ONCE: usize = 256;

/// Takes webhooks and delivers events.
pub struct Webhooks {
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
    dialer: Arc<Dialer>,
    certificates: Certificates,
    breakers: Breakers<Lane>,
    figures: Figures,
    reading: Semaphore,
    /// How many of those are of one address.
    senders: Mutex<HashMap<Option<IpAddr>, u32>>,
    under_way: Mutex<UnderWay>,
    /// Something may be due.
    wake: Notify,
}

/// The project and the name of a source: what one app does, others do not feel.
type Lane = (ProjectName, String);

/// Deliveries, by source and id of the event.
#[derive(Debug, Default)]
struct UnderWay {
    going_on: HashMap<Lane, HashMap<String, Option<EventOrder>>>,
    /// Those that ended since it was last looked for what is due: a list that was made before may still
    /// name them.
    ended: HashSet<(Lane, String)>,
}

impl UnderWay {
    /// Whether an event goes on, or another one that it goes behind or before.
    fn has(&self, lane: &Lane, event: &WebhookEvent) -> bool {
        self.going_on.get(lane).is_some_and(|events| {
            events.contains_key(&event.id)
                || event.order.is_some_and(|order| {
                    events.values().flatten().any(|other| other.key == order.key)
                })
        })
    }

    fn of(&self, lane: &Lane) -> u32 {
        let count = self.going_on.get(lane).map_or(0, HashMap::len);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn begin(&mut self, lane: &Lane, event: &WebhookEvent) {
        let events = self.going_on.entry(lane.clone()).or_default();
        events.insert(event.id.clone(), event.order);
    }

    fn end(&mut self, lane: &Lane, id: &str) {
        if let Some(events) = self.going_on.get_mut(lane) {
            events.remove(id);
            if events.is_empty() {
                self.going_on.remove(lane);
            }
        }
        self.ended.insert((lane.clone(), id.to_owned()));
    }
}

impl Webhooks {
    /// Webhooks for the sources of an engine.
    pub fn new(
        engine: Arc<Engine>,
        clock: Arc<dyn Clock>,
        options: &ProxyOptions,
    ) -> Result<Self, TrustError> {
        let roots = roots(options.authorities.as_deref())?;
        let tls = tls(roots.clone())?;
        let dialer = Arc::new(Dialer::new(&tls, options.own_ports.clone()));
        Ok(Self {
            engine,
            clock,
            breakers: Breakers::default(),
            certificates: Certificates::new(dialer.clone(), roots),
            dialer,
            figures: Figures::default(),
            reading: Semaphore::new(MOST_AT_ONCE),
            senders: Mutex::default(),
            under_way: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The figures as Prometheus reads them: by source only for who may see names, else of all sources
    /// together.
    pub fn render_figures(&self, page: &mut String, with_names: bool) {
        let under_way = self.under_way.lock().going_on.values().map(HashMap::len).sum();
        let open = self.breakers.open(self.clock.monotonic_ns());
        received(page, &self.engine, with_names);
        self.figures.render(page, under_way, open);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use keyreeve_engine::store::{EventProgress, EventState};

    use super::*;

    fn event(id: &str, key: Option<u8>) -> WebhookEvent {
        WebhookEvent {
            id: id.to_owned(),
            source: "in".to_owned(),
            event_id: None,
            received_at: Timestamp::UNIX_EPOCH,
            bytes: 0,
            progress: EventProgress {
                state: EventState::Waiting,
                attempts: 0,
                due_at: None,
                status: None,
                failure: None,
                changed_at: Timestamp::UNIX_EPOCH,
            },
            order: key.map(|key| EventOrder { key: [key; 32], number: 1 }),
            sealed: Vec::new(),
        }
    }

    #[test]
    fn one_of_a_key_is_on_its_way() {
        let lane = (ProjectName::default_project(), "in".to_owned());
        let other = (ProjectName::default_project(), "other".to_owned());
        let mut under_way = UnderWay::default();
        under_way.begin(&lane, &event("1", Some(7)));
        under_way.begin(&lane, &event("2", None));
        for (id, key, is_under_way) in [
            ("1", Some(7), true),
            ("2", None, true),
            ("3", Some(7), true),
            ("4", Some(8), false),
            ("5", None, false),
        ] {
            assert_eq!(under_way.has(&lane, &event(id, key)), is_under_way, "{id}");
            assert!(!under_way.has(&other, &event(id, key)));
        }
        assert_eq!((under_way.of(&lane), under_way.of(&other)), (2, 0));
        under_way.end(&lane, "1");
        under_way.end(&lane, "2");
        assert!(under_way.going_on.is_empty());
        assert!(under_way.ended.contains(&(lane, "1".to_owned())), "a list may still name it");
    }
}
