//! What is kept of calls: one row each, in batches whose digest is in the audit.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use keyreeve_core::{
    Invalid,
    audit::{Hash, Target},
    name::ProjectName,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use super::{Client, Connection};
use crate::{
    Engine, Error, FieldError, PerThread, Permit,
    action::ReadConnections,
    store::{CallBatch, CallCount, Change},
};

/// Rows that may wait to be stored. When there are more, calls are refused: what cannot be recorded is
/// not done.
const MOST_WAITING: usize = 200_000;
/// Rows of one batch.
const ROWS_PER_BATCH: usize = 5_000;
/// How many rows a stripe takes before it tells the others. A number that all cores write to with each
/// call would be waited for with each.
const TOLD_AT_ONCE: usize = 64;
/// How many rows a stripe keeps in one piece: what is taken from it is handed over in pieces, so that nobody
/// waits meanwhile.
const ROWS_PER_PIECE: usize = 256;
/// Methods that need no memory of their own in a row.
const USUAL_METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// How a call went.
#[derive(Debug)]
pub struct CallSummary<'a> {
    /// Through which connection.
    pub connection: &'a Arc<Connection>,
    /// The method.
    pub method: &'a str,
    /// The pattern that the path fits, never the path itself.
    pub template: String,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub answer_bytes: u64,
    /// From the request's head to the answer's end.
    pub took: Duration,
    /// What it cost.
    pub units: u32,
    /// The version of the secret that was used.
    pub version: u64,
    /// How many secrets were overwritten in the answer.
    pub scrubbed: u64,
    /// Whether the answer came to its end.
    pub is_whole: bool,
}

#[derive(Debug)]
struct Row {
    at: Timestamp,
    client: Client,
    connection: Arc<Connection>,
    method: Cow<'static, str>,
    template: String,
    status: u16,
    request_bytes: u64,
    answer_bytes: u64,
    took_us: u64,
    units: u32,
    version: u64,
    scrubbed: u64,
    is_whole: bool,
}

impl Row {
    fn project(&self) -> &ProjectName {
        &self.client.project
    }
}

/// Calls that are not stored yet.
#[derive(Debug, Default)]
pub(crate) struct CallLedger {
    stripes: PerThread<Mutex<Stripe>>,
    /// How many there are, but for a few that were not told yet.
    waiting: AtomicUsize,
}

/// The calls of a thread.
#[derive(Debug, Default)]
struct Stripe {
    /// Full pieces, the oldest first.
    full: Vec<Vec<Row>>,
    /// The piece that is being filled.
    rows: Vec<Row>,
    /// How many of them are not in the common number yet.
    untold: usize,
}

impl CallLedger {
    fn add(&self, row: Row) {
        let mut stripe = self.stripes.own().lock();
        if stripe.rows.len() == stripe.rows.capacity() {
            let full = std::mem::replace(&mut stripe.rows, Vec::with_capacity(ROWS_PER_PIECE));
            if !full.is_empty() {
                stripe.full.push(full);
            }
        }
        stripe.rows.push(row);
        stripe.untold += 1;
        if stripe.untold >= TOLD_AT_ONCE {
            self.tell(&mut stripe);
        }
    }

    fn tell(&self, stripe: &mut Stripe) {
        self.waiting.fetch_add(std::mem::take(&mut stripe.untold), Ordering::Relaxed);
    }

    fn drain(&self) -> Vec<Row> {
        let mut pieces = Vec::new();
        for stripe in self.stripes.rows() {
            let mut stripe = stripe.lock();
            self.tell(&mut stripe);
            pieces.append(&mut stripe.full);
            pieces.push(std::mem::take(&mut stripe.rows));
        }
        let mut rows = Vec::with_capacity(pieces.iter().map(Vec::len).sum());
        rows.extend(pieces.into_iter().flatten());
        rows
    }

    fn restore(&self, rows: Vec<Row>) {
        self.stripes.own().lock().full.insert(0, rows);
    }

    /// So many were stored.
    fn stored(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
    }

    /// Whether so much waits that nothing more can be taken in.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= MOST_WAITING
    }
}

impl Engine {
    /// Takes down how a call went. It is stored with the next batch.
    pub fn note_call(&self, client: &Client, call: CallSummary<'_>) {
        let usual = USUAL_METHODS.into_iter().find(|usual| *usual == call.method);
        self.calls.add(Row {
            at: self.now(),
            client: client.clone(),
            connection: call.connection.clone(),
            method: usual.map_or_else(|| call.method.to_owned().into(), Cow::Borrowed),
            template: call.template,
            status: call.status,
            request_bytes: call.request_bytes,
            answer_bytes: call.answer_bytes,
            took_us: u64::try_from(call.took.as_micros()).unwrap_or(u64::MAX),
            units: call.units,
            version: call.version,
            scrubbed: call.scrubbed,
            is_whole: call.is_whole,
        });
    }

