//! Figures for Prometheus. Labels hold routes, methods, statuses and codes: never a name, an id
//! or an address, so the page can be open and its size is bounded.

mod tally;

use std::sync::Arc;

use keyreeve_core::verdict::VerdictCode;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusRecorder};

use self::tally::Tally;

const LATENCY_BUCKETS_S: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What hot routes answer with. Their counters are made up front, so that counting one request
/// looks nothing up and makes no text.
const STATUSES: [u16; 12] = [200, 204, 400, 401, 403, 404, 408, 413, 415, 429, 500, 503];

/// All figures of one server. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    verdicts: Arc<[Counter]>,
    requests: Arc<[[Counter; STATUSES.len()]]>,
    hot: Arc<Hot>,
    vault_seconds: Histogram,
    connections: Gauge,
    connections_refused: Counter,
    live_keys: Gauge,
    epoch: Gauge,
    knowledge_age: Gauge,
    counts_together: Gauge,
    degraded: Counter,
    key_reads: Counter,
    lockouts: Counter,
}

/// What is counted at every verification, until the page is wanted.
#[derive(Default)]
struct Hot {
    /// In the order of the enum.
    verdicts: Tally<{ VerdictCode::ALL.len() }>,
    requests: [Tally<{ STATUSES.len() }>; HotRoute::ALL.len()],
}

/// A route that is served in place of being routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HotRoute {
    /// Verification over the API.
    Verify,
    /// Questions of gateways, about requests of any method.
    Authorize,
    /// Calls of clients of Vault.
    Vault,
}

impl HotRoute {
    const ALL: [Self; 3] = [Self::Verify, Self::Authorize, Self::Vault];

