//! Figures for Prometheus: verdicts by reason, deliveries by outcome. Names of sources say who the customers
//! are, so that they are there only for who may see them.

use std::{
    collections::BTreeMap,
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

    pub(super) fn render(&self, page: &mut String, under_way: usize, open: usize) {
        let attempts = "keyreeve_webhook_attempts_total";
        head(page, attempts, "Deliveries tried, by outcome", "counter");
        for (outcome, count) in [("delivered", &self.delivered), ("failed", &self.failed)] {
            let count = count.load(Ordering::Relaxed);
            line(page, format_args!("{attempts}{{outcome=\"{outcome}\"}} {count}"));
        }
        for (name, help, value) in [
            ("keyreeve_webhook_deliveries_under_way", "Deliveries going on now", under_way),
            ("keyreeve_webhook_circuits_open", "Apps that are left alone for now", open),
        ] {
            head(page, name, help, "gauge");
            line(page, format_args!("{name} {value}"));
        }
    }
}

/// What came in, by verdict and, for who may see names, by source.
pub(super) fn received(page: &mut String, engine: &Engine, with_names: bool) {
    let mut counts: BTreeMap<(String, &'static str), u64> = BTreeMap::new();
    let mut bursts: BTreeMap<String, u64> = BTreeMap::new();
    engine.each_webhook_tally(|project, source, tally| {
        let place = if with_names {
            format!("project=\"{project}\",source=\"{source}\"")
        } else {
            String::new()
        };
        for (verdict, count) in &tally.verdicts {
            *counts.entry((place.clone(), *verdict)).or_default() += count;
        }
        *bursts.entry(place).or_default() += u64::from(tally.is_burst);
    });
    let name = "keyreeve_webhooks_received_total";
    head(page, name, "Webhooks that came in, by verdict", "counter");
    for ((place, verdict), count) in counts {
        let comma = if place.is_empty() { "" } else { "," };
        line(page, format_args!("{name}{{{place}{comma}verdict=\"{verdict}\"}} {count}"));
    }
    let name = "keyreeve_webhook_failure_bursts";
    head(page, name, "Sources of which many webhooks were refused of late", "gauge");
    for (place, count) in bursts {
        let labels = if place.is_empty() { place } else { format!("{{{place}}}") };
        line(page, format_args!("{name}{labels} {count}"));
    }
}

fn head(page: &mut String, name: &str, help: &str, kind: &str) {
    line(page, format_args!("# HELP {name} {help}"));
    line(page, format_args!("# TYPE {name} {kind}"));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = page.write_fmt(text);
    page.push('\n');
}
