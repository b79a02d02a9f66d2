//! `keyreeve key update`.

use jiff::Timestamp;
use keyreeve_api::{Patch, UpdateApiKeyRequest};

use super::id::checked;
use crate::{
    cli::{
        key::{KeyChanges, UpdateArgs},
        time::Life,
    },
    cmd::{Outcome, metadata},
    context::Context,
    failure::Advised,
    output::api_key,
};

pub(super) async fn run(args: &UpdateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let body = request(&args.changes, args.if_revision, context.now)?;
    let key = context.client()?.update_api_key(id, &body).await?;
    context.output.show(&key, api_key::fields)?;
    Ok(Outcome::Done)
}

fn request(
    changes: &KeyChanges,
    revision: Option<u64>,
    now: Timestamp,
) -> Result<UpdateApiKeyRequest, Advised> {
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
        revision,
        ..Default::default()
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
        serde_json::to_value(request(&args.changes, args.if_revision, now).unwrap()).unwrap()
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
            ("--name a --if-revision 3", serde_json::json!({"name": "a", "revision": 3})),
        ] {
            assert_eq!(json(typed), expected, "{typed}");
        }
    }
}
