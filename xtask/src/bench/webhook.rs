//! `bench webhook`: verifications a second in the process itself, and events a second that are taken and
//! durable, beside how often this machine's disk is synced.

use std::{
    fs::File,
    io::Write as _,
    net::SocketAddr,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use keyreeve_core::{
    Secret,
    webhook::{self, HeaderLine, ReceivedRequest, Settings, Signing},
};
use serde_json::{Value, json};

use super::{
    histogram::Histogram,
    http::{self, Connection},
    report::{self, Format, Machine},
    seed,
    server::Server,
};
use crate::clock;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Verifications between two looks at the clock.
const BATCH: u64 = 1_000;
/// What is written between two syncs.
const PAGE: [u8; 4_096] = [0; 4_096];
/// A made-up secret that every scheme here takes.
const SECRET: &str = "whsec_RVhBTVBMRWV4YW1wbGVFWEFNUExFZXhhbXBsZQ==";
const SCHEMES: [&str; 5] = ["github", "stripe", "slack", "standard-webhooks", "twilio"];
const URL: &str = "https://hooks.example.com/hooks/bench";

/// Options of `bench webhook`.
#[derive(Debug, clap::Args)]
pub(crate) struct WebhookOptions {
    /// How long each figure is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Bytes of each body.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    body: u64,
    /// Connections that send at once; one connection is measured besides.
    #[arg(long, default_value = "64")]
    connections: NonZeroUsize,
}

/// Events that were taken over so many connections.
#[derive(Debug)]
struct Taken {
    connections: usize,
    rate: f64,
    p50: Duration,
    p99: Duration,
}

/// Everything one run measured.
#[derive(Debug)]
struct Measured {
    verified: Vec<(&'static str, f64)>,
    syncs: f64,
    taken: Vec<Taken>,
}

/// Measures and prints the report.
pub(crate) fn run(options: &WebhookOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let length = Duration::from_secs(options.seconds);
    let body = usize::try_from(options.body)?;
    let mut verified = Vec::new();
    for scheme in SCHEMES {
        verified.push((scheme, verifications(scheme, body, length)?));
    }
    let data = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(data.path(), &[])?;
    let syncs = syncs(data.path(), length)?;
    let server = Server::keyreeve(binaries, data.path())?;
    prepare(server.address(), &admin_key)?;
    let numbers = Arc::new(AtomicU64::new(0));
    let mut taken = Vec::new();
    for connections in [1, options.connections.get()] {
        taken.push(accept(server.address(), connections, body, length, &numbers)?);
    }
    let measured = Measured { verified, syncs, taken };
    let machine = Machine::this();
    let lines = lines_of(options, &measured, &machine);
    report::print(format, &lines, &json_of(options, &measured, &machine));
    Ok(())
}

/// A request as its sender signs it: headers and body.
struct Signed {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn sign(scheme: &str, number: u64, bytes: usize, now_ms: i64) -> anyhow::Result<Signed> {
    let scheme = webhook::named(scheme).context("a scheme that is known")?;
    let key = scheme.key(SECRET)?;
    let mut body = format!(r#"{{"id":"evt_{number}","text":""#);
    while body.len() + 2 < bytes {
        body.push('x');
    }
    body.push_str("\"}");
    let body = body.into_bytes();
    let signing = Signing {
        method: "POST",
        url: URL,
        content_type: "application/json",
        body: &body,
        id: &format!("msg_{number}"),
        now_ms,
    };
    let signed = webhook::sign(&scheme, &key, &Secret::new(SECRET.to_owned()), &signing)?;
    Ok(Signed { headers: signed.headers, body })
}

/// Verifications a second on one core.
fn verifications(name: &str, bytes: usize, length: Duration) -> anyhow::Result<f64> {
    /// Any moment will do, as long as both sides have it.
    const NOW_MS: i64 = 1_700_000_000_000;
    let scheme = webhook::named(name).context("a scheme that is known")?;
    let keys = [scheme.key(SECRET)?];
    let signed = sign(name, 1, bytes, NOW_MS)?;
    let url = match name {
        // Twilio says the body's hash in the address.
        "twilio" => {
            let signing = Signing {
                method: "POST",
                url: URL,
                content_type: "application/json",
                body: &signed.body,
                id: "msg_1",
                now_ms: NOW_MS,
            };
            webhook::sign(&scheme, &keys[0], &Secret::new(SECRET.to_owned()), &signing)?.url
        }
        _ => URL.to_owned(),
    };
    let mut lines: Vec<HeaderLine<'_>> = (signed.headers.iter())
        .map(|(name, value)| HeaderLine { name, value: value.as_bytes() })
        .collect();
    lines.push(HeaderLine { name: "content-type", value: b"application/json" });
    let request = ReceivedRequest {
        method: "POST",
        url: &url,
        headers: &lines,
        body: &signed.body,
        remote_ip: None,
        now_ms: NOW_MS,
    };
    let settings = Settings::default();
    let begun = clock::now();
    let mut done = 0_u64;
    while begun.elapsed() < length {
        for _ in 0..BATCH {
            let verdict = webhook::verify(&scheme, &keys, &settings, &request);
            ensure!(verdict.is_ok(), "{name}: {verdict:?}");
        }
        done += BATCH;
    }
    Ok(rate(done, begun.elapsed()))
}

/// How often a page is written and synced in a second, one after the other.
fn syncs(folder: &Path, length: Duration) -> anyhow::Result<f64> {
    let path = folder.join("syncs");
    let mut file = File::create(&path)?;
    let begun = clock::now();
    let mut done = 0_u64;
    while begun.elapsed() < length {
        file.write_all(&PAGE)?;
        file.sync_data()?;
        done += 1;
    }
    let rate = rate(done, begun.elapsed());
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// A source that keeps its events: only taking them is measured.
fn prepare(address: SocketAddr, admin_key: &str) -> anyhow::Result<()> {
    let send = |method: &str, path: &str, body: &Value| -> anyhow::Result<()> {
        let request = http::post(path, admin_key, &body.to_string());
        let request = String::from_utf8(request)?.replacen("POST", method, 1);
        let answer = http::exchange(address, request.as_bytes(), PATIENCE)?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status < 300, "{path} was answered with {}: {said}", answer.status);
        Ok(())
    };
    let secret = json!({ "data": { "value": SECRET } });
    send("POST", "/v1/secret/data/bench", &secret)?;
    let source = json!({
        "name": "bench", "scheme": "github", "secret": "bench", "public_url": URL,
        "to": "http://127.0.0.1:9/", "allow_internal": true, "allow_plaintext": true,
    });
    send("POST", "/api/v1/webhook-sources", &source)?;
    send("PATCH", "/api/v1/webhook-sources/bench", &json!({ "paused": true }))
}

/// Sends events over so many connections, each the next when the last is acknowledged.
fn accept(
    address: SocketAddr,
    connections: usize,
    bytes: usize,
    length: Duration,
    numbers: &Arc<AtomicU64>,
) -> anyhow::Result<Taken> {
    let begun = clock::now();
    let ends = begun + length;
    let senders: Vec<_> = (0..connections)
        .map(|_| {
            let numbers = numbers.clone();
            thread::spawn(move || send_until(address, bytes, ends, &numbers))
        })
        .collect();
    let mut waits = Histogram::default();
    let mut done = 0;
    for sender in senders {
        let (sent, of_sender) = sender.join().map_err(|_| anyhow!("a sender panicked"))??;
        waits.merge(&of_sender);
        done += sent;
    }
    let rate = rate(done, begun.elapsed());
    Ok(Taken { connections, rate, p50: waits.quantile(500), p99: waits.quantile(990) })
}

fn send_until(
    address: SocketAddr,
    bytes: usize,
    ends: Instant,
    numbers: &AtomicU64,
) -> anyhow::Result<(u64, Histogram)> {
    let mut connection = Connection::open(address, PATIENCE)?;
    let (mut done, mut waits) = (0, Histogram::default());
    while clock::now() < ends {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let signed = sign("github", number, bytes, 0)?;
        let mut request = format!(
            "POST /hooks/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n",
            signed.body.len()
        );
        for (name, value) in &signed.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let request = [request.as_bytes(), &signed.body].concat();
        let begun = clock::now();
        let answer = connection.call(&request)?;
        waits.record(begun.elapsed());
        ensure!(answer.status == 200, "an event was answered with {}", answer.status);
        done += 1;
    }
    Ok((done, waits))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(done: u64, took: Duration) -> f64 {
    done as f64 / took.as_secs_f64()
}

/// The report for people.
fn lines_of(options: &WebhookOptions, measured: &Measured, machine: &Machine) -> Vec<String> {
    let mut lines = vec![
        format!("bench webhook: bodies of {} bytes, {} s each", options.body, options.seconds),
        machine.line(),
        String::new(),
    ];
    let mut rows = vec![
        ["in process without a profile, one core", "verifications/s"].map(str::to_owned).to_vec(),
    ];
    rows.extend(
        measured
            .verified
            .iter()
            .map(|(name, rate)| vec![(*name).to_owned(), report::grouped(*rate)]),
    );
    lines.extend(report::table(&rows));
    lines.push(String::new());
    let heading = ["connections", "durable events/s", "p50", "p99", "events a sync"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(measured.taken.iter().map(|taken| {
        vec![
            taken.connections.to_string(),
            report::grouped(taken.rate),
            report::millis(taken.p50),
            report::millis(taken.p99),
            report::times(report::ratio(taken.rate, measured.syncs)),
        ]
    }));
    lines.extend(report::table(&rows));
    lines.push(String::new());
    lines.push(format!("this disk, a page at a time: {} syncs/s", report::grouped(measured.syncs)));
    lines
}

/// The same report for programs.
fn json_of(options: &WebhookOptions, measured: &Measured, machine: &Machine) -> Value {
    let verified: Vec<Value> = (measured.verified.iter())
        .map(|(scheme, rate)| json!({ "scheme": scheme, "verifications_per_second": rate }))
        .collect();
    let taken: Vec<Value> = (measured.taken.iter())
        .map(|taken| {
            json!({
                "connections": taken.connections,
                "events_per_second": taken.rate,
                "p50_us": report::micros(taken.p50),
                "p99_us": report::micros(taken.p99),
                "events_per_sync": report::ratio(taken.rate, measured.syncs),
            })
        })
        .collect();
    json!({
        "bench": "webhook",
        "machine": machine.json(),
        "seconds": options.seconds,
        "body_bytes": options.body,
        "verified": verified,
        "syncs_per_second": measured.syncs,
        "taken": taken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_verified() {
        for scheme in SCHEMES {
            assert!(verifications(scheme, 200, Duration::from_millis(1)).is_ok(), "{scheme}");
        }
    }

    #[test]
    fn bodies_have_their_length_and_are_json() -> anyhow::Result<()> {
        let signed = sign("github", 7, 300, 0)?;
        assert_eq!(signed.body.len(), 300);
        let body: Value = serde_json::from_slice(&signed.body)?;
        assert_eq!(body["id"], "evt_7");
        Ok(())
    }
}
