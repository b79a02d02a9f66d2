//! `bench engine`: how long one verification takes in the process itself, without HTTP.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    key::Digester, name::ProjectName, permission::Query, restriction::RequestFacts,
};
use keyreeve_engine::{
    Caller, Clock, Engine, EngineOptions, Entropy, EntropyFailed, Permit, RequestId, RequestMeta,
    ServiceLimits, VerifyInput, action::VerifyKey, store::Store,
};
use serde_json::json;

use super::{
    report::{self, Format, Machine},
    seed::{self, Mode},
};

/// Verifications before the first that counts: every key is used, and its counters made.
const WARM_UPS_PER_KEY: usize = 3;
/// Verifications between two looks at the clock.
const BATCH: usize = 1_000;

/// Options of `bench engine`.
#[derive(Debug, clap::Args)]
pub(crate) struct EngineBenchOptions {
    /// Keys in the store.
    #[arg(long, default_value = "100000")]
    keys: NonZeroUsize,
    /// What each key is bound by.
    #[arg(long, value_enum, default_value = "full")]
    mode: Mode,
    /// How long is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
}

/// What was measured.
#[derive(Debug)]
struct Measured {
    verifications: u64,
    mean: Duration,
    /// The slowest of the means of every thousand in a row.
    slowest_mean: Duration,
}

/// The machine's clock, as the server has it.
pub(crate) struct MachineClock(Instant);

impl MachineClock {
    /// Counts nanoseconds from now on.
    pub(crate) fn new() -> Self {
        Self(start_of_clock())
    }
}

impl Clock for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that others are told to ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Nothing here has to be secret.
struct Plain;

impl Entropy for Plain {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyFailed> {
        out.fill(7);
        Ok(())
    }
}

/// Seeds a store, loads it, and verifies on one thread.
pub(crate) fn run(options: &EngineBenchOptions, format: Format) -> anyhow::Result<()> {
    let data = tempfile::tempdir().context("cannot create a data folder")?;
    eprintln!("bench: seeding {} keys", options.keys);
    let seeded = seed::seed(data.path(), options.keys.get(), options.mode)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = runtime.block_on(async { seed::open(data.path()) })?;
    let measured = runtime.block_on(measure(options, store.clone(), &seeded.keys))?;
    runtime.block_on(store.close());
    print(options, &measured, format);
    Ok(())
}

async fn measure(
    options: &EngineBenchOptions,
    store: Arc<dyn Store>,
    keys: &[String],
) -> anyhow::Result<Measured> {
    let engine = Engine::start(EngineOptions {
        shared: None,
        most_keys_in_memory: None,
        backends: Vec::new(),
        credential_types: None,
        store,
        clock: Arc::new(MachineClock::new()),
        entropy: Arc::new(Plain),
        digester: Digester::default(),
        audit_public_key: String::new(),
        idempotency_keep: SignedDuration::from_hours(1),
        limits: ServiceLimits::none(),
        countries: None,
        import_secret: None,
        bound: Duration::from_secs(1),
    })
    .await?;
    let id = RequestId::from_caller("bench").context("the request id is not good")?;
    let meta = RequestMeta { id, ip: None };
    let caller = Caller::gateway("bench", ProjectName::default_project(), meta);
    let permit = Permit::<VerifyKey>::check(&caller).ok().context("a gateway may verify")?;
    let query = Query::parse("documents.read")?;
    let request = RequestFacts {
        ip: Some([203, 0, 113, 9].into()),
        method: Some("GET"),
        host: Some("api.example.com"),
        path: Some("/v1/items/17"),
        origin: Some("https://app.example.com"),
        ..RequestFacts::default()
    };
    let verify = async |n: usize| {
        // A large step through the keys, so that they are not met in the order of their making.
        let key = &keys[n.wrapping_mul(7_919) % keys.len()];
        let input = VerifyInput { require: Some(&query), request, ..VerifyInput::new(key) };
        engine.verify(&permit, &input).await.code.http_status() == 200
    };
    for n in 0..keys.len() * WARM_UPS_PER_KEY {
        ensure!(verify(n).await, "a good key was refused");
    }
    let began = start_of_clock();
    let length = Duration::from_secs(options.seconds);
    let (mut done, mut slowest, mut batch_began) = (0_usize, Duration::ZERO, began);
    while began.elapsed() < length {
        for n in done..done + BATCH {
            ensure!(verify(n).await, "a good key was refused");
        }
        done += BATCH;
        slowest = slowest.max(batch_began.elapsed());
        batch_began = start_of_clock();
    }
    let verifications = u64::try_from(done)?;
    Ok(Measured {
        verifications,
        mean: mean(began.elapsed(), verifications),
        slowest_mean: mean(slowest, u64::try_from(BATCH)?),
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn start_of_clock() -> Instant {
    Instant::now()
}

fn mean(total: Duration, count: u64) -> Duration {
    Duration::from_nanos(u64::try_from(total.as_nanos()).unwrap_or(u64::MAX) / count.max(1))
}

fn print(options: &EngineBenchOptions, measured: &Measured, format: Format) {
    let machine = Machine::in_process();
    let Measured { verifications, mean, slowest_mean } = measured;
    let lines = [
        format!(
            "bench engine, mode {:?}: {} keys, one thread, {} s, usage recorded",
            options.mode, options.keys, options.seconds
        ),
        machine.line(),
        String::new(),
        format!("one verification: {mean:?} mean ({verifications} verifications)"),
        format!("slowest thousand in a row: {slowest_mean:?} mean"),
    ];
    let json = json!({
        "bench": "engine",
        "mode": format!("{:?}", options.mode).to_lowercase(),
        "keys": options.keys,
        "verifications": verifications,
        "mean_ns": u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX),
        "slowest_thousand_mean_ns": u64::try_from(slowest_mean.as_nanos()).unwrap_or(u64::MAX),
        "machine": machine.json(),
    });
    report::print(format, &lines, &json);
}
