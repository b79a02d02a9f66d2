//! Things to store: small, valid, and each different from the next by a number or a name.

use std::{net::IpAddr, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use keyreeve_core::{
    Invalid,
    audit::{Actor, AuditEntry, CheckpointError, CheckpointSigner, Hash, Outcome, Target},
    key::{EnvTag, KeyDigest, KeyId},
    lifecycle::Lifecycle,
    model::{
        ApiKey, Environment, FailPolicy, Keyspace, Metadata, Owner, Policy, Project, Role, Tags,
    },
    name::ProjectName,
    permission::PermissionSet,
};
use keyreeve_engine::store::{IdempotentResult, Peaks, UsageDelta};
use serde_json::Map;

/// A name of any kind.
pub fn name<T: FromStr<Err = Invalid>>(text: &str) -> Result<T, Invalid> {
    text.parse()
}

/// Some second of the year 2026.
pub fn time(second: i64) -> Timestamp {
    const START_OF_2026: i64 = 1_767_225_600;
    Timestamp::from_second(START_OF_2026 + second).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A log's signer; another number makes another key.
pub fn signer(number: u8) -> Result<CheckpointSigner, CheckpointError> {
    CheckpointSigner::from_seed("keyreeve/conformance", &[number; 32])
}

/// A project of that name.
pub fn project(text: &str) -> Result<Project, Invalid> {
    Ok(Project { name: name(text)?, created_at: time(0) })
}

/// An environment of that name.
pub fn environment(text: &str) -> Result<Environment, Invalid> {
    let tag = if text == "production" { EnvTag::Live } else { EnvTag::Test };
    Ok(Environment { name: name(text)?, tag, created_at: time(1) })
}

/// A keyspace of that name at revision 1.
pub fn keyspace(text: &str) -> Result<Keyspace, Invalid> {
    Ok(Keyspace {
        name: name(text)?,
        prefix: name("kr")?,
        default_expires_in: Some(Keyspace::DEFAULT_EXPIRES_IN),
        default_grace: Keyspace::DEFAULT_GRACE,
        fail_policy: FailPolicy::Closed,
        policy: Policy::none(),
        created_at: time(2),
        revision: 1,
    })
}

/// An owner of that id at revision 1.
pub fn owner(text: &str) -> Result<Owner, Invalid> {
    Ok(Owner {
        id: name(text)?,
        name: Some(name("Somebody Ä 🦀")?),
        metadata: metadata("plan", text)?,
        policy: Policy::none(),
        created_at: time(3),
        revision: 1,
    })
}

/// A custom role of that name at revision 1.
pub fn role(text: &str) -> Result<Role, Invalid> {
    Ok(Role {
        name: name(text)?,
        description: "may read \"documents\"".to_owned(),
        permissions: permissions(&["documents.read", "documents.*"])?,
        created_at: time(4),
        revision: 1,
    })
}

/// A set of permissions.
pub fn permissions(texts: &[&str]) -> Result<PermissionSet, Invalid> {
    texts.iter().map(|text| text.parse()).collect()
}

/// An object with one text.
pub fn metadata(field: &str, text: &str) -> Result<Metadata, Invalid> {
    Metadata::new(Map::from_iter([(field.to_owned(), text.into())]))
}

/// A list of tags.
pub fn tags(words: &[&str]) -> Result<Tags, Invalid> {
    Tags::new(words.iter().map(|word| (*word).to_owned()).collect())
}

/// The id of key number `number`.
pub fn key_id(number: u64) -> KeyId {
    KeyId::from_entropy(u128::from(number).to_be_bytes())
}

/// Key number `number` of a project: active, for production, made in second `number`, at
/// revision 1.
pub fn key(project: &ProjectName, number: u64) -> Result<ApiKey, Invalid> {
    Ok(ApiKey {
        id: key_id(number),
        project: project.clone(),
        keyspace: name("default")?,
        environment: name("production")?,
        tag: EnvTag::Live,
        name: name(&format!("key {number}"))?,
        owner: None,
        roles: Vec::new(),
        permissions: PermissionSet::default(),
        metadata: Metadata::default(),
        tags: Tags::default(),
        created_at: time(i64::try_from(number).unwrap_or_default()),
        created_by: "anonymous".to_owned(),
        not_before: None,
        expires_at: None,
        policy: Policy::none(),
        lifecycle: Lifecycle::Active,
        digest: KeyDigest::Sha256(digest(number)),
        imported: None,
        last_four: "aB3d".to_owned(),
        lineage: key_id(number),
        predecessor: None,
        parent: None,
        revision: 1,
    })
}

/// Keys with the numbers `from..until` of a project.
pub fn keys(project: &ProjectName, from: u64, until: u64) -> Result<Vec<ApiKey>, Invalid> {
    (from..until).map(|number| key(project, number)).collect()
}

/// 32 bytes that belong to this number.
pub fn digest(number: u64) -> [u8; 32] {
    *Hash::of(&number.to_be_bytes()).as_bytes()
}

/// Every form a lifecycle can have, ending or changed around second 500.
pub fn lifecycles() -> Vec<Lifecycle> {
    let rotating =
        |second| Lifecycle::Rotating { successor: key_id(999_999), grace_ends_at: time(second) };
    let disabled = |was| Lifecycle::Disabled { at: time(400), was: Box::new(was) };
    let deleted = |was| Lifecycle::Deleted { at: time(410), was: Box::new(was) };
    let revoked = |reason: Option<&str>| Lifecycle::Revoked {
        at: time(405),
        reason: reason.map(str::to_owned),
    };
    vec![
        Lifecycle::Active,
        rotating(500),
        rotating(600),
        disabled(Lifecycle::Active),
        disabled(rotating(500)),
        revoked(None),
        revoked(Some("leaked in a \"log\"\n")),
        deleted(Lifecycle::Active),
        deleted(disabled(rotating(500))),
        deleted(revoked(Some("leaked"))),
    ]
}

/// Use of key number `number`.
pub fn usage(number: u64, verifications: u64, second: i64) -> UsageDelta {
    UsageDelta {
        key: key_id(number),
        verifications,
        last_used_at: time(second),
        last_ip: Some(IpAddr::from([203, 0, 113, 9])),
        last_user_agent: Some("agent/1".to_owned()),
        peaks: Peaks::default(),
    }
}

/// A remembered answer, looked up under this number.
pub fn result(number: u64, second: i64) -> IdempotentResult {
    IdempotentResult {
        lookup: digest(number),
        fingerprint: digest(number + 1),
        key: key_id(number),
        sealed: vec![0, 1, 254, 255],
        at: time(second),
    }
}

/// An audit entry that says that `action` was done by nobody in particular.
pub fn entry(project: &ProjectName, action: &'static str) -> AuditEntry {
    AuditEntry {
        at: time(0),
        project: project.clone(),
        actor: Actor::System("conformance".into()),
        action: action.into(),
        target: Target::new("project", project),
        outcome: Outcome::Done,
        reason: None,
        request: None,
        details: Map::new(),
    }
}

/// The moment this long after second `second`.
pub fn just_after(second: i64, length: SignedDuration) -> Timestamp {
    time(second).saturating_add(length).unwrap_or(Timestamp::MAX)
}
