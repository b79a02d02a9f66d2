//! `keyreeve key`.

mod create;
mod derive;
mod explain;
mod id;
mod import;
mod read_key;
mod update;

use std::io;

use keyreeve_api::{
    ApiKeyView, CleanupExpiredRequest, ExpiringQuery, FinishRotationRequest, ListApiKeysQuery,
    PageQuery, ReasonRequest, RotateApiKeyRequest, VerifyRequest,
};

use self::id::checked;
use super::{Outcome, listing, new_key};
use crate::{
    cli::{
        key::{
            CleanupExpiredArgs, ExpiringArgs, FinishRotationArgs, IdArgs, KeyCommand, ListArgs,
            RotateArgs, VerifyArgs,
        },
        time::Life,
    },
    context::Context,
    output::{
        api_key,
        canvas::{Canvas, Tone},
        printable::printable,
        verdict,
    },
};

pub(super) async fn run(command: &KeyCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        KeyCommand::Create(args) => create::run(args, context).await,
        KeyCommand::Show(args) => show(args, context).await,
        KeyCommand::List(args) => list(args, context).await,
        KeyCommand::Update(args) => update::run(args, context).await,
        KeyCommand::Rotate(args) => rotate(args, context).await,
        KeyCommand::FinishRotation(args) => finish_rotation(args, context).await,
        KeyCommand::Revoke(args) => {
            let body = ReasonRequest { reason: args.reason.clone() };
            let id = checked(&args.id)?;
            tell(&context.client()?.revoke_api_key(id, &body).await?, context)
        }
        KeyCommand::Enable(args) => {
            let id = checked(&args.id)?;
            tell(&context.client()?.enable_api_key(id).await?, context)
        }
        KeyCommand::Disable(args) => {
            let body = ReasonRequest { reason: args.reason.clone() };
            let id = checked(&args.id)?;
            tell(&context.client()?.disable_api_key(id, &body).await?, context)
        }
        KeyCommand::Delete(args) => {
            let id = checked(&args.id)?;
            tell(&context.client()?.delete_api_key(id).await?, context)
        }
        KeyCommand::Undelete(args) => {
            let id = checked(&args.id)?;
            tell(&context.client()?.undelete_api_key(id).await?, context)
        }
        KeyCommand::Purge(args) => purge(args, context).await,
        KeyCommand::Expiring(args) => expiring(args, context).await,
        KeyCommand::CleanupExpired(args) => cleanup_expired(args, context).await,
        KeyCommand::Derive(args) => derive::run(args, context).await,
        KeyCommand::Import(args) => import::run(args, context).await,
        KeyCommand::Explain(args) => explain::run(args, context).await,
        KeyCommand::SuggestLimits(args) => explain::suggest(args, context).await,
        KeyCommand::Verify(args) => verify(args, context).await,
    }
}

/// Tells what state a key is in now.
fn tell(key: &ApiKeyView, context: &Context) -> anyhow::Result<Outcome> {
    context.output.show(key, now_in_state)?;
    Ok(Outcome::Done)
}

fn now_in_state(key: &ApiKeyView, canvas: &Canvas) -> String {
    let state = canvas.paint(&printable(&key.state), Tone::of_state(&key.state));
    format!("{} is {state}", new_key::name(key))
}

async fn show(args: &IdArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let key = context.client()?.api_key(id).await?;
    context.output.show(&key, api_key::fields)?;
    Ok(Outcome::Done)
}

async fn list(args: &ListArgs, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let query = ListApiKeysQuery {
        keyspace: args.keyspace.clone(),
        environment: args.environment.clone(),
        owner: args.owner.clone(),
        role: args.role.clone(),
        tag: args.tag.clone(),
        name: args.name.clone(),
        state: args.state.clone(),
        limit: None,
        cursor: None,
    };
    let page = listing::collect(&args.page, async |PageQuery { limit, cursor }| {
        client.list_api_keys(&ListApiKeysQuery { limit, cursor, ..query.clone() }).await
    });
    listing::show(&page.await?, "keys", api_key::table, context)
}

async fn expiring(args: &ExpiringArgs, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let page = listing::collect(&args.page, async |PageQuery { limit, cursor }| {
        client.expiring_api_keys(&ExpiringQuery { days: Some(args.days), limit, cursor }).await
    });
    listing::show(&page.await?, "keys that expire so soon", api_key::table, context)
}

async fn rotate(args: &RotateArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let body = RotateApiKeyRequest {
        grace: args.grace.clone(),
        expires_in: args.expires_in.as_ref().map(Life::to_wire),
    };
    let client = context.client()?;
    let answer = client.rotate_api_key(id, &body, args.idempotency_key.as_deref()).await?;
    let about = |canvas: &Canvas| {
        let new = new_key::name(&answer.details);
        let expiry = new_key::expiry(&answer.details, canvas);
        let end = canvas.moment(answer.grace_ends_at);
        format!("{new} {expiry}; the old key {id} is good until {end}.")
    };
    new_key::print(&answer, &answer.key, about, context)
}

async fn finish_rotation(args: &FinishRotationArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let body = FinishRotationRequest { if_silent_for: args.if_silent_for.clone() };
    tell(&context.client()?.finish_rotation(id, &body).await?, context)
}

async fn purge(args: &IdArgs, context: &Context) -> anyhow::Result<Outcome> {
    let id = checked(&args.id)?;
    let view = context.client()?.purge_api_key(id).await?;
    context.output.show(&view, |view, _| {
        format!("key {} is gone for good; its audit entries stay", printable(&view.purged))
    })?;
    Ok(Outcome::Done)
}

async fn cleanup_expired(args: &CleanupExpiredArgs, context: &Context) -> anyhow::Result<Outcome> {
    let body =
        CleanupExpiredRequest { expired_for: args.expired_for.clone(), dry_run: args.dry_run };
    let view = context.client()?.cleanup_expired(&body).await?;
    context.output.show(&view, api_key::cleaned_up)?;
    Ok(Outcome::Done)
}

async fn verify(args: &VerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    let key = read_key::from(io::stdin(), &context.output)?;
    let asked = &args.request;
    let body = VerifyRequest {
        require: asked.require.clone(),
        request: asked.context(args.at),
        cost: asked.cost()?,
        dry_run: args.dry_run,
        ..VerifyRequest::new(key)
    };
    let verdict = client.verify(&body).await?;
    context.output.show(&verdict, verdict::fields)?;
    Ok(if verdict.valid { Outcome::Done } else { Outcome::Negative })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_a_key_is_in_is_told() {
        let key = api_key::example();
        assert_eq!(
            now_in_state(&key, &Canvas::for_tests()),
            "key 4Tn0Zs8QbW1c (billing) is active"
        );
    }
}
