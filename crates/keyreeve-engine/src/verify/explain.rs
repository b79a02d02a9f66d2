//! Every check of one key for one request, none left out, nothing spent.

use keyreeve_core::{key::KeyId, restriction::Broken, verdict::VerdictCode};

use super::{
    Verdict, VerifyInput,
    chain::Chain,
    decide::{Step, check_standing, code_of, effective},
    limits,
    shared::{self, Shared},
};
use crate::{Engine, Error, Permit, action::ReadKey, store::Kind};

/// What would become of a request with this key.
#[derive(Debug)]
pub struct Explanation {
    /// What verification would answer.
    pub verdict: Verdict,
    /// Every check, in order.
    pub checks: Vec<CheckOutcome>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOutcome {
    /// The check.
    pub check: &'static str,
    /// Whether it lets the request through.
    pub passed: bool,
    /// What it found.
    pub detail: String,
}

impl Engine {
    /// Says what verification would answer for a key and a request, check by check.
    pub async fn explain_key(
        &self,
        permit: &Permit<'_, ReadKey>,
        id: KeyId,
        input: &VerifyInput<'_>,
    ) -> Result<Explanation, Error> {
        let key = self.key_of(permit.project(), id).await?;
        let key = key.ok_or(Error::NotFound(Kind::ApiKey))?;
        let simulation = input.simulate.unwrap_or_default();
        let input = VerifyInput { simulate: Some(simulation), ..input.clone() };
        let at = simulation.at.unwrap_or_else(|| self.now());
        let verdict = Box::new(Verdict::new(VerdictCode::NotFound, at, self.live.epoch()));
        let chain = self.chain_of_key(key.clone()).await?;
        let mut said = Shared::NotAsked;
        if let Some(chain) = &chain {
            let ask = self.bounding(chain, &self.bounds_of(chain), &input, &said).ask;
            if let (Some(ask), Some(options)) = (ask, &self.shared) {
                said = shared::ask(options, *ask, true).await;
            }
        }
        let verdict = match self.judge(key, &input, verdict, &said) {
            Step::Decided(verdict, Some(decided)) => Verdict { key: Some(decided.key), ..*verdict },
            Step::Decided(verdict, None) => *verdict,
            // A simulation claims nothing, and the key is known.
            Step::NeedsClaims(_) | Step::Perhaps(..) => return Err(Error::NotFound(Kind::ApiKey)),
            // What is behind the key changed since it was asked.
            Step::NeedsShared(_) | Step::NeedsKey(_) => {
                return Err(Error::ChangedMeanwhile(Kind::ApiKey));
            }
        };
        let checks = match chain {
            Some(chain) => self.checks(&chain, &input, &verdict, &said),
            None => vec![CheckOutcome {
                check: "state",
                passed: false,
                detail: "the key it was derived from is gone".to_owned(),
            }],
        };
        Ok(Explanation { verdict, checks })
    }

    fn checks(
        &self,
        chain: &Chain,
        input: &VerifyInput<'_>,
        verdict: &Verdict,
        shared: &Shared,
    ) -> Vec<CheckOutcome> {
        let mut checks = Vec::new();
        let mut note = |check, passed, detail: String| {
            checks.push(CheckOutcome { check, passed, detail });
        };
        let fresh = self.check_freshness(chain, input);
        note(
            "freshness",
            fresh.is_ok(),
            fresh.err().map_or("nothing was missed", |refused| refused.why).to_owned(),
        );
        let standing = check_standing(chain, verdict.at);
        let state = chain.key.state(verdict.at).as_str();
        match standing {
            Ok(()) => note("state", true, format!("the key is {state}")),
            Err(refused) => {
                let why = if refused.why.is_empty() { state } else { refused.why };
                note(refused.code.check(), false, format!("{}: {why}", refused.code.as_str()));
            }
        }
        for (check, passed, detail) in self.restriction_checks(chain, input, verdict) {
            note(check, passed, detail);
        }
        match input.require.map(|query| query.check_with(&|wanted| chain.covers(wanted))) {
            None => note("permissions", true, "none was asked for".to_owned()),
            Some(Ok(())) => note("permissions", true, "all that was asked for".to_owned()),
            Some(Err(missing)) => {
                note("permissions", false, format!("missing: {}", missing.join(", ")));
            }
        }
        let bounds = self.bounds_of(chain);
        let bounding = self.bounding(chain, &bounds, input, shared);
        let shared = bounding.ask.as_ref().and_then(|ask| shared.answer_to(ask));
        let answer = shared.map(|(_, answer)| answer);
        for level in limits::limit_levels(&bounding, answer) {
            let detail = format!(
                "{}: {} of {} in {} s left",
                level.name, level.remaining, level.limit, level.period_s
            );
            let why = level.why.map(|why| format!(" ({why})")).unwrap_or_default();
            note("limits", !level.exceeded, detail + &why);
        }
        for (in_flight, most) in self.places(&bounding, answer) {
            note("concurrency", in_flight < most, format!("{in_flight} of {most} in flight"));
        }
        for (subject, state) in self.quota_states(chain, &bounds, input) {
            let detail = format!("{subject}: {} of {} left", state.remaining, state.amount);
            note("quota", !state.exceeded, detail);
        }
        checks
    }

    fn restriction_checks(
        &self,
        chain: &Chain,
        input: &VerifyInput<'_>,
        verdict: &Verdict,
    ) -> Vec<(&'static str, bool, String)> {
        let facts = self.facts(chain, input);
        let mut found = Vec::new();
        for kind in Broken::ALL {
            let check = code_of(kind).check();
            let mut bound = false;
            for key in chain.keys() {
                let keyspace = key.keyspace_content();
                let (own, defaults) = (&key.policy().restrictions, &keyspace.policy.restrictions);
                let restrictions = effective(own, defaults, kind);
                if !restrictions.has(kind) {
                    continue;
                }
                bound = true;
                let open = keyspace.fail_policy == keyreeve_core::model::FailPolicy::Open;
                let by = if own.has(kind) { "the key" } else { "the keyspace" };
                match restrictions.check_kind(kind, &facts, verdict.at, open) {
                    Ok(()) => found.push((check, true, format!("allowed by {by}"))),
                    Err(why) => found.push((check, false, format!("{why} (set by {by})"))),
                }
            }
            if !bound {
                found.push((check, true, "not restricted".to_owned()));
            }
        }
        found
    }
}
