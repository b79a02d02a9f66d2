//! Figures for Prometheus. Labels hold classes of statuses and kinds of refusals: never a name.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use keyreeve_engine::PerThread;

use super::RefusalKind;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Figures {
    ended: PerThread<Ended>,
    refused: [AtomicU64; RefusalKind::ALL.len()],
    addresses_refused: AtomicU64,
}

/// What is counted with each call.
#[derive(Debug, Default)]
struct Ended {
    /// By the first digit of the status.
    answered: [AtomicU64; 6],
    request_bytes: AtomicU64,
    answer_bytes: AtomicU64,
    scrubbed: AtomicU64,
}

impl Figures {
    pub(super) fn ended(&self, status: u16, request_bytes: u64, answer_bytes: u64, hits: u64) {
        let ended = self.ended.own();
        if let Some(count) = ended.answered.get(usize::from(status / 100)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        for (sum, more) in [
            (&ended.request_bytes, request_bytes),
            (&ended.answer_bytes, answer_bytes),
            (&ended.scrubbed, hits),
        ] {
            if more != 0 {
                sum.fetch_add(more, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn refused(&self, kind: RefusalKind) {
        self.refused[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn address_refused(&self) {
        self.addresses_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn render(&self, page: &mut String, open_circuits: usize) {
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Writing into a string cannot fail.
        let mut line = |text: std::fmt::Arguments<'_>| {
            let _ = page.write_fmt(text);
            page.push('\n');
        };
        line(format_args!("# HELP keyreeve_proxy_answers_total Calls that services answered"));
        line(format_args!("# TYPE keyreeve_proxy_answers_total counter"));
        let sum = |of: &dyn Fn(&Ended) -> &AtomicU64| -> u64 {
            self.ended.rows().map(|row| value(of(row))).sum()
        };
        for digit in 1..=5 {
            let count = sum(&|ended| &ended.answered[digit]);
            line(format_args!("keyreeve_proxy_answers_total{{class=\"{digit}xx\"}} {count}"));
        }
        line(format_args!("# HELP keyreeve_proxy_refusals_total Calls that were not made, by why"));
        line(format_args!("# TYPE keyreeve_proxy_refusals_total counter"));
        for (kind, count) in RefusalKind::ALL.iter().zip(&self.refused) {
            line(format_args!(
                "keyreeve_proxy_refusals_total{{kind=\"{}\"}} {}",
                kind.as_str(),
                value(count)
            ));
        }
        let sums = [
            (
                "request_bytes",
                "Bytes of requests' bodies passed on",
                sum(&|ended| &ended.request_bytes),
            ),
            (
                "answer_bytes",
                "Bytes of answers' bodies passed on",
                sum(&|ended| &ended.answer_bytes),
            ),
            ("scrubbed", "Secrets overwritten in answers", sum(&|ended| &ended.scrubbed)),
            (
                "addresses_refused",
                "Calls not made because of the service's address",
                value(&self.addresses_refused),
            ),
        ];
        for (name, help, count) in sums {
            line(format_args!("# HELP keyreeve_proxy_{name}_total {help}"));
            line(format_args!("# TYPE keyreeve_proxy_{name}_total counter"));
            line(format_args!("keyreeve_proxy_{name}_total {count}"));
        }
        line(format_args!("# HELP keyreeve_proxy_circuits_open Services that are left alone"));
        line(format_args!("# TYPE keyreeve_proxy_circuits_open gauge"));
        line(format_args!("keyreeve_proxy_circuits_open {open_circuits}"));
    }
}
