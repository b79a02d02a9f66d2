//! An open-loop HTTP/1.1 load generator: requests leave by a timetable, as those of many callers do
//! who know nothing of one another, and not when the answer to the last one is here.
//!
//! A thread for every connection and no runtime: timers of a runtime are exact to a millisecond, which
//! is more than what is measured.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};

use super::http::Connection;
use super::load::{LoadReport, Plan, Requests, Tally};
use crate::clock;

/// How long a connection may take to open, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much later than planned a load may end before it is called stuck.
const GRACE: Duration = Duration::from_secs(30);
/// From the start of the threads to the first request: by then all of them are there.
const LEAD: Duration = Duration::from_millis(50);

/// When which request is due.
#[derive(Debug, Clone, Copy)]
struct Timetable {
    begins: Instant,
    opens: Instant,
    closes: Instant,
    /// From one request to the next, whichever connection sends it.
    interval: Duration,
    connections: u32,
}

impl Timetable {
    /// When a connection's n-th request is due; the connections take turns.
    fn due(&self, connection: u32, sequence: u32) -> Instant {
        let earlier = sequence.saturating_mul(self.connections).saturating_add(connection);
        self.begins + self.interval * earlier
    }
}

/// Runs a load of this many requests a second to its end. Each connection has a thread of its own,
/// whatever the plan says of threads.
pub(crate) fn run(plan: &Plan, rate: u32, requests: &Requests) -> anyhow::Result<LoadReport> {
    let mut connections = Vec::with_capacity(plan.connections);
    for number in 0..plan.connections {
        let connection = Connection::open(plan.address, PATIENCE)
            .with_context(|| format!("cannot open connection {number}"))?;
        connections.push(connection);
    }
    let begins = clock::now() + LEAD;
    let opens = begins + plan.warm_up;
    let timetable = Timetable {
        begins,
        opens,
        closes: opens + plan.measure,
        interval: Duration::from_secs(1).checked_div(rate).context("the rate is none")?,
        connections: u32::try_from(plan.connections).context("too many connections")?,
    };
    thread::scope(|scope| {
        let mut threads = Vec::with_capacity(connections.len());
        for (number, connection) in (0_u32..).zip(connections) {
            let thread = thread::Builder::new()
                .name("pace".to_owned())
                .spawn_scoped(scope, move || drive(plan, timetable, number, connection, requests))
                .context("cannot start a load thread")?;
            threads.push(thread);
        }
        let mut total = Tally::default();
        for thread in threads {
            total.merge(thread.join().map_err(|_| anyhow!("a load thread panicked"))??);
        }
        total.into_report(opens)
    })
}

/// Sends on one connection what is due there, until the window closes.
fn drive(
    plan: &Plan,
    timetable: Timetable,
    number: u32,
    mut connection: Connection,
    requests: &Requests,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for sequence in 0_u32.. {
        let due = timetable.due(number, sequence);
        if due >= timetable.closes {
            break;
        }
        let now = clock::now();
        ensure!(
            now < timetable.closes + GRACE,
            "the server could not keep the pace: the load did not end in time"
        );
        let wait = due.saturating_duration_since(now);
        let began = if wait.is_zero() {
            // The answer before was late: whoever comes next has waited since they were due.
            due
        } else {
            thread::sleep(wait);
            // If the thread woke late, that is not the server's doing.
            clock::now()
        };
        let answer = connection.call(requests.pick(number as usize, sequence as usize))?;
        let ended = clock::now();
        if due >= timetable.opens {
            tally.record(began, ended);
        }
        tally.note(plan.fault(answer.status, &answer.body));
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    use super::super::http;
    use super::*;

    const RATE: u32 = 200;

    /// A server that answers whatever it reads after this long, for as long as the tests run.
    fn answering_after(pause: Duration) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut room = [0; 1_024];
                    while stream.read(&mut room).is_ok_and(|read| read > 0) {
                        thread::sleep(pause);
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    }
                });
            }
        });
        Ok(address)
    }

    fn plan(address: SocketAddr) -> Plan {
        Plan {
            address,
            connections: 2,
            threads: 1,
            warm_up: Duration::from_millis(100),
            measure: Duration::from_millis(200),
            expected_status: 200,
            body_check: Some(|body| body == b"ok"),
        }
    }

    #[test]
    fn connections_take_turns() {
        let begins = clock::now();
        let timetable = Timetable {
            begins,
            opens: begins,
            closes: begins,
            interval: Duration::from_millis(1),
            connections: 8,
        };
        let millis = |connection, sequence| {
            timetable.due(connection, sequence).duration_since(begins).as_millis()
        };
        assert_eq!([millis(0, 0), millis(7, 0), millis(0, 1), millis(3, 10)], [0, 7, 8, 83]);
    }

    #[test]
    fn as_many_are_counted_as_are_due_in_the_window() -> anyhow::Result<()> {
        let requests = Requests::of(vec![http::get("/")])?;
        let report = run(&plan(answering_after(Duration::ZERO)?), RATE, &requests)?;
        assert_eq!((report.requests, report.errors), (40, 0));
        Ok(())
    }

    #[test]
    fn who_waits_for_an_earlier_answer_counts_from_when_it_was_due() -> anyhow::Result<()> {
        let requests = Requests::of(vec![http::get("/")])?;
        // Each connection is asked every 10 ms and answers every 20: the last waits for about 300 ms.
        let report = run(&plan(answering_after(Duration::from_millis(20))?), RATE, &requests)?;
        assert_eq!((report.requests, report.errors), (40, 0));
        assert!(report.max >= Duration::from_millis(250), "{:?}", report.max);
        Ok(())
    }
}
