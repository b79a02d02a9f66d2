//! `keyreeve key derive`.

use keyreeve_api::DeriveApiKeyRequest;

use crate::{
    cli::{key::DeriveArgs, time::Life},
    cmd::{Outcome, metadata, new_key},
    context::Context,
    failure::Advised,
    output::canvas::Canvas,
};

pub(super) async fn run(args: &DeriveArgs, context: &Context) -> anyhow::Result<Outcome> {
    if context.environment.token().is_none() {
        let hint = "set KEYREEVE_TOKEN to it: a key is derived from the one that asks";
        return Err(Advised::new("there is no key to derive from", hint).into());
    }
    let body = request(args)?;
    let client = context.client()?;
    let answer = client.derive_api_key(&body, args.idempotency_key.as_deref()).await?;
    let about = |canvas: &Canvas| {
        let key = &answer.details;
        format!("{} {}.", new_key::name(key), new_key::expiry(key, canvas))
    };
    new_key::print(&answer, &answer.key, about, context)
}

fn request(args: &DeriveArgs) -> anyhow::Result<DeriveApiKeyRequest> {
    Ok(DeriveApiKeyRequest {
        name: args.name.clone(),
        roles: args.roles.clone(),
        permissions: args.permissions.clone(),
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
