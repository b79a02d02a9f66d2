//! The checks, in order. Nothing here waits.

use std::sync::Arc;

use jiff::Timestamp;
use keyreeve_core::{
    key::{KeyId, ParsedKey},
    model::FailPolicy,
    name::ProjectName,
    restriction::{Broken, Country, RequestFacts, Restrictions},
    verdict::VerdictCode,
};

use super::{
    Verdict, VerifyInput,
    chain::{Chain, Incomplete},
    limits::{self, LimitsTaken},
    quota::{self, NeededClaim},
    shared::Shared,
};
use crate::{
    Engine,
    live::{Found, LiveKey, Lookup},
    shared_counts::SharedAsk,
};

const STALE: &str = "this node may have missed changes and vouches for nothing";

/// How far a decision came.
pub(super) enum Step {
    /// There is a verdict; a good one comes with the keys behind it, and has no key of its own.
    Decided(Box<Verdict>, Option<Chain>),
    /// More of a quota has to be on disk first.
    NeedsClaims(Vec<NeededClaim>),
    /// This key has to be read first.
    NeedsKey(KeyId),
    /// The common counts of all nodes have to be asked first.
    NeedsShared(Box<SharedAsk>),
    /// One of these may be the key; their hashes are slow.
    Perhaps(ProjectName, Vec<KeyId>),
}

/// What a text leads to.
enum Match {
    Key(Arc<LiveKey>),
    /// Perhaps one of these: their hashes are slow to try.
    Perhaps(Vec<KeyId>),
    /// Perhaps the one of this id, which is not in memory.
    Elsewhere(KeyId),
    Nothing,
}

/// A refusal on its way to becoming a verdict.
pub(super) struct Refused {
    pub(super) code: VerdictCode,
    pub(super) why: &'static str,
}

impl Engine {
    pub(super) fn decide(
        &self,
        project: Option<&ProjectName>,
        input: &VerifyInput<'_>,
        shared: &Shared,
    ) -> Step {
        let at = input.simulate.and_then(|simulation| simulation.at).unwrap_or_else(|| self.now());
        // On the heap from the start: it goes through many hands.
        let mut verdict = Box::new(Verdict::new(VerdictCode::NotFound, at, self.live.epoch()));
        let now_ns = || self.clock.monotonic_ns();
        let scope = |project: &ProjectName| self.subject_hash(&[project.as_str()]);
        if let Some(project) = project
            && let Some(left_ns) =
                self.bad_keys.locked_for(|| scope(project), input.request.ip, now_ns)
        {
            verdict.refuse(VerdictCode::AbuseLocked, "too many bad keys came from this address");
            verdict.retry_after_s = Some(limits::whole_seconds(left_ns));
            return Step::Decided(verdict, None);
        }
        let key = match self.find_key(project, input.key) {
            Ok(Match::Key(key)) => key,
            Ok(Match::Nothing) => {
                if !input.may_be_stale && !self.can_vouch() {
                    // Perhaps it was made a moment ago, elsewhere.
                    verdict.refuse(VerdictCode::Stale, STALE);
                }
                return Step::Decided(verdict, None);
            }
            Ok(Match::Elsewhere(id)) => {
                if input.may_be_stale || self.can_vouch() {
                    return Step::NeedsKey(id);
                }
                // Where this node learns from, it would have to read, too.
                verdict.refuse(VerdictCode::Stale, STALE);
                return Step::Decided(verdict, None);
            }
            Ok(Match::Perhaps(ids)) => {
                // Only asked for with a project.
                let project = project.cloned().unwrap_or_else(ProjectName::default_project);
                return Step::Perhaps(project, ids);
            }
            Err(code) => {
                verdict.code = code;
                return Step::Decided(verdict, None);
            }
        };
        self.judge(key, input, verdict, shared)
    }

