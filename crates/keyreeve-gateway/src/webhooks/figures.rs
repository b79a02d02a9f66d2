//! Figures for Prometheus: verdicts by source and reason, deliveries by outcome.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use keyreeve_engine::Engine;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Figures {
    pub(super) fn attempt(&self, taken: bool) {
        let count = if taken { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn render(&self, page: &mut String, engine: &Engine, under_way: usize, open: usize) {
        // Writing into a string cannot fail.
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = page.write_fmt(text);
            page.push('\n');
        };
        line(format_args!(
            "# HELP keyreeve_webhooks_received_total Webhooks that came in, by source and verdict"
        ));
        line(format_args!("# TYPE keyreeve_webhooks_received_total counter"));
        let mut bursts = Vec::new();
        engine.each_webhook_tally(|project, source, tally| {
            let labels = format!("project=\"{project}\",source=\"{source}\"");
            for (verdict, count) in &tally.verdicts {
                line(format_args!(
                    "keyreeve_webhooks_received_total{{{labels},verdict=\"{verdict}\"}} {count}"
                ));
            }
            bursts.push((labels, u8::from(tally.is_burst)));
        });
        line(format_args!(
            "# HELP keyreeve_webhook_failure_burst Whether many webhooks of a source were refused of late"
        ));
        line(format_args!("# TYPE keyreeve_webhook_failure_burst gauge"));
        for (labels, is_burst) in bursts {
            line(format_args!("keyreeve_webhook_failure_burst{{{labels}}} {is_burst}"));
        }
        line(format_args!("# HELP keyreeve_webhook_attempts_total Deliveries tried, by outcome"));
        line(format_args!("# TYPE keyreeve_webhook_attempts_total counter"));
        for (outcome, count) in [("delivered", &self.delivered), ("failed", &self.failed)] {
            let count = count.load(Ordering::Relaxed);
            line(format_args!("keyreeve_webhook_attempts_total{{outcome=\"{outcome}\"}} {count}"));
        }
        for (name, help, value) in [
            ("keyreeve_webhook_deliveries_under_way", "Deliveries going on now", under_way),
            ("keyreeve_webhook_circuits_open", "Apps that are left alone for now", open),
        ] {
            line(format_args!("# HELP {name} {help}"));
            line(format_args!("# TYPE {name} gauge"));
            line(format_args!("{name} {value}"));
        }
    }
}
