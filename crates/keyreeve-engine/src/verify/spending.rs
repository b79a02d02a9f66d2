//! What happens to a reservation or a place in flight after the verification that made it.

use std::{fmt, str::FromStr, sync::Arc};

use keyreeve_core::{Invalid, key::KeyId, name::ProjectName, quota::ReservationError};

use super::{
    QuotaState,
    bounding::ChainBounds,
    chain::{Chain, Incomplete, MOST_ANCESTORS},
    quota::{Account, Accounts, NeededClaim},
};
use crate::{
    Engine, Error, FieldError, Permit,
    action::VerifyKey,
    live::{LiveKey, Lookup},
    store::Kind,
};

/// How often a commit is tried again after more of the quota was claimed.
const MOST_TRIES: usize = 4;

/// Names a reservation or a place in flight: `<key id>-<letter><16 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReservationId {
    pub(super) key: KeyId,
    pub(super) holder: Holder,
    pub(super) number: u64,
}

/// What an id is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A place among the requests in flight.
    Lease,
    /// Something set aside in every quota behind the key.
    Quota,
}

impl ReservationId {
    pub(super) fn of_lease(key: KeyId, number: u64) -> Self {
        Self { key, holder: Holder::Lease, number }
    }
}

impl Holder {
    fn letter(self) -> char {
        match self {
            Self::Lease => 'f',
            Self::Quota => 'q',
        }
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{:016x}", self.key, self.holder.letter(), self.number)
    }
}

impl fmt::Debug for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReservationId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parsed = || {
            let (key, rest) = text.split_once('-')?;
            let mut rest = rest.chars();
            let holder = match rest.next()? {
                'f' => Holder::Lease,
                'q' => Holder::Quota,
                _ => return None,
            };
            let digits = rest.as_str();
            let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let number = u64::from_str_radix(digits, 16).ok().filter(|_| plain)?;
            Some(Self { key: key.parse().ok()?, holder, number })
        };
        parsed().ok_or_else(|| Invalid::new("must be an id that a verification answered with"))
    }
}

impl Engine {
    /// Spends from what was set aside; what is over is free again.
    pub async fn commit_reservation(
        &self,
        permit: &Permit<'_, VerifyKey>,
        id: ReservationId,
        amount: u64,
    ) -> Result<QuotaState, Error> {
        let chain = self.chain_of(permit, id, Kind::Reservation).await?;
        let bounds = self.bounds_of(&chain);
        let accounts = self.reserved_accounts(&chain, &bounds, id)?;
        for _ in 0..MOST_TRIES {
            let held =
                accounts.iter().map(|account| account.counters.quota.lock().reserved(id.number));
            let held = held.min().flatten().ok_or(Error::NotFound(Kind::Reservation))?;
            if amount > held {
                let rule = "must be at most what was reserved; verify again for the rest";
                return Err(Error::Invalid(FieldError::new("amount", Invalid::new(rule))));
            }
            match self.commit_all(&accounts, id.number, amount) {
                Ok(state) => return state.ok_or(Error::NotFound(Kind::Reservation)),
                Err(claims) => {
                    if !self.claim_quota(claims).await {
                        return Err(Error::Overloaded);
                    }
                }
            }
        }
        Err(Error::Overloaded)
    }

