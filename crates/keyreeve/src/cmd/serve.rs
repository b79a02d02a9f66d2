//! `keyreeve serve`.

mod logging;
mod tasks;

use std::sync::Arc;

use anyhow::Context as _;
use keyreeve_engine::{Engine, FirstKey};
use keyreeve_server::{Metrics, Server};
use serde_json::json;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use super::Outcome;
use crate::{
    cli::local::ServeArgs,
    config::{Config, Flags},
    context::Context,
    wire::{self, Gateway, Installation, Policy, Running},
};

/// Serves until told to stop. The main thread and one thread a core serve; everything that
/// blocks or waits runs on a runtime of its own.
pub(crate) fn run(args: &ServeArgs, context: &Context) -> anyhow::Result<Outcome> {
    let flags = Flags { listen: args.listen, threads: args.threads, ..Flags::default() };
    let config = context.config(flags)?;
    logging::start(&config.log);
    keep_memory_private();
    allow_open_files();
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("keyreeve-background")
        .enable_all()
        .build()
        .context("the background runtime could not be started")?;

    let policy = Policy::read(&config, &context.environment)?;
    let installation = background.block_on(Installation::open(&config, &context.environment))?;
    let socket = installation.folder.socket();
    let options = wire::server_options(&config, &context.environment, socket)?;
    let metrics = Metrics::new().context("the metrics could not be set up")?;
    // Bound before the set-up. The folder and an empty database are there by now and do no harm;
    // a busy port must not leave a key behind that nobody saw.
    let server = match Server::bind(options, metrics.clone()) {
        Ok(server) => server,
        Err(error) => {
            background.block_on(installation.store.close());
            return Err(error.into());
        }
    };
    let url = wire::url(&config, server.address());
    if let Some(first) = background.block_on(installation.set_up())? {
        // At once: the key is stored already, and whatever fails next must not hide it for good.
        greet(context, &first, &url)?;
    }
    let (engine, running) = background.block_on(installation.start(policy))?;
    // Before anybody is told that we serve: whoever knows may ask us to stop.
    let signals = {
        let _enter = background.enter();
        [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]
    };
    let (stop, stopped) = watch::channel(false);
    background.spawn(stop_on(signals, stop));
    let port = server.address().port();
    let gateway = Gateway::new(engine.clone(), running.clock.clone(), &config, port)?;
    info!(%url, live_keys = engine.live().len(), "serving");
    serve(&background, server, (&engine, Arc::new(gateway)), running, &metrics, &config, stopped)?;
    info!("stopped");
    engine.leave_keys();
    Ok(Outcome::Done)
}

/// As many open files as the system lets this process have: each connection is one, on both sides of the
/// proxy. The usual bound is lower only for the sake of old programs.
fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        warn!(%error, "the limit on open files stays as it is");
    }
}

/// No core dump, and no look into the memory by other programs of the same user: keys are in it.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let done = setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = done {
        warn!(%error, "core dumps could not be switched off");
    }
}

fn serve(
    background: &Runtime,
    server: Server,
    (engine, gateway): (&Arc<Engine>, Arc<Gateway>),
    running: Running,
    metrics: &Metrics,
    config: &Config,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let clock = running.clock.clone();
    let tasks = tasks::start(background, engine, running, metrics, config, &stopped);
    background.spawn(tasks::deliver(gateway.webhooks().clone(), stopped.clone()));
    let ended = server.run(engine.clone(), clock, gateway, stopped)?;
    if ended.cut_off > 0 {
        warn!(connections = ended.cut_off, "connections were cut off at the end of the drain");
    }
    background.block_on(async {
        // The last counts first, then the anchor over them, then the files are let go.
        tasks.finish(engine).await;
        engine.close().await;
    });
    Ok(())
}

/// Stops the server at the first signal, and the process at the second.
async fn stop_on(mut signals: [Signal; 2], stop: watch::Sender<bool>) {
    next(&mut signals).await;
    info!("stopping: open requests may end; a second signal ends the process at once");
    // Nobody listens only if the server has ended already.
    let _ = stop.send(true);
    next(&mut signals).await;
    warn!("a second signal: ending at once");
    // Whoever asks twice wants no more patience. Killed is safe: all that was answered is on the
    // disk, the next start takes over what is left of the socket, and only counts since the last
    // flush are lost.
    let own = rustix::process::getpid();
    if let Err(error) = rustix::process::kill_process(own, rustix::process::Signal::KILL) {
        warn!(%error, "the process could not be ended");
    }
}

async fn next(signals: &mut [Signal; 2]) {
    let [terminate, interrupt] = signals;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Shows the first admin key, once, and what to type next. On standard error, so that no
/// pipeline keeps it by accident.
fn greet(context: &Context, first: &FirstKey, url: &str) -> anyhow::Result<()> {
    // EXPOSE: the first admin key is shown to whoever started the server, once.
    let key = first.token.text().expose();
    if context.output.is_json() {
        return context.output.note(&json!({"admin_key": key, "url": url}).to_string());
    }
    let data_dir = context
        .global
        .data_dir
        .as_ref()
        .map_or_else(String::new, |folder| format!(" --data-dir {}", folder.display()));
    context.output.note(&format!(
        "\nKeyreeve is new here. This is its admin key; it is shown only once:\n\n  {key}\n\n\
         On this machine the local socket needs no key. In another terminal, type next:\n\n  \
         keyreeve key create --name demo --owner acme --permission documents.read{data_dir}\n  \
         keyreeve key verify --require documents.read{data_dir}   # reads the key from stdin\n  \
         keyreeve audit verify{data_dir}\n\n\
         From elsewhere: KEYREEVE_URL={url} KEYREEVE_TOKEN=<the admin key> keyreeve key list\n"
    ))
}
