//! What is kept of each call: who called what, how it went; nothing of what was said.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::Method;
use keyreeve_core::{egress::Target, vault::VersionNumber};
use keyreeve_engine::{
    Engine,
    connections::{CallSummary, Client, Connection, Slot, Spent},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::figures::Figures;
use crate::upstream::{Lane, Line, Pool, Sender};

/// Where calls are taken down.
pub(super) struct Recorder {
    pub(super) engine: Arc<Engine>,
    pub(super) figures: Figures,
}

/// A call, as far as it is known.
pub(super) struct CallRecord {
    recorder: Arc<Recorder>,
    begun: Instant,
    client: Client,
    lane: Lane,
    method: Method,
    template: String,
    request_bytes: Option<Arc<AtomicU64>>,
    status: u16,
    /// What it costs, and what was taken for that.
    units: u32,
    spent: Spent,
    /// Whether the answer was there already.
    is_kept: bool,
    /// The version of the credential that it went out with; 0 if it did not go out.
    version: AtomicU64,
    is_noted: bool,
    _slot: Slot,
}

/// What the record says of a call whose client left before it was answered, as nginx has it.
const CLIENT_LEFT: u16 = 499;

impl Drop for CallRecord {
    fn drop(&mut self) {
        if !self.is_noted {
            self.status = CLIENT_LEFT;
            self.note(Instant::now(), 0, 0, false);
        }
    }
}

impl CallRecord {
    pub(super) fn new(
        recorder: &Arc<Recorder>,
        lane: Lane,
        client: Client,
        method: &Method,
        target: &Target,
        (units, spent, slot): (u32, Spent, Slot),
    ) -> Self {
        Self {
            begun: Instant::now(),
            recorder: recorder.clone(),
            client,
            method: method.clone(),
            template: lane.0.template(method.as_str(), target.path()),
            lane,
            request_bytes: None,
            status: 0,
            units,
            spent,
            is_kept: false,
            version: AtomicU64::new(0),
            is_noted: false,
            _slot: slot,
        }
    }

    /// Through which connection.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.lane.0
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// For whom.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// It goes out with this version of the credential.
    pub(super) fn sent_with(&self, version: VersionNumber) {
        self.version.store(version, Ordering::Relaxed);
    }

    fn note(&mut self, now: Instant, answer_bytes: u64, hits: u64, is_whole: bool) {
        self.is_noted = true;
        let version = self.version.load(Ordering::Relaxed);
        if self.is_kept || version == 0 {
            // The service was not asked, so nobody pays for it.
            self.units = 0;
            self.recorder.engine.give_back(std::mem::take(&mut self.spent));
        }
        let request_bytes = self.request_bytes.as_ref().map_or(0, |it| it.load(Ordering::Relaxed));
        self.recorder.figures.ended(self.status, request_bytes, answer_bytes, hits);
        self.recorder.engine.note_call(
            &self.client,
            CallSummary {
                connection: &self.lane.0,
                method: self.method.as_str(),
                template: std::mem::take(&mut self.template),
                status: self.status,
                request_bytes,
                answer_bytes,
                took: now.saturating_duration_since(self.begun),
                units: self.units,
                version,
                scrubbed: hits,
                is_whole,
            },
        );
    }

    /// Where the bytes of the request are counted.
    pub(super) fn request_bytes(&mut self) -> Arc<AtomicU64> {
        self.request_bytes.get_or_insert_default().clone()
    }

    /// The answer was there already.
    pub(super) fn kept(mut self) -> Self {
        self.is_kept = true;
        self
    }

    pub(super) fn answered(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

/// What is done when an answer has ended: the call is recorded, and the connection to the service waits
/// for the next one.
pub(crate) struct Ending {
    record: CallRecord,
    sender: Option<Used>,
}

/// A connection to a service that a call was made on.
pub(super) struct Used {
    /// `None` as long as the answer's body has it.
    pub(super) sender: Option<Sender>,
    /// Done once all of the request has gone out; `None` if it had no body that was streamed.
    pub(super) uploaded: Option<CancellationToken>,
}

impl Used {
    /// The connection, if nothing of this call is on it any more.
    fn into_free(self, is_whole: bool) -> Option<Sender> {
        let is_sent = self.uploaded.as_ref().is_none_or(CancellationToken::is_cancelled);
        self.sender.filter(|sender| sender.is_http2() || (is_whole && is_sent))
    }
}

impl Ending {
    pub(super) fn new(record: CallRecord, sender: Option<Used>) -> Self {
        Self { record, sender }
    }

    /// The answer's body has come to its end and gives its connection back.
    pub(crate) fn hand_back(&mut self, line: Box<Line>) {
        if let Some(used) = &mut self.sender {
            used.sender = Some(Sender::Line(line));
        }
    }

    /// `is_whole` unless somebody broke off: then the connection cannot be used again.
    pub(crate) fn end(self, answer_bytes: u64, hits: u64, is_whole: bool) {
        let Self { mut record, sender } = self;
        let now = Instant::now();
        if let Some(sender) = sender.and_then(|used| used.into_free(is_whole)) {
            Pool::put(&record.lane, sender, now);
        }
        record.note(now, answer_bytes, hits, is_whole);
    }
}
