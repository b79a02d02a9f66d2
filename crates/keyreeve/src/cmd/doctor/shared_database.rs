//! Checks of a database that several nodes share.

use jiff::SignedDuration;
use keyreeve_store::postgres::{self, Examination, OLDEST_SERVER};

use super::{Check, Status, checks};
use crate::{
    config::{Config, secret_url::SecretUrl},
    context::Context,
    installation::{Anchor, DataFolder},
    system::SystemClock,
};

/// Clocks further apart than this make times in the audit and expiries of keys hard to believe.
const MOST_SKEW: SignedDuration = SignedDuration::from_secs(2);

/// Whether the database can be reached, is what it should be, and has come at least as far as the
/// anchor of this node.
pub(super) async fn look(
    config: &Config,
    url: &SecretUrl,
    context: &Context,
    folder: &DataFolder,
    found: &mut Vec<Check>,
) {
    let url = match url.resolve(&context.environment) {
        Ok(url) => url,
        Err(error) => {
            found.push(Check::new("database", Status::Failed, error.to_string()));
            return;
        }
    };
    // Before the database, which running servers take further meanwhile.
    let anchored = checks::anchored(folder);
    let authorities = config.store.authorities.clone();
    // It waits for the network, which would stop every other task of this thread.
    let looked = tokio::task::spawn_blocking(move || {
        postgres::examine(&url, authorities.as_ref()).map_err(anyhow::Error::from)
    });
    let examined = match looked.await.map_err(anyhow::Error::from).and_then(|looked| looked) {
        Ok(examined) => examined,
        Err(error) => {
            found.push(Check::new("database", Status::Failed, format!("{error:#}")));
            return;
        }
    };
    found.push(server(&examined));
    found.push(schema(&examined));
    found.push(clock(&examined));
    let compared = anchored.and_then(|(verifier, anchored)| {
        let head = examined.checkpoint.as_ref().map(|note| verifier.verify(note)).transpose()?;
        Anchor::compare(anchored.as_ref(), head.as_ref())?;
        Ok(())
    });
    found.push(match compared {
        Ok(()) => {
            let detail = format!(
                "{} entries under a signed head; `keyreeve audit verify` checks each",
                examined.entries
            );
            Check::new("audit anchor", Status::Ok, detail)
        }
        Err(error) => Check::new("audit anchor", Status::Failed, error.to_string()),
    });
}

fn server(examined: &Examination) -> Check {
    let Examination { place, server, .. } = examined;
    let detail = format!("PostgreSQL {server} at {place}");
    if *server < OLDEST_SERVER {
        let detail = format!("{detail}: older than {OLDEST_SERVER}");
        return Check::new("database", Status::Failed, detail);
    }
    if !examined.is_durable {
        let detail = format!("{detail}: fsync is off, so a power cut loses what was acknowledged");
        return Check::new("database", Status::Warning, detail);
    }
    Check::new("database", Status::Ok, detail)
}

fn schema(examined: &Examination) -> Check {
    let Examination { schema, known_schema, .. } = examined;
    let check = |status, detail| Check::new("schema", status, detail);
    match schema.cmp(known_schema) {
        std::cmp::Ordering::Equal => check(Status::Ok, format!("version {schema}, the newest")),
        std::cmp::Ordering::Less => {
            check(Status::Ok, format!("version {schema}; the next start makes it {known_schema}"))
        }
        std::cmp::Ordering::Greater => check(
            Status::Failed,
            format!("version {schema}, and this keyreeve knows {known_schema}: use a newer one"),
        ),
    }
}

/// How far the database's clock is from this machine's, give or take the way there.
fn clock(examined: &Examination) -> Check {
    use keyreeve_engine::Clock as _;
    let own_ms = SystemClock::new().now().as_millisecond();
    let skew = SignedDuration::from_millis(examined.now_ms - own_ms);
    let detail = format!("the database's is {} ms off this machine's", skew.as_millis().abs());
    let status = if skew.abs() > MOST_SKEW { Status::Warning } else { Status::Ok };
    Check::new("clock", status, detail)
}
