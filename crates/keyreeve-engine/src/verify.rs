//! Is this key good? The hot path: memory only, but for four cases. A quota whose
//! allowance on disk is used up waits for the next part of it, and a key of another system that is
//! shown for the first time is recognised by its slow hash: both come seldom. A limit that several
//! nodes count together is asked for where they do, and a key that memory has no room for is read.

mod bounding;
mod chain;
mod decide;
mod explain;
mod foreign;
mod in_flight;
mod limits;
mod quota;
mod shared;
mod spending;

use std::{borrow::Cow, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    key::KeyId, limit::LimitName, permission::Query, restriction::RequestFacts,
    verdict::VerdictCode,
};

pub(crate) use self::{
    chain::{Chain, MOST_ANCESTORS},
    foreign::SlowHashes,
    limits::RequestSubject,
    quota::NeededClaim,
};
use self::{
    decide::Step,
    foreign::Recognised,
    shared::{Held, Shared},
};
pub use self::{
    explain::{CheckOutcome, Explanation},
    limits::LimitLevel,
    spending::ReservationId,
};
use crate::{Engine, Permit, abuse::Failed, action::VerifyKey, denials::DenialKind, live::LiveKey};

/// How often a decision is taken anew after something had to be waited for.
const MOST_TRIES: usize = 20;

/// What is asked.
#[derive(Clone)]
pub struct VerifyInput<'a> {
    /// The key as its holder showed it.
    pub key: &'a str,
    /// What it must grant.
    pub require: Option<&'a Query<'a>>,
    /// The request that came with the key. The country is looked up here.
    pub request: RequestFacts<'a>,
    /// With which user agent.
    pub user_agent: Option<&'a str>,
    /// What the request costs.
    pub cost: Cost<'a>,
    /// What to set aside of the quota, for a cost that is known only later.
    pub reserve: Option<Reserve>,
    /// Whether the request takes a place among those in flight.
    pub in_flight: bool,
    /// Decide, but spend and count nothing.
    pub simulate: Option<Simulation>,
    /// Whether a node that may have missed changes decides by what it knows.
    pub may_be_stale: bool,
}

/// What a request costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost<'a> {
    /// Of the quota; 0 only asks.
    pub quota: u64,
    /// Of limits by name; 0 only asks. A limit that is not named costs 1; a name that no limit has
    /// costs nothing.
    pub limits: &'a [(&'a str, u32)],
}

impl Default for Cost<'_> {
    fn default() -> Self {
        Self { quota: 1, limits: &[] }
    }
}

impl Cost<'_> {
    pub(crate) fn of_limit(&self, name: &LimitName) -> u32 {
        let named = self.limits.iter().find(|(limit, _)| *limit == name.as_str());
        named.map_or(1, |(_, cost)| *cost)
    }
}

/// What to set aside of a quota, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Reserve {
    /// How much.
    pub amount: u64,
    /// When what is not committed is free again.
    pub for_at_most: SignedDuration,
}

/// A question that changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulation {
    /// The moment it is about; now if `None`. Limits and quota are as they stand now.
    pub at: Option<Timestamp>,
}

impl<'a> VerifyInput<'a> {
    /// The longest text that is looked at.
    pub const LONGEST_KEY: usize = 512;

    /// Asks for a key alone.
    pub fn new(key: &'a str) -> Self {
        Self {
            key,
            require: None,
            request: RequestFacts::default(),
            user_agent: None,
            cost: Cost::default(),
            reserve: None,
            in_flight: true,
            simulate: None,
            may_be_stale: false,
        }
    }
}

/// The answer.
#[derive(Debug)]
pub struct Verdict {
    /// What was found.
    pub code: VerdictCode,
    /// The rule that decided, in words.
    pub why: Option<Cow<'static, str>>,
    /// The fewest permissions that would have been enough.
    pub missing: Vec<String>,
    /// The key, once its whole text matched.
    pub key: Option<Arc<LiveKey>>,
    /// Every limit that looked at the request, as it stands now. Where one of this node refuses, those
    /// that all nodes count together are not asked, and not here.
    pub limits: Vec<LimitLevel>,
    /// The quota that has the least left.
    pub quota: Option<QuotaState>,
    /// The place among the requests in flight.
    pub lease: Option<Lease>,
    /// What was set aside.
    pub reservation: Option<Reservation>,
    /// Whole seconds after which asking again may help.
    pub retry_after_s: Option<u64>,
    /// Whether limits counted on this node alone that all nodes should count together.
    pub(crate) degraded: bool,
    /// Whether some limit of the key may move with how this went.
    may_adapt: bool,
    /// The moment the verdict is about.
    pub at: Timestamp,
    /// The last change behind the verdict.
    pub epoch: u64,
    /// For how long other nodes may have done what is not known here, in milliseconds, rounded up.
    pub age_ms: u64,
}

/// Where a quota stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// How much there is in each period.
    pub amount: u64,
    /// How much is left in this one.
    pub remaining: u64,
    /// When there is all of it again; `None` never.
    pub resets_at: Option<Timestamp>,
    /// Whether there was too little.
    pub exceeded: bool,
}

/// A place among the requests in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Names it when it is given up.
    pub id: ReservationId,
    /// How many requests are in flight, this one included.
    pub in_flight: u32,
    /// How many there may be.
    pub most: u32,
    /// Whole milliseconds after which the place is free by itself.
    pub lasts_ms: u64,
}

