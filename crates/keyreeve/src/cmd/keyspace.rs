//! `keyreeve keyspace`.

use keyreeve_api::{CreateKeyspaceRequest, UpdateKeyspaceRequest};

use super::{Outcome, change::must_change, deletion, listing};
use crate::{
    cli::{
        keyspace::{CreateArgs, FailPolicy, KeyspaceChanges, KeyspaceCommand},
        time::Life,
    },
    context::Context,
    output::keyspace,
};

pub(super) async fn run(command: &KeyspaceCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let keyspace = match command {
        KeyspaceCommand::Create(args) => client.create_keyspace(&creation(args)?).await?,
        KeyspaceCommand::List => {
            let page = client.list_keyspaces().await?;
            return listing::show(&page, "keyspaces", keyspace::table, context);
        }
        KeyspaceCommand::Show(args) => client.keyspace(args.name.as_str()).await?,
        KeyspaceCommand::Update(args) => {
            let body = change(&args.changes)?;
            must_change(&body, "keyspace update")?;
            client.update_keyspace(args.name.as_str(), &body).await?
        }
        KeyspaceCommand::Delete(args) => {
            client.delete_keyspace(args.name.as_str()).await?;
            return deletion::tell("keyspace", args.name.as_str(), context);
        }
    };
    context.output.show(&keyspace, keyspace::fields)?;
    Ok(Outcome::Done)
}

fn creation(args: &CreateArgs) -> anyhow::Result<CreateKeyspaceRequest> {
    Ok(CreateKeyspaceRequest {
        name: args.name.to_string(),
        prefix: args.prefix.to_string(),
        default_expires_in: args.default_expires_in.as_ref().map(Life::to_wire),
        default_grace: args.default_grace.clone(),
        fail_policy: policy(args.fail_policy),
        limits: args.limits.to_wire()?,
        restrictions: args.restrictions.to_wire(),
        ..Default::default()
    })
}

fn change(changes: &KeyspaceChanges) -> anyhow::Result<UpdateKeyspaceRequest> {
    Ok(UpdateKeyspaceRequest {
        default_expires_in: changes.default_expires_in.as_ref().map(Life::to_wire),
        default_grace: changes.default_grace.clone(),
        fail_policy: policy(changes.fail_policy),
        limits: changes.limits.to_wire()?,
        restrictions: changes.restrictions.to_wire(),
        ..Default::default()
    })
}

fn policy(policy: Option<FailPolicy>) -> Option<String> {
    policy.map(|policy| policy.as_str().to_owned())
}
