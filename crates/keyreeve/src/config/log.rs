//! What is logged, and how.

use keyreeve_core::Invalid;
use serde::Deserialize;
use tracing::Level;

use super::fault::Rules;

/// `[log]`, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// The least that is logged.
    pub(crate) level: Level,
    /// For whom.
    pub(crate) format: LogFormat,
}

/// For whom the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Pretty,
    /// For programs.
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    level: String,
    format: String,
}

impl RawLog {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<LogConfig> {
        let level = rules.keep("log.level", level(&self.level));
        let format = rules.keep("log.format", format(&self.format));
        Some(LogConfig { level: level?, format: format? })
    }
}

fn level(text: &str) -> Result<Level, Invalid> {
    match text {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err(Invalid::new("must be error, warn, info, debug or trace")),
    }
}

fn format(text: &str) -> Result<LogFormat, Invalid> {
    match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err(Invalid::new("must be pretty or json")),
    }
}
