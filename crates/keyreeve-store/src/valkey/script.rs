//! The script, its questions and its answers.

use std::fmt;

use keyreeve_core::name::ProjectName;
use keyreeve_engine::shared_counts::{
    CountName, LimitAsk, PlaceAsk, PlaceState, SharedAnswer, SharedAsk,
};
use redis::{RedisError, RedisResult, Script, ScriptInvocation, aio::MultiplexedConnection};
use smallvec::SmallVec;

const SECOND_NS: u64 = 1_000_000_000;
const MICROSECOND_NS: u64 = 1_000;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Take,
    Peek,
    GiveBack {
        /// When it was taken.
        taken_ns: u64,
    },
}

/// One call of the script.
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    pub(super) ask: &'a SharedAsk,
    /// The moment; the server's own if `None`. Tests have theirs.
    pub(super) now_ns: Option<u64>,
}

/// Giving up places alone.
pub(super) struct Release<'a> {
    pub(super) project: &'a ProjectName,
    pub(super) places: &'a [CountName],
    pub(super) lease: u64,
}

/// The script, which the server keeps under its digest.
pub(super) struct CountScript {
    script: Script,
    /// What all keys begin with.
    prefix: String,
}

impl fmt::Debug for CountScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountScript").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl CountScript {
    pub(super) fn new(prefix: &str) -> Self {
        Self { script: Script::new(include_str!("counts.lua")), prefix: prefix.to_owned() }
    }

    /// Counts something that nobody looks at, which shows that counting works.
    pub(super) async fn probe(&self, mut connection: MultiplexedConnection) -> RedisResult<()> {
        let mut script = self.script.prepare_invoke();
        script.key(format!("{}:{{keyreeve}}:probe", self.prefix));
        script.arg("take").arg(1).arg("").arg("").arg(0);
        time(&mut script, SECOND_NS);
        time(&mut script, SECOND_NS);
        let _: Vec<u64> = script.invoke_async(&mut connection).await?;
        Ok(())
    }

    /// All keys of one request are in one slot of a cluster: what is in braces decides.
    fn key(&self, project: &ProjectName, kind: &str, count: CountName) -> String {
        format!("{}:{{{project}}}:{kind}:{count}", self.prefix)
    }

    /// Asks for what one request needs.
    pub(super) async fn call(
        &self,
        mut connection: MultiplexedConnection,
        call: &Call<'_>,
    ) -> RedisResult<SharedAnswer> {
        let SharedAsk { project, limits, places, lease } = call.ask;
        let mut script = self.script.prepare_invoke();
        for limit in limits {
            script.key(self.key(project, "limit", limit.count));
        }
        for place in places {
            script.key(self.key(project, "place", place.count));
        }
        let operation = match call.operation {
            Operation::Take => "take",
            Operation::Peek => "peek",
            Operation::GiveBack { .. } => "give",
        };
        script.arg(operation).arg(limits.len());
        match call.now_ns {
            Some(now_ns) => time(&mut script, now_ns),
            None => {
                script.arg("").arg("");
            }
        }
        script.arg(lease);
        for LimitAsk { rate, cost, .. } in limits {
            let increment = u64::from(*cost).saturating_mul(rate.interval_ns());
            match call.operation {
                Operation::Take | Operation::Peek => {
                    time(&mut script, increment);
                    time(&mut script, rate.capacity_ns());
                }
                Operation::GiveBack { taken_ns } => {
                    time(&mut script, taken_ns.saturating_add(increment));
                    time(&mut script, increment);
                }
            }
        }
        for PlaceAsk { rule, .. } in places {
            script.arg(rule.most()).arg(rule.lease().as_micros().to_string());
        }
        let numbers: Vec<u64> = script.invoke_async(&mut connection).await?;
        read(&numbers, limits.len(), places.len()).ok_or_else(unexpected)
    }

    /// Gives up places. Whether there were any.
    pub(super) async fn release(
        &self,
        mut connection: MultiplexedConnection,
        release: &Release<'_>,
    ) -> RedisResult<bool> {
        let mut script = self.script.prepare_invoke();
        for place in release.places {
            script.key(self.key(release.project, "place", *place));
        }
        script.arg("give").arg(0).arg("").arg("").arg(release.lease);
        for _ in release.places {
            script.arg(0).arg(0);
        }
        let numbers: Vec<u64> = script.invoke_async(&mut connection).await?;
        numbers.first().map(|released| *released > 0).ok_or_else(unexpected)
    }
}

fn time(script: &mut ScriptInvocation<'_>, ns: u64) {
    script.arg(ns / SECOND_NS).arg(ns % SECOND_NS);
}

fn read(numbers: &[u64], limits: usize, places: usize) -> Option<SharedAnswer> {
    let mut rest = numbers.iter().copied();
    let mut next = || rest.next();
    let taken = next()? == 1;
    let now_ns = of_pair(next()?, next()?);
    let mut answer =
        SharedAnswer { taken, now_ns, limits: SmallVec::new(), places: SmallVec::new() };
    for _ in 0..limits {
        answer.limits.push(of_pair(next()?, next()?));
    }
    for _ in 0..places {
        let in_flight = u32::try_from(next()?).unwrap_or(u32::MAX);
        let ends_ns = of_pair(next()?, next()?.saturating_mul(MICROSECOND_NS));
        answer.places.push(PlaceState { in_flight, ends_ns, full: next()? == 1 });
    }
    Some(answer)
}

fn of_pair(seconds: u64, ns: u64) -> u64 {
    seconds.saturating_mul(SECOND_NS).saturating_add(ns)
}

fn unexpected() -> RedisError {
    (redis::ErrorKind::UnexpectedReturnType, "the counting script answered something else").into()
}