    /// From text to key: format and checksum, then lookup and digest.
    fn find_key(&self, project: Option<&ProjectName>, text: &str) -> Result<Match, VerdictCode> {
        match ParsedKey::parse(text) {
            Ok(parsed) => {
                let key = match self.live.lookup(&parsed.id) {
                    Lookup::Here(key) => key,
                    Lookup::Absent => return Ok(Match::Nothing),
                    Lookup::Unknown => return Ok(Match::Elsewhere(parsed.id)),
                };
                let of_project = project.is_none_or(|project| key.project() == project);
                if !of_project || !self.digester.matches(key.digest(), &parsed.token) {
                    return Ok(Match::Nothing);
                }
                Ok(Match::Key(key))
            }
            // What has our form and a wrong checksum is a mistyped key of ours: no lookup.
            Err(malformed) if malformed.is_mistyped() => Err(VerdictCode::Malformed),
            Err(_) => {
                let Some(project) = project else {
                    return Err(VerdictCode::Malformed);
                };
                let peppered = || self.digester.peppered(text);
                let hmac = self.import_secret.as_ref();
                match self.live.foreign_key(project, text, peppered, hmac) {
                    Found::Nothing => Err(VerdictCode::Malformed),
                    Found::Perhaps(ids) => Ok(Match::Perhaps(ids)),
                    Found::Key(id) => Ok(self.live.key(&id).map_or(Match::Nothing, Match::Key)),
                }
            }
        }
    }

    /// Everything after the key is known to be the one that was shown.
    pub(super) fn judge(
        &self,
        key: Arc<LiveKey>,
        input: &VerifyInput<'_>,
        mut verdict: Box<Verdict>,
        shared: &Shared,
    ) -> Step {
        let chain = match Chain::of(key, &self.live) {
            Ok(chain) => chain,
            Err(Incomplete::Unread(parent)) => return Step::NeedsKey(parent),
            Err(Incomplete::Orphan(orphan)) => {
                verdict.key = Some(orphan);
                verdict.refuse(VerdictCode::Revoked, "the key it was derived from is gone");
                return Step::Decided(verdict, None);
            }
        };
        match self.judge_chain(&chain, input, &mut verdict, shared) {
            Ok(()) => {
                // Once more: whoever was stopped in the middle knows less than it thinks.
                if let Err(refused) = self.check_freshness(&chain, input) {
                    verdict.key = Some(chain.key);
                    verdict.refuse(refused.code, refused.why);
                    return Step::Decided(verdict, None);
                }
                verdict.code = VerdictCode::Valid;
                Step::Decided(verdict, Some(chain))
            }
            Err(Stop::Refused(refused)) => {
                verdict.key = Some(chain.key);
                verdict.code = refused.code;
                if !refused.why.is_empty() {
                    verdict.why = Some(refused.why.into());
                }
                Step::Decided(verdict, None)
            }
            Err(Stop::Claims(claims)) => Step::NeedsClaims(claims),
            Err(Stop::Shared(ask)) => Step::NeedsShared(ask),
        }
    }

    fn judge_chain(
        &self,
        chain: &Chain,
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
        shared: &Shared,
    ) -> Result<(), Stop> {
        self.check_freshness(chain, input)?;
        check_standing(chain, verdict.at)?;
        let facts = self.facts(chain, input);
        check_restrictions(chain, &facts, verdict.at)?;
        if let Some(query) = input.require
            && let Err(missing) = query.check_with(&|wanted| chain.covers(wanted))
        {
            verdict.missing = missing;
            return Err(Refused { code: VerdictCode::InsufficientPermissions, why: "" }.into());
        }
        let bounds = self.bounds_of(chain);
        verdict.may_adapt = bounds.iter().any(|(_, bounds)| bounds.adaptive);
        let bounding = self.bounding(chain, &bounds, input, shared);
        verdict.degraded = bounding.is_degraded;
        let shared = bounding.ask.as_ref().and_then(|ask| shared.answer_to(ask));
        let answer = shared.map(|(_, answer)| answer);
        let mut taken = LimitsTaken::default();
        self.take_limits(&bounding, answer, input, verdict, &mut taken)?;
        let leased = match self.take_lease(&bounding, shared, input, verdict) {
            Ok(leased) => leased,
            Err(refused) => {
                self.give_back_limits(&taken);
                return Err(refused.into());
            }
        };
        match self.take_quota(chain, &bounds, input, verdict) {
            Ok(()) => Ok(()),
            Err(short) => {
                self.give_back_lease(&leased);
                verdict.lease = None;
                self.give_back_limits(&taken);
                Err(match short {
                    quota::Short::Refused(refused) => refused.into(),
                    quota::Short::Claims(claims) => {
                        verdict.limits.clear();
                        Stop::Claims(claims)
                    }
                })
            }
        }
    }