/// Something set aside of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Names it when it is committed or cancelled.
    pub id: ReservationId,
    /// How much.
    pub amount: u64,
    /// When it is free again by itself.
    pub expires_at: Timestamp,
}

impl Verdict {
    pub(crate) fn new(code: VerdictCode, at: Timestamp, epoch: u64) -> Self {
        Self {
            code,
            why: None,
            missing: Vec::new(),
            key: None,
            limits: Vec::new(),
            quota: None,
            lease: None,
            reservation: None,
            retry_after_s: None,
            degraded: false,
            may_adapt: true,
            at,
            epoch,
            age_ms: 0,
        }
    }

    pub(crate) fn refuse(&mut self, code: VerdictCode, why: &'static str) {
        self.code = code;
        self.why = Some(why.into());
    }

    /// The key's public id, once its whole text matched.
    pub fn key_id(&self) -> Option<KeyId> {
        self.key.as_ref().map(|key| key.id())
    }
}

impl Engine {
    /// Checks in the order of cost: format and checksum, lookup and digest, state and time,
    /// restrictions, permissions, limits, quota. What was taken is given back if a later check
    /// refuses. A key of another project is not found.
    pub async fn verify(
        &self,
        permit: &Permit<'_, VerifyKey>,
        input: &VerifyInput<'_>,
    ) -> Box<Verdict> {
        let project = permit.project();
        let (mut verdict, chain) = self.settle(Some(project), input).await;
        verdict.age_ms = self.age_ms();
        if let Some(chain) = chain {
            verdict.key = Some(chain.key);
        }
        if input.simulate.is_some() {
            return verdict;
        }
        if let Some(key) = verdict.key.as_ref().filter(|_| verdict.may_adapt) {
            self.note_outcome(key, &input.request, verdict.code);
        }
        match (&verdict.key, verdict.code) {
            (Some(key), VerdictCode::Valid) => {
                self.usage.record(key, verdict.at, input.request.ip, input.user_agent);
            }
            (key, code) => {
                let unknown = matches!(code, VerdictCode::Malformed | VerdictCode::NotFound);
                let kind = DenialKind::Verification {
                    key: key.as_ref().map(|key| key.id()),
                    code: code.as_str(),
                    // Never the text: it may be another system's secret.
                    fingerprint: unknown.then(|| self.fingerprints.of(input.key)),
                };
                self.denials.count(project, kind);
                if unknown {
                    self.count_bad_key(project, input.request.ip);
                }
            }
        }
        verdict
    }

    /// Decides, waiting for what has to be waited for. A good verdict comes with the keys behind it
    /// and has no key of its own: counting who holds a key is dear where many ask about one. What is
    /// seldom waited for is boxed: else each request would carry its room about.
    pub(crate) async fn settle(
        &self,
        project: Option<&keyreeve_core::name::ProjectName>,
        input: &VerifyInput<'_>,
    ) -> (Box<Verdict>, Option<Chain>) {
        let mut held = Held::nothing(self.shared.as_ref());
        let (verdict, chain) = self.settle_with(project, input, &mut held).await;
        if verdict.degraded && input.simulate.is_none() {
            self.degraded.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        if !matches!(held.shared, Shared::NotAsked) {
            let is_good = chain.is_some();
            let ending =
                async move { if is_good { held.keep().await } else { held.give_back().await } };
            Box::pin(ending).await;
        }
        (verdict, chain)
    }

    async fn settle_with(
        &self,
        project: Option<&keyreeve_core::name::ProjectName>,
        input: &VerifyInput<'_>,
        held: &mut Held<'_>,
    ) -> (Box<Verdict>, Option<Chain>) {
        for _ in 0..MOST_TRIES {
            held.begin_decision();
            match self.decide(project, input, &held.shared) {
                Step::Decided(verdict, chain) => return (verdict, chain),
                Step::NeedsClaims(claims) => {
                    if !Box::pin(self.claim_quota(claims)).await {
                        return (self.failed("the quota could not be claimed"), None);
                    }
                }
                Step::NeedsKey(id) => {
                    if !Box::pin(self.read_key(id)).await {
                        return (self.failed("the key could not be read"), None);
                    }
                }
                Step::NeedsShared(ask) => {
                    Box::pin(held.ask_for(*ask, input.simulate.is_some())).await;
                }
                Step::Perhaps(project, candidates) => {
                    match Box::pin(self.recognise(&project, candidates, input.key)).await {
                        Recognised::Perhaps => {}
                        Recognised::No => return (self.not_found(), None),
                        Recognised::Busy => {
                            let why = "a key of another system could not be recognised now";
                            return (self.failed(why), None);
                        }
                    }
                }
            }
        }
        (self.failed("too much is going on with this key"), None)
    }

    fn not_found(&self) -> Box<Verdict> {
        Box::new(Verdict::new(VerdictCode::NotFound, self.now(), self.live.epoch()))
    }

    fn failed(&self, why: &'static str) -> Box<Verdict> {
        let mut verdict = self.not_found();
        verdict.refuse(VerdictCode::Error, why);
        verdict
    }

    fn count_bad_key(
        &self,
        project: &keyreeve_core::name::ProjectName,
        ip: Option<std::net::IpAddr>,
    ) {
        let scope = self.subject_hash(&[project.as_str()]);
        if self.bad_keys.count(scope, ip, self.clock.monotonic_ns()) == Failed::LockedOut {
            self.denials.count(project, DenialKind::Lockout { ip, of: "verification" });
            self.lockouts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