    /// Stores the calls that were taken down. What cannot be stored is kept for the next time.
    pub async fn flush_calls(&self) -> Result<(), Error> {
        let mut rows = self.calls.drain();
        // Of one project together, each in the order they ended.
        rows.sort_by(|one, other| one.project().cmp(other.project()).then(one.at.cmp(&other.at)));
        let mut stored = 0;
        let mut outcome = Ok(());
        let by_project = rows.chunk_by(|one, other| one.project() == other.project());
        for batch in by_project.flat_map(|rows| rows.chunks(ROWS_PER_BATCH)) {
            outcome = self.store_calls(batch).await;
            if outcome.is_err() {
                break;
            }
            stored += batch.len();
            self.calls.stored(batch.len());
        }
        if outcome.is_err() {
            rows.drain(..stored);
            self.calls.restore(rows);
        }
        outcome
    }

    /// What was called from a day on, by day, connection and client; the last 30 days if no day is given.
    pub async fn call_usage(
        &self,
        permit: &Permit<'_, ReadConnections>,
        from: Option<&str>,
    ) -> Result<Vec<CallCount>, Error> {
        const MOST: u32 = 10_000;
        let today = self.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let from = from.map(str::parse::<jiff::civil::Date>).transpose().map_err(|_| {
            Error::Invalid(FieldError::new("from", Invalid::new("must be a day: YYYY-MM-DD")))
        })?;
        let from = from.unwrap_or_else(|| today.saturating_sub(jiff::Span::new().days(30)));
        Ok(self.store.call_counts(permit.project(), &from.to_string(), MOST).await?)
    }

