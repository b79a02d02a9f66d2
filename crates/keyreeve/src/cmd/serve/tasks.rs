//! What runs beside the serving: flushing counts, claiming quotas, anchoring the audit, forgetting
//! what is old.

use std::{sync::Arc, time::Duration};

use keyreeve_engine::Engine;
use keyreeve_gateway::Webhooks;
use keyreeve_server::Metrics;
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle, time};
use tracing::{error, warn};

use crate::{config::Config, wire::Running};

const FORGET_INTERVAL: Duration = Duration::from_hours(1);
/// Beyond the next turn, so that the duty stays where it is unless that node is gone.
const FORGET_DUTY: Duration = Duration::from_mins(90);
const FIRST_FORGETTING: Duration = Duration::from_mins(1);
const CALLS_INTERVAL: Duration = Duration::from_secs(1);
const COUNTING_INTERVAL: Duration = Duration::from_secs(1);
const REWRAP_INTERVAL: Duration = Duration::from_secs(5);
const REWRAP_DUTY: Duration = Duration::from_secs(30);
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const SYNC_DUTY: Duration = Duration::from_mins(5);
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// The tasks, to be waited for at the end.
pub(super) struct Tasks {
    flushing: JoinHandle<()>,
    recording: JoinHandle<()>,
    claiming: JoinHandle<()>,
    anchoring: JoinHandle<Running>,
}

/// Starts all tasks. Each ends by itself once `stopped` turns true.
pub(super) fn start(
    background: &Runtime,
    engine: &Arc<Engine>,
    running: Running,
    metrics: &Metrics,
    config: &Config,
    stopped: &watch::Receiver<bool>,
) -> Tasks {
    let flushing = flush(engine.clone(), config.usage.flush_interval, stopped.clone());
    let flushing = background.spawn(flushing);
    let claiming = background.spawn(claim(engine.clone(), stopped.clone()));
    let recording = background.spawn(record_calls(engine.clone(), stopped.clone()));
    background.spawn(forget(engine.clone(), stopped.clone()));
    background.spawn(note_counting(engine.clone(), stopped.clone()));
    background.spawn(rewrap(engine.clone(), stopped.clone()));
    background.spawn(sync(engine.clone(), stopped.clone()));
    background.spawn(fold(metrics.clone(), stopped.clone()));
    let anchoring = anchor(running, config.audit.anchor_interval, stopped.clone());
    Tasks { flushing, recording, claiming, anchoring: background.spawn(anchoring) }
}

impl Tasks {
    /// Waits for the tasks to end, stores the last counts and what was spent of quotas, and writes
    /// the last anchor over them.
    pub(super) async fn finish(self, engine: &Engine) {
        // A flush under way holds counts that a second flush would not see.
        if self.flushing.await.is_err() || self.recording.await.is_err() {
            error!("a flushing task failed");
        }
        engine.flush_or_log().await;
        if self.claiming.await.is_err() {
            error!("the claiming task failed");
        }
        engine.settle_quotas_or_log().await;
        if let Ok(mut running) = self.anchoring.await {
            if let Err(error) = running.write_anchor().await {
                error!(%error, "the last anchor was not written");
            }
        } else {
            error!("the anchoring task failed");
        }
    }
}

/// Stores the calls that were made through connections.
async fn record_calls(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let mut timer = time::interval(CALLS_INTERVAL);
    timer.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    while next_turn(&mut timer, &mut stopped).await {
        if let Err(error) = engine.flush_calls().await {
            warn!(%error, "calls were not recorded; they are kept and tried again");
        }
    }
}

/// Hands events on to the apps behind. What is under way when the server stops is delivered once more.
pub(super) async fn deliver(webhooks: Arc<Webhooks>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = webhooks.deliver() => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

/// Waits for the next turn; false once the server stops.
async fn next_turn(timer: &mut time::Interval, stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        _ = timer.tick() => true,
        _ = stopped.wait_for(|stopped| *stopped) => false,
    }
}

fn timer(interval: Duration) -> time::Interval {
    let mut timer = time::interval(interval);
    timer.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    timer
}

async fn flush(engine: Arc<Engine>, interval: Duration, mut stopped: watch::Receiver<bool>) {
    let mut timer = timer(interval);
    while next_turn(&mut timer, &mut stopped).await {
        engine.flush_or_log().await;
    }
}

/// Claims what quotas will soon need. Ends with the serving: whoever still needs some asks itself.
async fn claim(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = engine.serve_claims() => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn anchor(
    mut running: Running,
    interval: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Running {
    let mut timer = timer(interval);
    while next_turn(&mut timer, &mut stopped).await {
        if let Err(error) = running.write_anchor().await {
            warn!(%error, "the audit was not anchored; tried again at the next turn");
        }
    }
    running
}

async fn forget(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    // Soon after the start, for servers that never live for a whole interval.
    let soon = time::Instant::now() + FIRST_FORGETTING;
    let mut timer = time::interval_at(soon, FORGET_INTERVAL);
    while next_turn(&mut timer, &mut stopped).await {
        if let Err(error) = engine.forget_old_results(FORGET_DUTY).await {
            warn!(%error, "old answers were not forgotten; tried again in an hour");
        }
        engine.sweep();
    }
}

async fn note_counting(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let mut timer = timer(COUNTING_INTERVAL);
    // A server that is up is reached by then.
    timer.reset();
    while next_turn(&mut timer, &mut stopped).await {
        if let Err(error) = engine.note_counting().await {
            warn!(%error, "whether the nodes count together was not noted; tried again");
        }
    }
}

/// Brings the vault under its newest key, in the background and without haste.
async fn rewrap(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let mut timer = timer(REWRAP_INTERVAL);
    while next_turn(&mut timer, &mut stopped).await {
        while let Ok(true) = engine.sweep_vault(REWRAP_DUTY).await {}
        loop {
            match engine.rewrap_some(REWRAP_DUTY).await {
                Ok(true) if !*stopped.borrow() => {}
                Ok(_) => break,
                Err(error) => {
                    warn!(%error, "the vault is not yet under its newest key; tried again");
                    break;
                }
            }
        }
    }
}

/// Gives other stores what they lack.
async fn sync(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let mut timer = timer(SYNC_INTERVAL);
    while next_turn(&mut timer, &mut stopped).await {
        while engine.sync_some(SYNC_DUTY).await && !*stopped.borrow() {}
    }
}

async fn fold(metrics: Metrics, mut stopped: watch::Receiver<bool>) {
    let mut timer = timer(FOLD_INTERVAL);
    while next_turn(&mut timer, &mut stopped).await {
        metrics.fold();
    }
}
