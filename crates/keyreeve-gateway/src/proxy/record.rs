//! What is kept of each call: who called what, how it went; nothing of what was said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use keyreeve_core::egress::Target;
use keyreeve_engine::{
    Clock, Engine,
    connections::{CallSummary, Client, Connection, Slot},
};
use tokio::time::Instant;

use super::{Proxy, figures::Figures};
use crate::upstream::{Destination, Pool, Sender};

/// A call, as far as it is known.
pub(super) struct CallRecord {
    engine: Arc<Engine>,
    figures: Arc<Figures>,
    clock: Arc<dyn Clock>,
    begun_ns: u64,
    client: Client,
    connection: Arc<Connection>,
    method: Method,
    template: Arc<str>,
    request_bytes: Option<Arc<AtomicU64>>,
    status: u16,
    version: u64,
    _slot: Slot,
}

impl CallRecord {
    pub(super) fn new(
        proxy: &Proxy,
        connection: &Arc<Connection>,
        client: &Client,
        method: &Method,
        target: &Target,
        slot: Slot,
    ) -> Self {
        Self {
            engine: proxy.engine.clone(),
            figures: proxy.figures.clone(),
            clock: proxy.clock.clone(),
            begun_ns: proxy.now_ns(),
            client: client.clone(),
            connection: connection.clone(),
            method: method.clone(),
            template: connection.template(method.as_str(), target.path()),
            request_bytes: None,
            status: 0,
            version: 0,
            _slot: slot,
        }
    }

    /// Where the bytes of the request are counted.
    pub(super) fn request_bytes(&mut self) -> Arc<AtomicU64> {
        self.request_bytes.get_or_insert_default().clone()
    }

    pub(super) fn answered(mut self, status: u16, version: u64) -> Self {
        self.status = status;
        self.version = version;
        self
    }
}

/// What is done when an answer has ended: the call is recorded, and the connection to the service waits
/// for the next one.
pub(crate) struct Ending {
    record: CallRecord,
    sender: Option<(Destination, Sender)>,
}

impl Ending {
    pub(super) fn new(record: CallRecord, sender: Option<(Destination, Sender)>) -> Self {
        Self { record, sender }
    }

    /// `is_whole` unless somebody broke off: then the connection cannot be used again.
    pub(crate) fn end(self, answer_bytes: u64, hits: u64, is_whole: bool) {
        let Self { record, sender } = self;
        if let Some((destination, sender)) = sender.filter(|(_, it)| is_whole || it.is_http2()) {
            Pool::put(&destination, sender, Instant::now());
        }
        let took_ns = record.clock.monotonic_ns().saturating_sub(record.begun_ns);
        let request_bytes = record.request_bytes.map_or(0, |it| it.load(Ordering::Relaxed));
        record.figures.ended(record.status, request_bytes, answer_bytes, hits);
        record.engine.note_call(
            &record.client,
            &CallSummary {
                connection: &record.connection,
                method: record.method.as_str(),
                template: &record.template,
                status: record.status,
                request_bytes,
                answer_bytes,
                took: Duration::from_nanos(took_ns),
                version: record.version,
                scrubbed: hits,
                is_whole,
            },
        );
    }
}
