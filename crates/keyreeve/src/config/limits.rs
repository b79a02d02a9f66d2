//! How often Keyreeve itself may be called.

use jiff::SignedDuration;
use keyreeve_core::{Invalid, limit::Rate};
use keyreeve_engine::ServiceLimits;
use serde::Deserialize;

use super::{
    fault::Rules,
    rule::{span, whole},
};

const PERIOD: SignedDuration = SignedDuration::from_mins(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    anonymous: i64,
    viewer: i64,
    operator: i64,
    admin: i64,
    per_ip: i64,
    failed_auth: i64,
    key_creation: i64,
    lockout: String,
}

impl RawLimits {
    pub(super) fn resolve(self, rules: &mut Rules<'_>) -> Option<ServiceLimits> {
        let anonymous = rules.keep("limits.anonymous", a_minute(self.anonymous));
        let viewer = rules.keep("limits.viewer", a_minute(self.viewer));
        let operator = rules.keep("limits.operator", a_minute(self.operator));
        let admin = rules.keep("limits.admin", a_minute(self.admin));
        let per_ip = rules.keep("limits.per_ip", a_minute(self.per_ip));
        let failed_auth = rules.keep("limits.failed_auth", a_minute(self.failed_auth));
        let key_creation = rules.keep("limits.key_creation", a_minute(self.key_creation));
        let bounds = SignedDuration::from_secs(1)..=SignedDuration::from_hours(24);
        let lockout = rules.keep("limits.lockout", span(&self.lockout, &bounds));
        Some(ServiceLimits {
            anonymous: anonymous?,
            viewer: viewer?,
            operator: operator?,
            admin: admin?,
            per_ip: per_ip?,
            failed_auth: failed_auth?,
            key_creation: key_creation?,
            lockout: lockout?,
        })
    }
}

/// So many requests a minute; none for 0, which is no limit.
fn a_minute(requests: i64) -> Result<Option<Rate>, Invalid> {
    match whole::<u32>(requests, &(0..=1_000_000))? {
        0 => Ok(None),
        requests => Rate::new(requests, PERIOD).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nought_is_no_limit() {
        assert_eq!(a_minute(0), Ok(None));
        assert_eq!(a_minute(20), Ok(Some("20/1m".parse().unwrap())));
        assert_eq!(a_minute(1_000_000).unwrap().unwrap().requests(), 1_000_000);
        for bad in [-1, 1_000_001] {
            assert_eq!(a_minute(bad).unwrap_err().rule(), "must be between 0 and 1000000");
        }
    }
}