    /// A node that may have missed a change vouches for nothing, unless the keyspace prefers what
    /// was last known.
    pub(super) fn check_freshness(
        &self,
        chain: &Chain,
        input: &VerifyInput<'_>,
    ) -> Result<(), Refused> {
        let open = || chain.key.keyspace_content().fail_policy == FailPolicy::Open;
        if input.may_be_stale || self.can_vouch() || open() {
            return Ok(());
        }
        Err(Refused { code: VerdictCode::Stale, why: STALE })
    }

    /// What is known of the request, with its country if any key of the chain asks for it.
    pub(super) fn facts<'a>(&self, chain: &Chain, input: &VerifyInput<'a>) -> RequestFacts<'a> {
        let asked = chain.keys().any(|key| {
            key.policy().restrictions.needs_country()
                || key.keyspace_content().policy.restrictions.needs_country()
        });
        if !asked {
            return input.request;
        }
        let country = match (&self.countries, input.request.ip) {
            (None, _) => Country::NoDatabase,
            (Some(_), None) => Country::Unknown,
            (Some(countries), Some(ip)) => {
                countries.country_of(ip).map_or(Country::Unknown, Country::Known)
            }
        };
        RequestFacts { country, ..input.request }
    }
}

/// Why the checks ended before their end.
pub(super) enum Stop {
    Refused(Refused),
    Claims(Vec<NeededClaim>),
    Shared(Box<SharedAsk>),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

pub(super) fn check_standing(chain: &Chain, at: Timestamp) -> Result<(), Refused> {
    let own = chain.key.standing(at);
    if own != VerdictCode::Valid {
        return Err(Refused { code: own, why: "" });
    }
    for ancestor in &chain.ancestors {
        let code = ancestor.standing(at);
        if code != VerdictCode::Valid {
            return Err(Refused { code, why: "so is the key it was derived from" });
        }
    }
    Ok(())
}

/// Each kind by itself: what the key says, or else what its keyspace says.
pub(super) fn check_restrictions(
    chain: &Chain,
    facts: &RequestFacts<'_>,
    at: Timestamp,
) -> Result<(), Refused> {
    for key in chain.keys() {
        let keyspace = key.keyspace_content();
        let (own, defaults) = (&key.policy().restrictions, &keyspace.policy.restrictions);
        if own.is_empty() && defaults.is_empty() {
            continue;
        }
        let open = keyspace.fail_policy == FailPolicy::Open;
        for kind in Broken::ALL {
            let restrictions = effective(own, defaults, kind);
            restrictions
                .check_kind(kind, facts, at, open)
                .map_err(|why| Refused { code: code_of(kind), why })?;
        }
    }
    Ok(())
}

/// Whose restrictions of that kind count.
pub(super) fn effective<'r>(
    own: &'r Restrictions,
    defaults: &'r Restrictions,
    kind: Broken,
) -> &'r Restrictions {
    if own.has(kind) { own } else { defaults }
}

pub(super) fn code_of(kind: Broken) -> VerdictCode {
    match kind {
        Broken::Ip => VerdictCode::ForbiddenIp,
        Broken::Country => VerdictCode::ForbiddenGeo,
        Broken::Window => VerdictCode::ForbiddenTime,
        Broken::Origin => VerdictCode::ForbiddenOrigin,
        Broken::Route => VerdictCode::ForbiddenRoute,
    }
}
