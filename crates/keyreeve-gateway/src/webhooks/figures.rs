//! Figures for Prometheus: verdicts by scheme and reason, deliveries by outcome. Names of sources are no
//! labels: they say who the customers are.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// By scheme and verdict. Both are of fixed sets.
    verdicts: Mutex<BTreeMap<(String, &'static str), u64>>,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Figures {
    /// A request came to a verdict: `accepted`, `duplicate`, `handshake` or a reason.
    pub(super) fn verdict(&self, scheme: &str, verdict: &'static str) {
        *self.verdicts.lock().entry((scheme.to_owned(), verdict)).or_default() += 1;
    }

    pub(super) fn attempt(&self, taken: bool) {
        let count = if taken { &self.delivered } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn render(&self, page: &mut String, under_way: usize) {
        // Writing into a string cannot fail.
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = page.write_fmt(text);
            page.push('\n');
        };
        line(format_args!(
            "# HELP keyreeve_webhooks_received_total Webhooks that came in, by verdict"
        ));
        line(format_args!("# TYPE keyreeve_webhooks_received_total counter"));
        for ((scheme, verdict), count) in &*self.verdicts.lock() {
            line(format_args!(
                "keyreeve_webhooks_received_total{{scheme=\"{scheme}\",verdict=\"{verdict}\"}} {count}"
            ));
        }
        line(format_args!("# HELP keyreeve_webhook_attempts_total Deliveries tried, by outcome"));
        line(format_args!("# TYPE keyreeve_webhook_attempts_total counter"));
        for (outcome, count) in [("delivered", &self.delivered), ("failed", &self.failed)] {
            let count = count.load(Ordering::Relaxed);
            line(format_args!("keyreeve_webhook_attempts_total{{outcome=\"{outcome}\"}} {count}"));
        }
        line(format_args!("# HELP keyreeve_webhook_deliveries_under_way Deliveries going on now"));
        line(format_args!("# TYPE keyreeve_webhook_deliveries_under_way gauge"));
        line(format_args!("keyreeve_webhook_deliveries_under_way {under_way}"));
    }
}
