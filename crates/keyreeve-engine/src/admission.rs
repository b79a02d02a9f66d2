//! How often Keyreeve itself may be called: by nobody in particular, by an address, by a caller.

use std::net::IpAddr;

use jiff::SignedDuration;
use keyreeve_core::{key::KeyId, limit::Rate, name::ProjectName};

use crate::{
    Caller, Engine,
    abuse::Failed,
    cells::{AddressGroup, CellTable},
    denials::DenialKind,
    live::Tier,
};

/// Addresses and callers that are kept apart; the rest shares one count.
const MOST_SUBJECTS: usize = 100_000;

/// The service's own limits. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Requests without a credential, by address.
    pub anonymous: Option<Rate>,
    /// Requests of a caller who reads.
    pub viewer: Option<Rate>,
    /// Requests of a caller who writes.
    pub operator: Option<Rate>,
    /// Requests of a caller who may do everything.
    pub admin: Option<Rate>,
    /// All requests from one address, those of services left out.
    pub per_ip: Option<Rate>,
    /// Bad credentials, and bad keys at verification, by address.
    pub failed_auth: Option<Rate>,
    /// Keys made, by caller.
    pub key_creation: Option<Rate>,
    /// How long an address with too many bad keys is locked out.
    pub lockout: SignedDuration,
}

impl ServiceLimits {
    /// No limits at all: for programs that bring their own.
    pub fn none() -> Self {
        Self {
            anonymous: None,
            viewer: None,
            operator: None,
            admin: None,
            per_ip: None,
            failed_auth: None,
            key_creation: None,
            lockout: SignedDuration::from_mins(5),
        }
    }

    fn of_tier(&self, tier: Tier) -> Option<(&'static str, &Rate)> {
        let (name, rate) = match tier {
            Tier::Service => return None,
            Tier::Viewer => ("viewer", &self.viewer),
            Tier::Operator => ("operator", &self.operator),
            Tier::Admin => ("admin", &self.admin),
        };
        rate.as_ref().map(|rate| (name, rate))
    }
}

/// A limit of the service is reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {rate} requests are served here ({limit})")]
pub struct TooMany {
    /// Which limit, by its name in the settings.
    pub limit: &'static str,
    /// How many it allows.
    pub rate: Rate,
    /// Whole seconds after which the next is served.
    pub retry_after_s: u64,
}

/// Counts of requests to the service itself.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: ServiceLimits,
    anonymous: CellTable<AddressGroup>,
    addresses: CellTable<AddressGroup>,
    callers: CellTable<KeyId>,
    creators: CellTable<KeyId>,
}

impl Admission {
    pub(crate) fn new(limits: ServiceLimits) -> Self {
        Self {
            limits,
            anonymous: CellTable::new(MOST_SUBJECTS),
            addresses: CellTable::new(MOST_SUBJECTS),
            callers: CellTable::new(MOST_SUBJECTS),
            creators: CellTable::new(MOST_SUBJECTS),
        }
    }
}

fn take<K: std::hash::Hash + Eq>(
    cells: &CellTable<K>,
    subject: K,
    limit: &'static str,
    rate: &Rate,
    now_ns: u64,
) -> Result<(), TooMany> {
    let cell = cells.cell(subject, now_ns);
    match cell.gcra.take(rate, 1, now_ns) {
        Ok(_) => Ok(()),
        Err(exceeded) => {
            let wait_ns = exceeded.retry_after_ns.unwrap_or_default();
            Err(TooMany { limit, rate: *rate, retry_after_s: wait_ns.div_ceil(1_000_000_000) })
        }
    }
}

impl Engine {
    /// Lets a request without a credential in. The local socket has no address and no limit.
    pub fn admit_anonymous(&self, ip: Option<IpAddr>) -> Result<(), TooMany> {
        self.try_anonymous(ip).inspect_err(|refused| {
            let project = ProjectName::default_project();
            self.denials
                .count(&project, DenialKind::Admission { key: None, ip, limit: refused.limit });
        })
    }

    fn try_anonymous(&self, ip: Option<IpAddr>) -> Result<(), TooMany> {
        let Some(group) = ip.map(AddressGroup::of) else {
            return Ok(());
        };
        let (admission, now_ns) = (&self.admission, self.clock.monotonic_ns());
        if let Some(rate) = &admission.limits.anonymous {
            take(&admission.anonymous, group, "anonymous", rate, now_ns)?;
        }
        self.admit_address(group, now_ns)
    }

    /// Lets a caller in, by its tier and its address. Services have no limit but their own.
    pub fn admit_caller(&self, caller: &Caller) -> Result<(), TooMany> {
        self.try_caller(caller).inspect_err(|refused| self.count_refusal(caller, refused))
    }

    fn try_caller(&self, caller: &Caller) -> Result<(), TooMany> {
        let Some((key, tier)) = caller.tier() else {
            return Ok(());
        };
        if tier == Tier::Service {
            return Ok(());
        }
        let (admission, now_ns) = (&self.admission, self.clock.monotonic_ns());
        if let Some((name, rate)) = admission.limits.of_tier(tier) {
            take(&admission.callers, key, name, rate, now_ns)?;
        }
        match caller.request().ip {
            None => Ok(()),
            Some(ip) => self.admit_address(AddressGroup::of(ip), now_ns),
        }
    }

    fn admit_address(&self, group: AddressGroup, now_ns: u64) -> Result<(), TooMany> {
        match &self.admission.limits.per_ip {
            Some(rate) => take(&self.admission.addresses, group, "per_ip", rate, now_ns),
            None => Ok(()),
        }
    }

    /// Lets a caller make one more key.
    pub(crate) fn admit_creation(&self, caller: &Caller) -> Result<(), TooMany> {
        match (caller.tier(), &self.admission.limits.key_creation) {
            (Some((key, _)), Some(rate)) => {
                let now_ns = self.clock.monotonic_ns();
                take(&self.admission.creators, key, "key_creation", rate, now_ns)
                    .inspect_err(|refused| self.count_refusal(caller, refused))
            }
            _ => Ok(()),
        }
    }

    /// Every refusal is in the audit, in batches: they cost their sender nothing.
    fn count_refusal(&self, caller: &Caller, refused: &TooMany) {
        let key = caller.calling_key().map(|chain| chain.key.id());
        let (ip, limit) = (caller.request().ip, refused.limit);
        self.denials.count(caller.project(), DenialKind::Admission { key, ip, limit });
    }

    /// How many whole seconds an address is still locked out for its bad credentials.
    pub(crate) fn locked_out(&self, ip: Option<IpAddr>) -> Option<u64> {
        let now_ns = || self.clock.monotonic_ns();
        let left_ns = self.bad_credentials.locked_for(|| 0, ip, now_ns)?;
        Some(left_ns.div_ceil(1_000_000_000))
    }

    /// Counts a credential that was no good.
    pub(crate) fn count_bad_credential(&self, ip: Option<IpAddr>) {
        if self.bad_credentials.count(0, ip, self.clock.monotonic_ns()) == Failed::LockedOut {
            let project = ProjectName::default_project();
            self.denials.count(&project, DenialKind::Lockout { ip, of: "authentication" });
            self.lockouts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// How often an address was locked out since the start.
    pub fn lockouts(&self) -> u64 {
        self.lockouts.load(std::sync::atomic::Ordering::Relaxed)
    }
}
