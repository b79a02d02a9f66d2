//! What runs beside the serving: flushing counts, anchoring the audit, forgetting old answers.

use std::{sync::Arc, time::Duration};

use keyreeve_engine::Engine;
use keyreeve_server::Metrics;
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle, time};
use tracing::{error, warn};

use crate::{config::Config, wire::Running};

const FORGET_INTERVAL: Duration = Duration::from_hours(1);
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// The tasks, to be waited for at the end.
pub(super) struct Tasks {
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
    background.spawn(flush(engine.clone(), config.usage.flush_interval, stopped.clone()));
    background.spawn(forget(engine.clone(), config.idempotency.keep, stopped.clone()));
    background.spawn(fold(metrics.clone(), stopped.clone()));
    let anchoring = anchor(running, config.audit.anchor_interval, stopped.clone());
    Tasks { anchoring: background.spawn(anchoring) }
}

impl Tasks {
    /// Waits for the tasks to end and writes the last anchor.
    pub(super) async fn finish(self) {
        if let Ok(mut running) = self.anchoring.await {
            if let Err(error) = running.write_anchor().await {
                error!(%error, "the last anchor was not written");
            }
        } else {
            error!("the anchoring task failed");
        }
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

async fn forget(
    engine: Arc<Engine>,
    keep: jiff::SignedDuration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut timer = timer(FORGET_INTERVAL);
    // The first turn comes at once; a server that just started has nothing to forget.
    timer.tick().await;
    while next_turn(&mut timer, &mut stopped).await {
        let before = engine.now().saturating_sub(keep).unwrap_or(jiff::Timestamp::MIN);
        if let Err(error) = engine.forget_idempotent_results(before).await {
            warn!(%error, "old answers were not forgotten; tried again in an hour");
        }
    }
}

async fn fold(metrics: Metrics, mut stopped: watch::Receiver<bool>) {
    let mut timer = timer(FOLD_INTERVAL);
    while next_turn(&mut timer, &mut stopped).await {
        metrics.fold();
    }
}
