//! The log: one line an event, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::{filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::log::{LogConfig, LogFormat};

/// Starts logging, and keeps what a panic says out of the log: the place is logged, the message
/// may hold what a request held.
pub(super) fn start(config: &LogConfig) {
    let level = LevelFilter::from_level(config.level);
    let registry = tracing_subscriber::registry().with(level);
    let coloured = std::io::stderr().is_terminal()
        && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(coloured);
    let started = match config.format {
        LogFormat::Pretty => registry.with(layer.compact()).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // Only fails if a log was started before, and then there is one.
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        tracing::error!(place, "panic");
    }));
}
