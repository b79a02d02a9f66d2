//! From what the engine knows to what callers see.

use jiff::Timestamp;
use keyreeve_api::{
    ApiKeyView, AuditEntryView, EnvironmentView, KeyspaceView, LimitOverrideView, LimitView,
    OwnerView, Page, PeaksView, ProjectView, RequestOriginView, RestrictionsView, RevocationView,
    RoleView, RotationView, SecretText, TargetView, UsageView,
};
use keyreeve_core::{
    Secret,
    audit::Outcome,
    duration,
    lifecycle::Lifecycle,
    limit::Limit,
    model::{ApiKey, Environment, Keyspace, Owner, Project},
    restriction::Restrictions,
};
use keyreeve_engine::{
    RoleRecord,
    store::{ListPage, Peaks, SequencedEntry, StoredKey, Usage},
};

/// What `expires_in` says for a key that does not expire.
pub(crate) const NEVER: &str = "never";

pub(crate) fn page<T, V>(page: ListPage<T>, view: impl Fn(T) -> V) -> Page<V> {
    Page {
        items: page.items.into_iter().map(view).collect(),
        next_cursor: page.next.map(|cursor| cursor.to_text()),
    }
}

/// A list that always fits one page.
pub(crate) fn whole<T, V>(items: &[T], view: impl Fn(&T) -> V) -> Page<V> {
    Page { items: items.iter().map(view).collect(), next_cursor: None }
}

/// A key's text on its way to the one who asked for it.
pub(crate) fn shown_once(text: &Secret<String>) -> SecretText {
    // EXPOSE: the answer to create and rotate is where the key is shown, once.
    SecretText::new(text.expose().clone())
}

pub(crate) fn api_key(stored: StoredKey, now: Timestamp) -> ApiKeyView {
    let StoredKey { key, usage } = stored;
    let mut view = ApiKeyView {
        id: key.id.to_string(),
        name: key.name.to_string(),
        keyspace: key.keyspace.to_string(),
        environment: key.environment.to_string(),
        tag: key.tag.as_str().to_owned(),
        last_four: key.last_four.clone(),
        state: key.state(now).as_str().to_owned(),
        owner: key.owner.as_ref().map(ToString::to_string),
        roles: key.roles.iter().map(ToString::to_string).collect(),
        permissions: key.permissions.to_strings(),
        metadata: key.metadata.as_map().clone(),
        tags: key.tags.as_slice().to_vec(),
        created_at: key.created_at,
        created_by: key.created_by.clone(),
        expires_at: key.expires_at,
        not_before: key.not_before,
        restrictions: restrictions(&key.policy.restrictions),
        limits: key.policy.limits.as_slice().iter().map(limit).collect(),
        quota: key.policy.quota.as_ref().map(ToString::to_string),
        concurrency: key.policy.concurrency.as_ref().map(ToString::to_string),
        parent: key.parent.map(|id| id.to_string()),
        imported: key.imported.is_some(),
        rotation: rotation(&key),
        revocation: None,
        disabled_at: None,
        deleted_at: None,
        usage: usage_view(usage),
        revision: key.revision,
    };
    describe(&key.lifecycle, &mut view);
    view
}

/// Fills in what the life of the key left behind, down to what it was before it was switched
/// off or deleted.
fn describe(lifecycle: &Lifecycle, view: &mut ApiKeyView) {
    match lifecycle {
        Lifecycle::Active | Lifecycle::Rotating { .. } => {}
        Lifecycle::Revoked { at, reason } => {
            view.revocation = Some(RevocationView { at: *at, reason: reason.clone() });
        }
        Lifecycle::Disabled { at, was } => {
            view.disabled_at = Some(*at);
            describe(was, view);
        }
        Lifecycle::Deleted { at, was } => {
            view.deleted_at = Some(*at);
            describe(was, view);
        }
    }
}

fn rotation(key: &ApiKey) -> Option<RotationView> {
    let (successor, grace_ends_at) = successor(&key.lifecycle).unzip();
    if successor.is_none() && key.predecessor.is_none() {
        return None;
    }
    Some(RotationView {
        lineage: key.lineage.to_string(),
        predecessor: key.predecessor.map(|id| id.to_string()),
        successor,
        grace_ends_at,
    })
}

fn successor(lifecycle: &Lifecycle) -> Option<(String, Timestamp)> {
    match lifecycle {
        Lifecycle::Rotating { successor, grace_ends_at } => {
            Some((successor.to_string(), *grace_ends_at))
        }
        Lifecycle::Disabled { was, .. } | Lifecycle::Deleted { was, .. } => successor(was),
        Lifecycle::Active | Lifecycle::Revoked { .. } => None,
    }
}

