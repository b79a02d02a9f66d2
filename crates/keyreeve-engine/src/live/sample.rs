//! Keys and time for tests.

use std::sync::Arc;

use jiff::Timestamp;
use keyreeve_core::{
    key::{EnvTag, KeyDigest, KeyId},
    lifecycle::Lifecycle,
    model::{ApiKey, Metadata, Policy, Tags},
    permission::PermissionSet,
};

use crate::Clock;

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic_ns(&self) -> u64 {
        0
    }
}

/// A clock that stands still.
pub(super) fn still_clock() -> Arc<dyn Clock> {
    Arc::new(StillClock)
}

/// A key of the project `acme` at revision 1, the first of its chain.
pub(super) fn api_key(id: KeyId) -> ApiKey {
    ApiKey {
        id,
        project: "acme".parse().unwrap(),
        keyspace: "default".parse().unwrap(),
        environment: "production".parse().unwrap(),
        tag: EnvTag::Live,
        name: "key".parse().unwrap(),
        owner: None,
        roles: Vec::new(),
        permissions: PermissionSet::default(),
        metadata: Metadata::default(),
        tags: Tags::default(),
        created_at: Timestamp::UNIX_EPOCH,
        created_by: "system:test".to_owned(),
        not_before: None,
        expires_at: None,
        policy: Policy::none(),
        lifecycle: Lifecycle::Active,
        digest: KeyDigest::Sha256([0; 32]),
        imported: None,
        last_four: "0000".to_owned(),
        lineage: id,
        predecessor: None,
        parent: None,
        revision: 1,
    }
}
