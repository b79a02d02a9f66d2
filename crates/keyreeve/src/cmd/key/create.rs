//! `keyreeve key create`.

use keyreeve_api::CreateApiKeyRequest;

use crate::{
    cli::{key::CreateArgs, time::Life},
    cmd::{Outcome, metadata, new_key},
    context::Context,
    output::canvas::Canvas,
};

pub(super) async fn run(args: &CreateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let body = request(args)?;
    let client = context.client()?;
    let answer = client.create_api_key(&body, args.idempotency_key.as_deref()).await?;
    let about = |canvas: &Canvas| {
        let key = &answer.details;
        format!("{} {}.", new_key::name(key), new_key::expiry(key, canvas))
    };
    new_key::print(&answer, &answer.key, about, context)
}

/// The role `client` may call through every connection: where some are named, it is left out.
fn roles(args: &CreateArgs) -> Vec<String> {
    let is_narrowed = |role: &str| role == "client" && !args.connections.is_empty();
    args.roles.iter().filter(|role| !is_narrowed(role)).cloned().collect()
}

fn permissions(args: &CreateArgs) -> Vec<String> {
    let calls = args.connections.iter().map(|name| format!("keyreeve.connections.{name}.call"));
    args.permissions.iter().cloned().chain(calls).collect()
}

fn request(args: &CreateArgs) -> anyhow::Result<CreateApiKeyRequest> {
    Ok(CreateApiKeyRequest {
        name: args.name.clone(),
        keyspace: args.keyspace.clone(),
        environment: args.environment.clone(),
        owner: args.owner.clone(),
        roles: roles(args),
        permissions: permissions(args),
        metadata: args.metadata.as_deref().map(metadata::parse).transpose()?.unwrap_or_default(),
        tags: args.tags.clone(),
        expires_in: args.expires_in.as_ref().map(Life::to_wire),
        expires_at: args.expires_at,
        not_before: args.not_before,
        restrictions: args.policy.restrictions.to_wire(),
        limits: args.policy.limits.to_wire()?,
        quota: args.policy.spending.quota.clone(),
        concurrency: args.policy.spending.concurrency.clone(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, key::KeyCommand};

    fn json(arguments: &str) -> serde_json::Value {
        let words = ["keyreeve", "key", "create"].into_iter().chain(arguments.split(' '));
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Key(KeyCommand::Create(args)) = cli.command else { panic!("not create") };
        serde_json::to_value(request(&args).unwrap()).unwrap()
    }

    #[test]
    fn only_what_was_typed_is_sent() {
        assert_eq!(json("--name billing"), serde_json::json!({"name": "billing"}));
    }

    #[test]
    fn everything_can_be_typed() {
        let typed = "--name billing --keyspace partners --env staging --owner acme --role viewer \
                     --role client --permission a.b --tag eu --metadata {\"a\":1} --expires-in 30d";
        let expected = serde_json::json!({
            "name": "billing",
            "keyspace": "partners",
            "environment": "staging",
            "owner": "acme",
            "roles": ["viewer", "client"],
            "permissions": ["a.b"],
            "metadata": {"a": 1},
            "tags": ["eu"],
            "expires_in": "30d",
        });
        assert_eq!(json(typed), expected);
        let expected = serde_json::json!({"name": "a", "expires_at": "2026-12-21T00:00:00Z"});
        assert_eq!(json("--name a --expires-at 2026-12-21"), expected);
    }
}
