//! `bench streams`: what streams of events cost that are open and silent, and how soon all of them are
//! ended.
//!
//! The bare server sends one event on each and then nothing. Each stream is a connection of a client to
//! Keyreeve and one of Keyreeve to the bare server, so Keyreeve holds two open files for each.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::bare::{EVENT, EVENTS};
use super::proxy::{CONNECTION, TOKEN, set_up};
use super::report::{self, Format, Machine};
use super::server::Server;
use super::{http, seed};
use crate::clock;

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long all streams are left alone before memory is read.
const REST: Duration = Duration::from_secs(2);
/// Open files that are needed for something else.
const OTHER_FILES: u64 = 150;
/// How soon all streams are to be ended.
const ASKED: Duration = Duration::from_secs(1);

/// Options of `bench streams`.
#[derive(Debug, clap::Args)]
pub(crate) struct StreamsOptions {
    /// Streams that are open at once; fewer where the system does not let a process have two files for each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    streams: u64,
}

/// Opens all streams, leaves them alone, and has them cut.
pub(crate) fn run(options: &StreamsOptions, binaries: &Path, format: Format) -> anyhow::Result<()> {
    let files = raise_open_files()?;
    let room = files.saturating_sub(OTHER_FILES) / 2;
    ensure!(room > 0, "this process may have only {files} open files");
    let wanted = options.streams.min(room);
    let upstream = Server::upstream(binaries, report::cores(), (200, 0), TOKEN)?;
    let folder = tempfile::tempdir().context("cannot create a data folder")?;
    let admin_key = seed::init(folder.path(), &[])?;
    let connections = (2 * wanted).max(100).to_string();
    let settings = [
        ("KEYREEVE_SERVER__MAX_CONNECTIONS", connections.as_str()),
        ("KEYREEVE_LIMITS__VIEWER", "0"),
        ("KEYREEVE_LIMITS__OPERATOR", "0"),
    ];
    let server = Server::node(binaries, folder.path(), &settings)?;
    let key = set_up(server.address(), &admin_key, upstream.address())?;
    let path = format!("/proxy/{CONNECTION}{EVENTS}");
    let request = http::get_showing(&path, "X-Keyreeve-Key", &key);
    // Everything that is made once is made.
    drop(open(server.address(), &request)?);
    std::thread::sleep(REST);
    let before = server.resident_bytes()?;
    let begun = clock::now();
    let mut streams = Vec::new();
    for number in 1..=wanted {
        let stream = open(server.address(), &request);
        streams.push(stream.with_context(|| format!("stream {number} was not opened"))?);
    }
    let opened = begun.elapsed();
    std::thread::sleep(REST);
    let after = server.resident_bytes()?;
    let begun = clock::now();
    let cut = http::post("/api/v1/connection-cuts", &admin_key, "{}");
    let answer = http::exchange(server.address(), &cut, PATIENCE)?;
    ensure!(answer.status == 204, "the cut was answered with {}", answer.status);
    for stream in streams {
        wait_for_end(stream)?;
    }
    let figures = Figures { wanted, files, opened, before, after, took: begun.elapsed() };
    figures.print(options, format);
    Ok(())
}

/// What was measured.
struct Figures {
    wanted: u64,
    files: u64,
    opened: Duration,
    before: u64,
    after: u64,
    took: Duration,
}

impl Figures {
    fn print(&self, options: &StreamsOptions, format: Format) {
        let &Self { wanted, files, opened, before, after, took } = self;
        let each = after.saturating_sub(before) / wanted;
        let tenths = each * 10 / 1024;
        let machine = Machine::this();
        let mut lines = vec![
            format!("bench streams: {wanted} streams of events, open and silent"),
            machine.line(),
            String::new(),
            format!("opened in {}", report::millis(opened)),
            format!(
                "resident memory: {} before, {} with all",
                report::mebibytes(before),
                report::mebibytes(after)
            ),
            format!("memory of one stream: {}.{} KiB", tenths / 10, tenths % 10),
            format!(
                "all ended within {} of the cut (asked: {}): {}",
                report::millis(took),
                report::millis(ASKED),
                if took <= ASKED { "met" } else { "not met" }
            ),
        ];
        if wanted < options.streams {
            lines.push(format!(
                "not {}: a process may have {files} open files here, and each stream is two",
                options.streams
            ));
        }
        let json = json!({
            "streams": wanted, "asked_streams": options.streams,
            "opened_ms": opened.as_secs_f64() * 1e3, "resident_before": before,
            "resident_after": after, "bytes_per_stream": each,
            "cut_ms": took.as_secs_f64() * 1e3, "machine": machine.json(),
        });
        report::print(format, &lines, &json);
    }
}

/// Lets this process, and those it starts, have as many open files as the system allows; gives how many.
fn raise_open_files() -> anyhow::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("cannot raise the limit on open files")?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// A stream whose first event has come.
fn open(address: SocketAddr, request: &[u8]) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut read = Vec::new();
    let mut piece = [0; 2048];
    while !http::contains(&read, EVENT) {
        let size = stream.read(&mut piece)?;
        ensure!(size > 0, "it ended: {}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&piece[..size]);
    }
    Ok(stream)
}

fn wait_for_end(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut piece = [0; 2048];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => bail!("a stream did not end: {error}"),
        }
    }
}
