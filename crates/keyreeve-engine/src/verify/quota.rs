//! Quotas of a key's lineage, of its ancestors' and of its owner: all or nothing.

use std::{borrow::Cow, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    key::KeyId,
    name::{OwnerId, ProjectName},
    quota::{Claim, Quota, QuotaLevel, QuotaRefused},
    verdict::VerdictCode,
};
use smallvec::SmallVec;

use super::{
    QuotaState, Reservation, Verdict, VerifyInput,
    bounding::ChainBounds,
    chain::Chain,
    decide::Refused,
    spending::{Holder, ReservationId},
};
use crate::{Engine, live::Counters, store::QuotaSubject};

/// More of a quota that has to be on disk before it may be spent.
#[derive(Clone, Debug)]
pub(crate) struct NeededClaim {
    pub(crate) project: ProjectName,
    pub(crate) subject: QuotaSubject,
    pub(crate) counters: Arc<Counters>,
    pub(crate) claim: Claim,
}

/// Why nothing was spent.
pub(super) enum Short {
    Refused(Refused),
    Claims(Vec<NeededClaim>),
}

/// One quota that counts a request.
pub(crate) struct Account<'a> {
    project: &'a ProjectName,
    subject: Subject<'a>,
    pub(super) quota: Cow<'a, Quota>,
    pub(super) counters: Cow<'a, Arc<Counters>>,
}

/// The quotas that count a request: seldom more than its key's and its owner's.
pub(super) type Accounts<'a> = SmallVec<[Account<'a>; 2]>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject<'a> {
    Lineage(KeyId),
    Owner(&'a OwnerId),
}

impl Account<'_> {
    pub(super) fn needs(&self, claim: Claim) -> NeededClaim {
        NeededClaim {
            project: self.project.clone(),
            subject: match self.subject {
                Subject::Lineage(id) => QuotaSubject::Lineage(id),
                Subject::Owner(id) => QuotaSubject::Owner(id.clone()),
            },
            counters: self.counters.clone().into_owned(),
            claim,
        }
    }
}

