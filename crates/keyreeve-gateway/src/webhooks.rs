//! Webhooks: taken at `/hooks/<source>`, handed to the app behind until it takes them.

mod deliver;
mod figures;
mod ingress;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use keyreeve_core::name::ProjectName;
use keyreeve_engine::Engine;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use self::figures::Figures;
use crate::{
    proxy::ProxyOptions,
    upstream::{Dialer, TrustError, tls},
};

/// What the address of every source begins with.
pub const HOOKS_PREFIX: &str = "/hooks/";

/// Requests that are taken at once; each may be as long as its source allows.
const MOST_AT_ONCE: usize = 256;

/// Takes webhooks and delivers events.
pub struct Webhooks {
    engine: Arc<Engine>,
    dialer: Dialer,
    figures: Figures,
    reading: Semaphore,
    /// How many of those are of one address.
    senders: Mutex<HashMap<Option<IpAddr>, u32>>,
    under_way: Mutex<UnderWay>,
    /// Something may be due.
    wake: Notify,
}

/// Deliveries, by project and id of the event.
#[derive(Debug, Default)]
struct UnderWay {
    going_on: HashSet<(ProjectName, String)>,
    /// Those that ended since it was last looked for what is due: a list that was made before may still
    /// name them.
    ended: HashSet<(ProjectName, String)>,
}

impl Webhooks {
    /// Webhooks for the sources of an engine.
    pub fn new(engine: Arc<Engine>, options: &ProxyOptions) -> Result<Self, TrustError> {
        let tls = tls(options.authorities.as_deref())?;
        Ok(Self {
            engine,
            dialer: Dialer::new(&tls, options.own_ports.clone()),
            figures: Figures::default(),
            reading: Semaphore::new(MOST_AT_ONCE),
            senders: Mutex::default(),
            under_way: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The figures as Prometheus reads them.
    pub fn render_figures(&self, page: &mut String) {
        self.figures.render(page, self.under_way.lock().going_on.len());
    }
}