    fn commit_all(
        &self,
        accounts: &[Account<'_>],
        number: u64,
        amount: u64,
    ) -> Result<Option<QuotaState>, Vec<NeededClaim>> {
        let mut least: Option<QuotaState> = None;
        for account in accounts {
            let now = self.now();
            let done = account.counters.quota.lock().commit(&account.quota, number, amount, now);
            match done {
                Ok(spent) => {
                    let state = QuotaState {
                        amount: spent.level.amount,
                        remaining: spent.level.remaining,
                        resets_at: spent.level.resets_at,
                        exceeded: false,
                    };
                    if least.is_none_or(|known| state.remaining < known.remaining) {
                        least = Some(state);
                    }
                }
                Err(ReservationError::NeedsClaim(claim)) => {
                    return Err(vec![account.needs(claim)]);
                }
                // It expired in between; what it held is free already.
                Err(ReservationError::Unknown | ReservationError::Exceeded(_)) => {}
            }
        }
        Ok(least)
    }

    /// Frees what was set aside.
    pub async fn cancel_reservation(
        &self,
        permit: &Permit<'_, VerifyKey>,
        id: ReservationId,
    ) -> Result<(), Error> {
        let mut found = false;
        let chain = self.chain_of(permit, id, Kind::Reservation).await?;
        let bounds = self.bounds_of(&chain);
        for account in self.reserved_accounts(&chain, &bounds, id)? {
            found |= account.counters.quota.lock().cancel(id.number, self.now()).is_ok();
        }
        if found { Ok(()) } else { Err(Error::NotFound(Kind::Reservation)) }
    }

    /// Gives up a place among the requests in flight.
    pub async fn release_lease(
        &self,
        permit: &Permit<'_, VerifyKey>,
        id: ReservationId,
    ) -> Result<(), Error> {
        let chain = self.chain_of(permit, id, Kind::Lease).await?;
        if id.holder != Holder::Lease {
            return Err(Error::NotFound(Kind::Lease));
        }
        let places = self.concurrency(&chain);
        let mut released = self.release_here(&places, id.number);
        // Taken here only while the common counts could not be reached.
        if let Some(options) = self.shared.as_ref().filter(|_| !released && !places.is_empty()) {
            let project = chain.key.project();
            let names: Vec<_> = places.iter().map(|place| place.name(project)).collect();
            released = options.counts.release(project, &names, id.number).await?;
        }
        if released { Ok(()) } else { Err(Error::NotFound(Kind::Lease)) }
    }

    /// The keys behind an id, which only their own project knows.
    async fn chain_of(
        &self,
        permit: &Permit<'_, VerifyKey>,
        id: ReservationId,
        kind: Kind,
    ) -> Result<Chain, Error> {
        let Some(key) = self.key_of(permit.project(), id.key).await? else {
            return Err(Error::NotFound(kind));
        };
        self.chain_of_key(key).await?.ok_or(Error::NotFound(kind))
    }

    /// A project's key, read from the store if it is not in memory.
    pub(crate) async fn key_of(
        &self,
        project: &ProjectName,
        id: KeyId,
    ) -> Result<Option<Arc<LiveKey>>, Error> {
        if matches!(self.live.lookup(&id), Lookup::Unknown) && !self.read_key(id).await {
            return Err(Error::Overloaded);
        }
        Ok(self.live.key(&id).filter(|key| key.project() == project))
    }

    /// The keys behind a key, read from the store if they are not in memory; `None` if one is gone.
    pub(crate) async fn chain_of_key(&self, key: Arc<LiveKey>) -> Result<Option<Chain>, Error> {
        for _ in 0..=MOST_ANCESTORS {
            match Chain::of(key.clone(), &self.live) {
                Ok(chain) => return Ok(Some(chain)),
                Err(Incomplete::Orphan(_)) => return Ok(None),
                Err(Incomplete::Unread(id)) if self.read_key(id).await => {}
                Err(Incomplete::Unread(_)) => break,
            }
        }
        Err(Error::Overloaded)
    }

    fn reserved_accounts<'a>(
        &self,
        chain: &'a Chain,
        bounds: &'a ChainBounds<'_>,
        id: ReservationId,
    ) -> Result<Accounts<'a>, Error> {
        let mut accounts = self.accounts(chain, bounds);
        accounts.retain(|account| account.counters.quota.lock().reserved(id.number).is_some());
        if accounts.is_empty() { Err(Error::NotFound(Kind::Reservation)) } else { Ok(accounts) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let key = KeyId::from_entropy([7; 16]);
        for holder in [Holder::Lease, Holder::Quota] {
            let id = ReservationId { key, holder, number: 0x0123_4567_89ab_cdef };
            assert_eq!(id.to_string().parse::<ReservationId>().unwrap(), id);
        }
        for bad in [
            "",
            "x",
            "4Tn0Zs8QbW1c",
            "4Tn0Zs8QbW1c-z0123456789abcdef",
            "4Tn0Zs8QbW1c-q+123456789abcdef",
        ] {
            assert!(bad.parse::<ReservationId>().is_err(), "{bad}");
        }
    }
}