    /// Calls that ended before a moment, the latest first.
    pub async fn recent_calls(
        &self,
        permit: &Permit<'_, ReadConnections>,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<StoredCall<'static>>, Error> {
        /// Each can hold thousands of rows.
        const BATCHES: u32 = 4;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut before = before.unwrap_or(Timestamp::MAX);
        let mut rows = Vec::new();
        loop {
            let batches = self.store.call_batches(permit.project(), before, BATCHES).await?;
            let Some(oldest) = batches.last().map(|batch| batch.until) else { break };
            for batch in &batches {
                let read = |line: &str| serde_json::from_str::<StoredCall<'static>>(line).ok();
                let wanted = limit - rows.len();
                rows.extend(batch.rows.lines().rev().filter_map(read).take(wanted));
            }
            if rows.len() >= limit {
                break;
            }
            before = oldest;
        }
        Ok(rows)
    }

    /// Stores calls of one project.
    async fn store_calls(&self, rows: &[Row]) -> Result<(), Error> {
        let (text, counts) = (lines(rows), counts(rows));
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        let project = first.project();
        let digest = Hash::of(text.as_bytes());
        let scrubbed: u64 = rows.iter().map(|row| row.scrubbed).sum();
        let mut details = Map::from_iter([
            ("calls".to_owned(), json!(rows.len())),
            ("from".to_owned(), json!(first.at)),
            ("until".to_owned(), json!(last.at)),
            ("sha256".to_owned(), json!(digest.to_string())),
        ]);
        if scrubbed > 0 {
            details.insert("scrubbed".to_owned(), json!(scrubbed));
        }
        let mut entry = self.system_entry(project, "proxy", "proxy.calls", details);
        entry.target = Target::new("calls", digest);
        let batch = CallBatch {
            sha256: digest.to_string(),
            from: first.at,
            until: last.at,
            calls: rows.len() as u64,
            rows: text,
            counts,
        };
        self.begin(project).with(Change::AddCalls(Box::new(batch))).commit(entry).await?;
        Ok(())
    }
}

/// One call as it is stored: a JSON object a line, with short names, for there are many.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredCall<'r> {
    /// When it ended, in milliseconds since 1970.
    #[serde(rename = "t")]
    pub at_ms: i64,
    /// The client's key.
    #[serde(rename = "k")]
    pub client: Cow<'r, str>,
    /// The token that was made with it, if one called.
    #[serde(rename = "tok", default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Cow<'r, str>>,
    /// The connection.
    #[serde(rename = "c")]
    pub connection: Cow<'r, str>,
    /// The method.
    #[serde(rename = "m")]
    pub method: Cow<'r, str>,
    /// The pattern that the path fits.
    #[serde(rename = "p")]
    pub template: Cow<'r, str>,
    /// The status of the answer.
    #[serde(rename = "s")]
    pub status: u16,
    /// Bytes of the request's body.
    #[serde(rename = "in", default, skip_serializing_if = "is_zero")]
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    #[serde(rename = "out", default, skip_serializing_if = "is_zero")]
    pub answer_bytes: u64,
    /// From the request's head to the answer's end, in microseconds.
    #[serde(rename = "us")]
    pub took_us: u64,
    /// What it cost, in units.
    #[serde(rename = "u", default = "one", skip_serializing_if = "is_one")]
    pub units: u32,
    /// The version of the secret that was used.
    #[serde(rename = "v")]
    pub version: u64,
    /// Secrets that were overwritten in the answer.
    #[serde(rename = "hits", default, skip_serializing_if = "is_zero")]
    pub scrubbed: u64,
    /// Whether the answer broke off before its end.
    #[serde(rename = "broken", default, skip_serializing_if = "is_false")]
    pub is_broken: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Most calls cost that.
fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The rows as the digest in the audit has them.
fn lines(rows: &[Row]) -> String {
    let mut text = Vec::with_capacity(rows.len() * 128);
    for row in rows {
        let call = StoredCall {
            at_ms: row.at.as_millisecond(),
            client: row.client.key.as_str().into(),
            token: row.client.token.as_ref().map(|token| token.id.as_str().into()),
            connection: row.connection.name.as_str().into(),
            method: row.method.as_ref().into(),
            template: row.template.as_str().into(),
            status: row.status,
            request_bytes: row.request_bytes,
            answer_bytes: row.answer_bytes,
            took_us: row.took_us,
            units: row.units,
            version: row.version,
            scrubbed: row.scrubbed,
            is_broken: !row.is_whole,
        };
        // Writing into memory cannot fail.
        let _ = serde_json::to_writer(&mut text, &call);
        text.push(b'\n');
    }
    // JSON is UTF-8.
    String::from_utf8(text).unwrap_or_default()
}

/// Sums by day, connection and client.
fn counts(rows: &[Row]) -> Vec<CallCount> {
    const MS_OF_A_DAY: i64 = 86_400_000;
    let mut sums: BTreeMap<(i64, &str, &str), CallCount> = BTreeMap::new();
    for row in rows {
        let day = row.at.as_millisecond().div_euclid(MS_OF_A_DAY);
        let (connection, client) = (row.connection.name.as_str(), row.client.key.as_str());
        let sum = sums.entry((day, connection, client)).or_insert_with(|| CallCount {
            day: row.at.strftime("%Y-%m-%d").to_string(),
            connection: connection.to_owned(),
            client: client.to_owned(),
            ..CallCount::default()
        });
        sum.calls += 1;
        sum.failed += u64::from(row.status >= 400);
        sum.request_bytes += row.request_bytes;
        sum.answer_bytes += row.answer_bytes;
        sum.took_us += row.took_us;
        sum.units += u64::from(row.units);
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use keyreeve_core::key::KeyId;

    use super::*;

    fn row(connection: &Arc<Connection>, took_us: u64) -> Row {
        Row {
            at: Timestamp::UNIX_EPOCH,
            client: Client {
                project: ProjectName::default_project(),
                key: KeyId::from_entropy([7; 16]),
                token: None,
            },
            connection: connection.clone(),
            method: "GET".into(),
            template: "/v1/*".into(),
            status: 200,
            request_bytes: 0,
            answer_bytes: 1,
            took_us,
            units: 1,
            version: 1,
            scrubbed: 0,
            is_whole: true,
        }
    }

    fn connection() -> Arc<Connection> {
        let stored = json!({
            "name": "api",
            "settings": {
                "base_url": "https://api.example.com",
                "secret": "production/api",
                "inject": { "kind": "bearer", "token": "{token}" },
            },
            "enabled": true,
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "created_by": "system:test",
        });
        Arc::new(serde_json::from_value(stored).unwrap())
    }

    #[test]
    fn nothing_is_taken_in_beyond_what_may_wait() {
        let (ledger, connection) = (CallLedger::default(), connection());
        // What is not told yet of each thread comes on top.
        let most = MOST_WAITING + 4 * TOLD_AT_ONCE;
        let taken: usize = std::thread::scope(|scope| {
            let thread = || {
                let mut taken = 0;
                while !ledger.is_full() && taken <= most {
                    ledger.add(row(&connection, 0));
                    taken += 1;
                }
                taken
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).sum()
        });
        assert!((MOST_WAITING..=most).contains(&taken), "{taken}");
        let rows = ledger.drain();
        assert_eq!(rows.len(), taken);
        assert!(ledger.is_full(), "they are not stored yet");
        ledger.stored(rows.len());
        assert_eq!(ledger.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_could_not_be_stored_comes_first_and_counts_once() {
        let (ledger, connection) = (CallLedger::default(), connection());
        // More than one piece of them, and the last one not full.
        (0..1_000).for_each(|number| ledger.add(row(&connection, number)));
        ledger.restore(ledger.drain());
        (1_000..1_700).for_each(|number| ledger.add(row(&connection, number)));
        let took: Vec<u64> = ledger.drain().iter().map(|row| row.took_us).collect();
        assert!(took.into_iter().eq(0..1_700));
        assert_eq!(ledger.waiting.load(Ordering::Relaxed), 1_700);
        ledger.stored(1_700);
        assert_eq!(ledger.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn calls_are_summed_up_by_day_connection_and_client() {
        let connection = connection();
        let mut rows: Vec<Row> = (0..3).map(|_| row(&connection, 5)).collect();
        rows[1].status = 404;
        rows[2].at = "2026-03-01T00:00:00Z".parse().unwrap();
        let sums = counts(&rows);
        let told: Vec<_> =
            sums.iter().map(|it| (it.day.as_str(), it.calls, it.failed, it.took_us)).collect();
        assert_eq!(told, [("1970-01-01", 2, 1, 10), ("2026-03-01", 1, 0, 5)]);
        assert!(sums.iter().all(|it| it.connection == "api"));
    }
}