    /// The counter of the recorder that is set where this is called.
    fn counter(self, status: u16) -> Counter {
        let (route, method) = match self {
            Self::Verify => (crate::verify::PATH, "POST"),
            Self::Authorize => (crate::authz::PREFIX, "any"),
            Self::Vault => (crate::vault_api::ROUTE, "any"),
        };
        counter!(
            "keyreeve_http_requests_total",
            "route" => route,
            "method" => method,
            "status" => status.to_string()
        )
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Fresh figures, all zero.
    pub fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS_S)?.build_recorder();
        Ok(with_local_recorder(&recorder, Self::handles).into_metrics(recorder))
    }

    fn handles() -> Handles {
        metrics::describe_counter!("keyreeve_verifications_total", "Verdicts given, by code");
        metrics::describe_counter!("keyreeve_http_requests_total", "Requests served");
        metrics::describe_histogram!(
            "keyreeve_http_request_seconds",
            metrics::Unit::Seconds,
            "Time to serve a request of the control plane"
        );
        metrics::describe_gauge!("keyreeve_connections", "Open connections");
        metrics::describe_counter!(
            "keyreeve_connections_refused_total",
            "Connections refused at the limit"
        );
        metrics::describe_gauge!("keyreeve_live_keys", "Keys that verification knows");
        metrics::describe_counter!(
            "keyreeve_lockouts_total",
            "Addresses locked out for too many bad keys or credentials"
        );
        metrics::describe_gauge!("keyreeve_epoch", "The last change that verification knows");
        metrics::describe_gauge!(
            "keyreeve_shared_counts_up",
            "1 if limits count as they should, 0 while the nodes cannot count together"
        );
        metrics::describe_counter!(
            "keyreeve_degraded_requests_total",
            "Requests limited on this node alone, as the nodes could not count together"
        );
        metrics::describe_counter!(
            "keyreeve_key_reads_total",
            "Keys read from the store because memory did not hold them"
        );
        metrics::describe_gauge!(
            "keyreeve_knowledge_age_seconds",
            "For how long other nodes may have done what this one does not know yet"
        );
        let verdicts = VerdictCode::ALL
            .iter()
            .map(|code| counter!("keyreeve_verifications_total", "code" => code.as_str()))
            .collect();
        Handles {
            verdicts,
            requests: HotRoute::ALL
                .map(|route| STATUSES.map(|status| route.counter(status)))
                .into(),
            vault_seconds: histogram!(
                "keyreeve_http_request_seconds",
                "route" => crate::vault_api::ROUTE
            ),
            connections: gauge!("keyreeve_connections"),
            connections_refused: counter!("keyreeve_connections_refused_total"),
            live_keys: gauge!("keyreeve_live_keys"),
            epoch: gauge!("keyreeve_epoch"),
            knowledge_age: gauge!("keyreeve_knowledge_age_seconds"),
            counts_together: gauge!("keyreeve_shared_counts_up"),
            degraded: counter!("keyreeve_degraded_requests_total"),
            key_reads: counter!("keyreeve_key_reads_total"),
            lockouts: counter!("keyreeve_lockouts_total"),
        }
    }

    pub(crate) fn count_verdict(&self, code: VerdictCode) {
        self.hot.verdicts.add(code as usize);
    }

    /// Counts a request that was served in place of being routed.
    pub(crate) fn count_hot(&self, route: HotRoute, status: u16) {
        if let Some(place) = STATUSES.iter().position(|known| *known == status) {
            self.hot.requests[route as usize].add(place);
        } else {
            with_local_recorder(&*self.recorder, || route.counter(status).increment(1));
        }
    }

    /// Records how long a call of a client of Vault took.
    pub(crate) fn time_vault(&self, seconds: f64) {
        self.vault_seconds.record(seconds);
    }

    pub(crate) fn count_request(
        &self,
        route: &str,
        method: &'static str,
        status: u16,
        seconds: f64,
    ) {
        with_local_recorder(&*self.recorder, || {
            counter!(
                "keyreeve_http_requests_total",
                "route" => route.to_owned(),
                "method" => method,
                "status" => status.to_string()
            )
            .increment(1);
            histogram!("keyreeve_http_request_seconds", "route" => route.to_owned())
                .record(seconds);
        });
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.increment(1);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.decrement(1);
    }

    pub(crate) fn connection_refused(&self) {
        self.connections_refused.increment(1);
    }

    /// The page in the text form of Prometheus.
    pub(crate) fn render(&self, engine: &keyreeve_engine::Engine) -> String {
        let live = engine.live();
        #[expect(clippy::cast_precision_loss, reason = "gauges are floats; 2^53 is far away")]
        let as_float = |value: u64| value as f64;
        self.live_keys.set(as_float(live.len() as u64));
        self.epoch.set(as_float(live.epoch()));
        self.knowledge_age.set(engine.age().as_secs_f64());
        self.counts_together.set(f64::from(u8::from(engine.counts_together())));
        self.degraded.absolute(engine.degraded_requests());
        self.key_reads.absolute(engine.key_reads());
        self.lockouts.absolute(engine.lockouts());
        for (counter, sum) in self.verdicts.iter().zip(self.hot.verdicts.sums()) {
            counter.absolute(sum);
        }
        for (counters, tally) in self.requests.iter().zip(&self.hot.requests) {
            for (counter, sum) in counters.iter().zip(tally.sums()) {
                counter.absolute(sum);
            }
        }
        self.recorder.handle().render()
    }

    /// Folds recorded samples together, which keeps memory bounded when nobody reads the page.
    pub fn fold(&self) {
        self.recorder.handle().run_upkeep();
    }
}

struct Handles {
    verdicts: Arc<[Counter]>,
    requests: Arc<[[Counter; STATUSES.len()]]>,
    vault_seconds: Histogram,
    connections: Gauge,
    connections_refused: Counter,
    live_keys: Gauge,
    epoch: Gauge,
    knowledge_age: Gauge,
    counts_together: Gauge,
    degraded: Counter,
    key_reads: Counter,
    lockouts: Counter,
}

impl Handles {
    fn into_metrics(self, recorder: PrometheusRecorder) -> Metrics {
        Metrics {
            recorder: Arc::new(recorder),
            verdicts: self.verdicts,
            requests: self.requests,
            hot: Arc::default(),
            vault_seconds: self.vault_seconds,
            connections: self.connections,
            connections_refused: self.connections_refused,
            live_keys: self.live_keys,
            epoch: self.epoch,
            knowledge_age: self.knowledge_age,
            counts_together: self.counts_together,
            degraded: self.degraded,
            key_reads: self.key_reads,
            lockouts: self.lockouts,
        }
    }
}