impl Engine {
    /// The quotas that count the requests of a key and of those it was derived from.
    pub(super) fn accounts<'a>(
        &self,
        chain: &'a Chain,
        bounds: &'a ChainBounds<'_>,
    ) -> Accounts<'a> {
        let mut accounts = Accounts::new();
        for key in chain.keys() {
            if let Some(quota) = &key.policy().quota {
                // Where there are limits, the counters are at hand.
                let at_hand = bounds.iter().find(|(bound, _)| Arc::ptr_eq(bound, key));
                accounts.push(Account {
                    project: key.project(),
                    subject: Subject::Lineage(key.lineage()),
                    quota: Cow::Borrowed(quota),
                    counters: match at_hand {
                        Some((_, bounds)) => Cow::Borrowed(&bounds.counters),
                        None => Cow::Owned(self.live.counters(key.lineage())),
                    },
                });
            }
            if let (Some((policy, counters)), Some(owner)) = (key.owner_bounds(), key.owner_name())
                && let Some(quota) = &policy.quota
                && accounts.iter().all(|account| account.subject != Subject::Owner(owner))
            {
                accounts.push(Account {
                    project: key.project(),
                    subject: Subject::Owner(owner),
                    quota: Cow::Owned(quota.clone()),
                    counters: Cow::Borrowed(counters),
                });
            }
        }
        accounts
    }

    /// Spends from every quota that counts the request, or from none.
    pub(super) fn take_quota(
        &self,
        chain: &Chain,
        bounds: &ChainBounds<'_>,
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Short> {
        let accounts = self.accounts(chain, bounds);
        if accounts.is_empty() {
            return Ok(());
        }
        if input.simulate.is_some() {
            return self.peek_quota(&accounts, input, verdict);
        }
        let number = if input.reserve.is_some() { self.random_number() } else { 0 };
        let mut spent: SmallVec<[(&Account<'_>, QuotaLevel); 2]> = SmallVec::new();
        for account in &accounts {
            match self.spend(account, input, number, verdict.at) {
                Ok(level) => {
                    spent.push((account, level));
                    note_level(verdict, &level, false);
                }
                Err(refused) => {
                    self.give_back_quota(&spent, input, number);
                    return Err(self.short(refused, account, verdict));
                }
            }
        }
        if let Some(reserve) = input.reserve {
            verdict.reservation = Some(Reservation {
                id: ReservationId { key: chain.key.id(), holder: Holder::Quota, number },
                amount: reserve.amount,
                expires_at: self.reserved_until(reserve.for_at_most),
            });
        }
        Ok(())
    }

    fn reserved_until(&self, length: SignedDuration) -> Timestamp {
        self.now().saturating_add(length).unwrap_or(Timestamp::MAX)
    }

    fn spend(
        &self,
        account: &Account<'_>,
        input: &VerifyInput<'_>,
        number: u64,
        now: Timestamp,
    ) -> Result<QuotaLevel, QuotaRefused> {
        let mut quota = account.counters.quota.lock();
        let taken = match input.reserve {
            Some(reserve) => {
                let until = self.reserved_until(reserve.for_at_most);
                quota.reserve(&account.quota, number, reserve.amount, now, until)
            }
            None => quota.take(&account.quota, input.cost.quota, now),
        }?;
        drop(quota);
        if let Some(claim) = taken.claim_ahead {
            self.claims.ahead(account.needs(claim));
        }
        Ok(taken.level)
    }

    fn give_back_quota(
        &self,
        spent: &[(&Account<'_>, QuotaLevel)],
        input: &VerifyInput<'_>,
        number: u64,
    ) {
        for (account, level) in spent {
            let mut quota = account.counters.quota.lock();
            if input.reserve.is_some() {
                // It was made a moment ago: it can be gone only with its period.
                let _ = quota.cancel(number, self.now());
            } else {
                quota.give_back(level.period_start, input.cost.quota);
            }
        }
    }

    fn short(&self, refused: QuotaRefused, account: &Account<'_>, verdict: &mut Verdict) -> Short {
        let why = match refused {
            QuotaRefused::NeedsClaim(claim) => {
                verdict.quota = None;
                return Short::Claims(vec![account.needs(claim)]);
            }
            QuotaRefused::Exceeded(level) => {
                note_level(verdict, &level, true);
                let left = level.resets_at.map(|at| at.duration_since(self.now()));
                verdict.retry_after_s =
                    left.map(|left| u64::try_from(left.as_secs()).unwrap_or(0).saturating_add(1));
                "the quota does not have that much left"
            }
            QuotaRefused::TooManyReservations => "too many reservations are open",
            QuotaRefused::ReservationExists => "the reservation could not be named",
        };
        Short::Refused(Refused { code: VerdictCode::QuotaExceeded, why })
    }

    fn peek_quota(
        &self,
        accounts: &[Account<'_>],
        input: &VerifyInput<'_>,
        verdict: &mut Verdict,
    ) -> Result<(), Short> {
        let wanted = input.reserve.map_or(input.cost.quota, |reserve| reserve.amount);
        for account in accounts {
            let level = account.counters.quota.lock().peek(&account.quota, self.now());
            let exceeded = level.remaining < wanted;
            note_level(verdict, &level, exceeded);
            if exceeded {
                let refused = QuotaRefused::Exceeded(level);
                return Err(self.short(refused, account, verdict));
            }
        }
        Ok(())
    }
}

/// Keeps the quota that has the least left.
fn note_level(verdict: &mut Verdict, level: &QuotaLevel, exceeded: bool) {
    if exceeded || verdict.quota.is_none_or(|known| level.remaining < known.remaining) {
        verdict.quota = Some(QuotaState {
            amount: level.amount,
            remaining: level.remaining,
            resets_at: level.resets_at,
            exceeded,
        });
    }
}

impl Engine {
    /// Every quota that would count the request, as it stands. Spends nothing.
    pub(super) fn quota_states(
        &self,
        chain: &Chain,
        bounds: &ChainBounds<'_>,
        input: &VerifyInput<'_>,
    ) -> Vec<(String, QuotaState)> {
        let wanted = input.reserve.map_or(input.cost.quota, |reserve| reserve.amount);
        let accounts = self.accounts(chain, bounds);
        let state = |account: &Account<'_>| {
            let level = account.counters.quota.lock().peek(&account.quota, self.now());
            let state = QuotaState {
                amount: level.amount,
                remaining: level.remaining,
                resets_at: level.resets_at,
                exceeded: level.remaining < wanted,
            };
            let subject = match account.subject {
                Subject::Lineage(id) => format!("key {id}"),
                Subject::Owner(id) => format!("owner {id}"),
            };
            (subject, state)
        };
        accounts.iter().map(state).collect()
    }
}
