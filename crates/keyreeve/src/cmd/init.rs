//! `keyreeve init`.

use anyhow::bail;
use serde_json::json;

use super::Outcome;
use crate::{
    config::Flags,
    context::Context,
    wire::{self, Installation},
};

/// Makes the data folder and its first admin key, and shows the key this once.
pub(crate) fn run(context: &Context) -> anyhow::Result<Outcome> {
    let config = context.config(Flags::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (first, folder) = runtime.block_on(async {
        let installation = Installation::open(&config, &context.environment).await?;
        let first = installation.set_up().await?;
        installation.store.close().await;
        anyhow::Ok((first, installation.folder))
    })?;
    let Some(first) = first else {
        bail!(crate::failure::Advised::new(
            format!("the data folder {} is already initialised", folder.path().display()),
            "start the server with `keyreeve serve`; its admin can make further keys",
        ));
    };
    let url = wire::url(&config, config.server.listen);
    // EXPOSE: the first admin key is shown to whoever set the installation up, once.
    let admin_key = first.token.text().expose();
    if context.output.is_json() {
        context.output.json(&json!({
            "admin_key": admin_key,
            "id": first.key.id.to_string(),
            "expires_at": first.key.expires_at,
            "url": url,
            "data_dir": folder.path(),
        }))?;
        return Ok(Outcome::Done);
    }
    context.output.note(&format!(
        "Initialised {}. This is its admin key; it is shown only once:",
        folder.path().display()
    ))?;
    context.output.line(admin_key)?;
    context.output.note("Start the server with `keyreeve serve`.")?;
    Ok(Outcome::Done)
}
