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
use keyreeve_engine::{Clock, Engine};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use self::{certificates::Certificates, figures::Figures};
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
    going_on: HashMap<Lane, HashSet<String>>,
    /// Those that ended since it was last looked for what is due: a list that was made before may still
    /// name them.
    ended: HashSet<(Lane, String)>,
}

impl UnderWay {
    fn has(&self, lane: &Lane, id: &str) -> bool {
        self.going_on.get(lane).is_some_and(|events| events.contains(id))
    }

    fn of(&self, lane: &Lane) -> usize {
        self.going_on.get(lane).map_or(0, HashSet::len)
    }

    fn begin(&mut self, lane: &Lane, id: &str) {
        self.going_on.entry(lane.clone()).or_default().insert(id.to_owned());
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

    /// The figures as Prometheus reads them.
    pub fn render_figures(&self, page: &mut String) {
        let under_way = self.under_way.lock().going_on.values().map(HashSet::len).sum();
        let open = self.breakers.open(self.clock.monotonic_ns());
        self.figures.render(page, &self.engine, under_way, open);
    }
}
