//! `keyreeve key update`.

use jiff::Timestamp;
use keyreeve_api::{Patch, UpdateApiKeyRequest};

use super::id::checked;
use crate::{
    cli::{
        key::{KeyChanges, UpdateArgs},
        time::Life,
    },
    cmd::{Outcome, change::must_change, metadata},
    context::Context,
    output::api_key,
};

pub(super) async fn run(args: &UpdateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let body = request(&args.changes, context.now)?;
    must_change(&body, "key update")?;
    let body = UpdateApiKeyRequest { revision: args.if_revision, ..body };
    let key = context.client()?.update_api_key(id, &body).await?;
    context.output.show(&key, api_key::fields)?;
    Ok(Outcome::Done)
}

fn request(changes: &KeyChanges, now: Timestamp) -> anyhow::Result<UpdateApiKeyRequest> {
    Ok(UpdateApiKeyRequest {
        name: changes.name.clone(),
        owner: match &changes.owner {
            Some(owner) => Patch::Set(owner.clone()),
            None if changes.no_owner => Patch::Clear,
            None => Patch::Keep,
        },
        roles: replaced(&changes.roles, changes.no_roles),
        permissions: replaced(&changes.permissions, changes.no_permissions),
        metadata: changes.metadata.as_deref().map(metadata::parse).transpose()?,
        tags: replaced(&changes.tags, changes.no_tags),
        expires_at: expiry(changes, now),
        not_before: match changes.not_before {
            Some(at) => Patch::Set(at),
            None if changes.no_not_before => Patch::Clear,
            None => Patch::Keep,
        },
        restrictions: changes.restrictions.to_wire(),
        limits: changes.limits.to_wire()?,
        quota: changes.spending.quota(),
        concurrency: changes.spending.concurrency(),
        revision: None,
    })
}

/// `None` leaves a list as it is.
fn replaced(list: &[String], emptied: bool) -> Option<Vec<String>> {
    (emptied || !list.is_empty()).then(|| list.to_vec())
}

fn expiry(changes: &KeyChanges, now: Timestamp) -> Patch<Timestamp> {
    match (&changes.expires_at, &changes.expires_in) {
        (Some(at), _) => Patch::Set(*at),
        (None, Some(Life::Limited(length, _))) => {
            // Lengths end at 100 years, far from the end of time.
            Patch::Set(now.checked_add(*length).unwrap_or(Timestamp::MAX))
        }
        (None, Some(Life::Unlimited)) => Patch::Clear,
        (None, None) if changes.never_expires => Patch::Clear,
        (None, None) => Patch::Keep,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, key::KeyCommand};

    fn json(arguments: &str) -> serde_json::Value {
        let words = ["keyreeve", "key", "update", "4Tn0Zs8QbW1c"].into_iter();
        let cli = Cli::try_parse_from(words.chain(arguments.split(' '))).unwrap();
        let Command::Key(KeyCommand::Update(args)) = cli.command else { panic!("not update") };
        let now = "2026-11-21T09:00:00Z".parse().unwrap();
        serde_json::to_value(request(&args.changes, now).unwrap()).unwrap()
    }

    #[test]
    fn only_what_was_typed_is_changed() {
        for (typed, expected) in [
            ("--name a", serde_json::json!({"name": "a"})),
            ("--owner acme", serde_json::json!({"owner": "acme"})),
            ("--no-owner", serde_json::json!({"owner": null})),
            ("--role viewer", serde_json::json!({"roles": ["viewer"]})),
            ("--no-roles", serde_json::json!({"roles": []})),
            ("--permission a.b --no-tags", serde_json::json!({"permissions": ["a.b"], "tags": []})),
            ("--metadata {}", serde_json::json!({"metadata": {}})),
            ("--expires-in 30d", serde_json::json!({"expires_at": "2026-12-21T09:00:00Z"})),
            ("--expires-in never", serde_json::json!({"expires_at": null})),
            ("--never-expires", serde_json::json!({"expires_at": null})),
            ("--expires-at 2027-01-01", serde_json::json!({"expires_at": "2027-01-01T00:00:00Z"})),
            ("--not-before 2027-01-01", serde_json::json!({"not_before": "2027-01-01T00:00:00Z"})),
            ("--no-not-before", serde_json::json!({"not_before": null})),
            ("--quota 5/day", serde_json::json!({"quota": "5/day"})),
            ("--no-quota", serde_json::json!({"quota": null})),
            ("--no-concurrency", serde_json::json!({"concurrency": null})),
            ("--no-limits", serde_json::json!({"limits": []})),
            (
                "--limit a=1/1s --override a:b=2/1s",
                serde_json::json!({"limits": [
                    {"name": "a", "rate": "1/1s", "overrides": [{"subject": "b", "rate": "2/1s"}]},
                ]}),
            ),
            (
                "--allow-ip 192.0.2.1 --no-windows",
                serde_json::json!({"restrictions": {"allow_ips": ["192.0.2.1"], "windows": []}}),
            ),
            ("--no-restrictions", serde_json::json!({"restrictions": null})),
        ] {
            assert_eq!(json(typed), expected, "{typed}");
        }
    }
}
