//! Is this key good? The hot path: memory only.

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;
use keyreeve_core::{key::ParsedKey, name::ProjectName, permission::Query, verdict::VerdictCode};

use crate::{Engine, Permit, action::VerifyKey, denials::DenialKind, live::LiveKey};

/// What is asked.
#[derive(Debug)]
pub struct VerifyInput<'a> {
    /// The key as its holder showed it.
    pub key: &'a str,
    /// What it must grant.
    pub require: Option<&'a Query<'a>>,
    /// Where the request with the key came from.
    pub ip: Option<IpAddr>,
    /// With which user agent.
    pub user_agent: Option<&'a str>,
}

impl<'a> VerifyInput<'a> {
    /// The longest text that is looked at.
    pub const LONGEST_KEY: usize = 512;

    /// Asks for a key alone.
    pub fn new(key: &'a str) -> Self {
        Self { key, require: None, ip: None, user_agent: None }
    }
}

/// The answer.
#[derive(Debug)]
pub struct Verdict {
    /// What was found.
    pub code: VerdictCode,
    /// The fewest permissions that would have been enough.
    pub missing: Vec<String>,
    /// The key, once its whole text matched.
    pub key: Option<Arc<LiveKey>>,
    /// The moment the verdict is about.
    pub at: Timestamp,
    /// The last change behind the verdict.
    pub epoch: u64,
}

impl Engine {
    /// Checks in the order of cost: format and checksum, lookup and digest, state and time,
    /// permissions. A key of another project is not found.
    pub fn verify(&self, permit: &Permit<'_, VerifyKey>, input: &VerifyInput<'_>) -> Verdict {
        let now = self.now();
        let mut verdict = Verdict {
            code: VerdictCode::Malformed,
            missing: Vec::new(),
            key: None,
            at: now,
            epoch: self.live.epoch(),
        };
        self.decide(permit.project(), input, now, &mut verdict);
        match (&verdict.key, verdict.code) {
            (Some(key), VerdictCode::Valid) => {
                self.usage.record(key, now, input.ip, input.user_agent);
            }
            (key, code) => {
                let kind = DenialKind::Verification {
                    key: key.as_ref().map(|key| key.id()),
                    code: code.as_str(),
                };
                self.denials.count(permit.project(), kind);
            }
        }
        verdict
    }

    fn decide(
        &self,
        project: &ProjectName,
        input: &VerifyInput<'_>,
        now: Timestamp,
        verdict: &mut Verdict,
    ) {
        let Ok(parsed) = ParsedKey::parse(input.key) else {
            return;
        };
        verdict.code = VerdictCode::NotFound;
        let Some(key) = self.live.key(&parsed.id) else {
            return;
        };
        if key.project() != project || !self.digester.matches(key.digest(), &parsed.token) {
            return;
        }
        verdict.code = key.standing(now);
        if let (VerdictCode::Valid, Some(query)) = (verdict.code, input.require)
            && let Err(missing) = query.check_with(&|wanted| key.covers(wanted))
        {
            verdict.code = VerdictCode::InsufficientPermissions;
            verdict.missing = missing;
        }
        verdict.key = Some(key);
    }
}