fn usage_view(usage: Usage) -> Option<UsageView> {
    (usage.verifications > 0).then(|| UsageView {
        verifications: usage.verifications,
        last_used_at: usage.last_used_at,
        last_ip: usage.last_ip.map(|ip| ip.to_string()),
        last_user_agent: usage.last_user_agent,
        peaks: peaks(usage.peaks),
    })
}

pub(crate) fn peaks(peaks: Peaks) -> PeaksView {
    PeaksView { ten_seconds: peaks.ten_seconds, hour: peaks.hour, day: peaks.day }
}

pub(crate) fn restrictions(restrictions: &Restrictions) -> RestrictionsView {
    fn texts<T: ToString>(items: &[T]) -> Vec<String> {
        items.iter().map(ToString::to_string).collect()
    }
    RestrictionsView {
        allow_ips: texts(&restrictions.allow_ips),
        deny_ips: texts(&restrictions.deny_ips),
        windows: texts(restrictions.windows.as_slice()),
        origins: texts(&restrictions.origins),
        routes: texts(&restrictions.routes),
        allow_countries: texts(&restrictions.allow_countries),
        deny_countries: texts(&restrictions.deny_countries),
    }
}

pub(crate) fn limit(limit: &Limit) -> LimitView {
    let overrides = limit.overrides.iter();
    LimitView {
        name: limit.name.to_string(),
        rate: limit.rate.to_string(),
        per: limit.per.map(|per| per.as_str().to_owned()),
        route: limit.route.as_ref().map(ToString::to_string),
        adaptive: limit.adaptive.as_ref().map(ToString::to_string),
        scope: (!limit.scope.is_default()).then(|| limit.scope.as_str().to_owned()),
        overrides: overrides
            .map(|other| LimitOverrideView {
                subject: other.subject.to_string(),
                rate: other.rate.to_string(),
            })
            .collect(),
    }
}

pub(crate) fn keyspace(keyspace: &Keyspace) -> KeyspaceView {
    KeyspaceView {
        name: keyspace.name.to_string(),
        prefix: keyspace.prefix.to_string(),
        default_expires_in: keyspace
            .default_expires_in
            .map_or_else(|| NEVER.to_owned(), duration::format),
        default_grace: duration::format(keyspace.default_grace),
        fail_policy: keyspace.fail_policy.as_str().to_owned(),
        restrictions: restrictions(&keyspace.policy.restrictions),
        limits: keyspace.policy.limits.as_slice().iter().map(limit).collect(),
        quota: keyspace.policy.quota.as_ref().map(ToString::to_string),
        concurrency: keyspace.policy.concurrency.as_ref().map(ToString::to_string),
        created_at: keyspace.created_at,
        revision: keyspace.revision,
    }
}

pub(crate) fn environment(environment: &Environment) -> EnvironmentView {
    EnvironmentView {
        name: environment.name.to_string(),
        tag: environment.tag.as_str().to_owned(),
        created_at: environment.created_at,
    }
}

pub(crate) fn owner(owner: Owner) -> OwnerView {
    OwnerView {
        id: owner.id.to_string(),
        name: owner.name.map(|name| name.to_string()),
        metadata: owner.metadata.as_map().clone(),
        restrictions: restrictions(&owner.policy.restrictions),
        limits: owner.policy.limits.as_slice().iter().map(limit).collect(),
        quota: owner.policy.quota.as_ref().map(ToString::to_string),
        concurrency: owner.policy.concurrency.as_ref().map(ToString::to_string),
        created_at: owner.created_at,
        revision: owner.revision,
    }
}

pub(crate) fn role(role: &RoleRecord) -> RoleView {
    RoleView {
        name: role.name.clone(),
        description: role.description.clone(),
        permissions: role.permissions.to_strings(),
        builtin: role.created_at.is_none(),
        created_at: role.created_at,
        revision: role.revision,
    }
}

pub(crate) fn project(project: &Project) -> ProjectView {
    ProjectView { name: project.name.to_string(), created_at: project.created_at }
}

pub(crate) fn audit_entry(record: SequencedEntry) -> AuditEntryView {
    let SequencedEntry { seq, entry } = record;
    AuditEntryView {
        seq,
        at: entry.at,
        actor: entry.actor.to_string(),
        action: entry.action.into_owned(),
        target: TargetView { kind: entry.target.kind.into_owned(), id: entry.target.id },
        outcome: match entry.outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Denied => "denied".to_owned(),
        },
        reason: entry.reason,
        request: entry.request.map(|request| RequestOriginView {
            id: request.id,
            ip: request.ip.map(|ip| ip.to_string()),
        }),
        details: entry.details,
    }
}
