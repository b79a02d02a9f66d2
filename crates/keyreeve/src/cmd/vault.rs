//! `keyreeve vault`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use keyreeve_api::{Client, Rekey, SealStatusView, VaultKeyView};
use keyreeve_core::{
    Secret,
    vault::{RootKey, ShareCounts, check_passphrase, split},
};
use keyreeve_engine::{Entropy, vault::ROOT_KEY_LABEL};
use serde::Serialize;
use serde_json::json;

use super::Outcome;
use crate::{
    cli::vault::{RekeyArgs, RootSource, UnsealArgs, VaultCommand},
    context::Context,
    hidden_input::from_stdin,
    output::fields::Fields,
    system::SystemEntropy,
};

pub(super) async fn run(command: &VaultCommand, context: &Context) -> anyhow::Result<Outcome> {
    let client = context.client()?;
    match command {
        VaultCommand::Status => status(&client, context).await,
        VaultCommand::Unseal(args) => unseal(args, &client, context).await,
        VaultCommand::Seal => {
            client.seal().await?;
            told("sealed", "the vault is sealed on this node", context)
        }
        VaultCommand::RotateKey => rotate_key(&client, context).await,
        VaultCommand::Rekey(args) => rekey(args, &client, context).await,
    }
}

#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    seal: SealStatusView,
    key: Option<VaultKeyView>,
}

async fn status(client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    let seal = client.seal_status().await?;
    // Whoever may not see the keys still sees whether the vault is open.
    let key = if seal.sealed { None } else { client.vault_key().await.ok().flatten() };
    context.output.show(&Status { seal, key }, |Status { seal, key }, canvas| {
        let mut fields = Fields::default();
        let state = match (seal.initialized, seal.sealed) {
            (false, _) => "not made yet",
            (true, true) => "sealed",
            (true, false) => "open",
        };
        fields.add("state", state).add("sealed by", &seal.seal);
        if seal.seal == "shares" {
            fields.add("needed", format!("{} of {} shares", seal.threshold, seal.shares));
        }
        if seal.sealed && seal.progress > 0 {
            fields.add("given", seal.progress.to_string());
        }
        if let Some(key) = key {
            let made = key.install_time.as_ref().and_then(|at| at.parse().ok());
            let made = made.map(|at| format!(", made {}", canvas.moment(at))).unwrap_or_default();
            fields.add("key", format!("{}{made}", key.term));
            let older = if key.rewrapping { "on their way to it" } else { "none" };
            fields.add("under older keys", older);
        }
        fields.draw(canvas)
    })?;
    Ok(Outcome::Done)
}

async fn unseal(args: &UnsealArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    if args.reset {
        client.reset_unseal().await?;
        return told("reset", "no share is held any more", context);
    }
    let before = client.seal_status().await?;
    if before.initialized && !before.sealed {
        return told("open", "the vault is open", context);
    }
    let asked = match before.seal.as_str() {
        "shares" => "a share",
        "passphrase" => "the passphrase",
        _ => "the root key",
    };
    let key = Secret::new(from_stdin(asked, &mut io::stdin(), &context.output)?);
    // EXPOSE: sent to the server.
    let after = client.unseal(key.expose().trim()).await?;
    context.output.show(&after, |after, _| {
        if after.sealed {
            format!("{} of {} shares are given", after.progress, after.threshold)
        } else {
            "the vault is open".to_owned()
        }
    })?;
    Ok(Outcome::Done)
}

async fn rotate_key(client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    client.rotate_vault_key().await?;
    let key = client.vault_key().await?.context("the server did not say which key is new")?;
    context.output.show(&key, |key, _| {
        format!("new versions are sealed under key {}; old ones follow", key.term)
    })?;
    Ok(Outcome::Done)
}

async fn rekey(args: &RekeyArgs, client: &Client, context: &Context) -> anyhow::Result<Outcome> {
    match args.to {
        RootSource::Passphrase => {
            let passphrase = from_stdin("the new passphrase", &mut io::stdin(), &context.output)?;
            let passphrase = Secret::new(passphrase);
            check_passphrase(&passphrase)
                .map_err(|rule| anyhow::anyhow!("the passphrase {rule}"))?;
            // EXPOSE: sent to the server.
            let passphrase = Some(passphrase.expose().as_str());
            client.rekey(&Rekey { passphrase, ..Rekey::default() }).await?;
            let words = "the vault is sealed by the passphrase. Remove root.key from the data folders: \
                         it opens nothing any more";
            told("passphrase", words, context)
        }
        RootSource::Key => {
            let entropy: &dyn Entropy = &SystemEntropy::new();
            let root = entropy.bytes::<32>().map(Secret::new)?;
            let text = in_base64(&root);
            // EXPOSE: written to a file that only its owner can read, before the server learns of it.
            let line = Secret::new(format!("{ROOT_KEY_LABEL}{}\n", text.expose()));
            let path = args.output.as_deref().context("--output is needed")?;
            write_new(path, &line)?;
            // EXPOSE: sent to the server.
            client.rekey(&Rekey { key: Some(text.expose()), ..Rekey::default() }).await?;
            let words = format!(
                "the vault is sealed by the key in {}. Put it where the settings say (root.key in the \
                 data folder, or vault.root_key) on every node, before the next start",
                path.display()
            );
            told("key", &words, context)
        }
        RootSource::Shares => rekey_to_shares(args, client, context).await,
    }
}

async fn rekey_to_shares(
    args: &RekeyArgs,
    client: &Client,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let counts = ShareCounts::new(args.shares, args.threshold)
        .map_err(|rule| anyhow::anyhow!("--shares and --threshold {rule}"))?;
    let entropy: &dyn Entropy = &SystemEntropy::new();
    let root = RootKey::new(entropy.bytes::<32>().map(Secret::new)?);
    let shares = split(&root, counts, || entropy.bytes::<32>())?;
    let folder = args.output.as_deref().context("--output is needed")?;
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for share in &shares {
        write_new(&folder.join(format!("share-{}", share.number())), &share.to_text())?;
    }
    let text = in_base64(root.bytes());
    let rekey = Rekey {
        // EXPOSE: sent to the server.
        key: Some(text.expose()),
        secret_shares: counts.shares(),
        secret_threshold: counts.threshold(),
        ..Rekey::default()
    };
    client.rekey(&rekey).await?;
    let words = format!(
        "the vault is sealed by shares: {} of the {} in {} open it. Give each to another person, remove \
         that folder, and remove root.key from the data folders",
        counts.threshold(),
        counts.shares(),
        folder.display()
    );
    told("shares", &words, context)
}

fn in_base64(key: &Secret<[u8; 32]>) -> Secret<String> {
    // EXPOSE: written as text.
    Secret::new(BASE64_STANDARD.encode(key.expose()))
}

/// Writes a file that is not there yet, for its owner alone, down to the disk.
fn write_new(path: &Path, text: &Secret<String>) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(cannot)?;
    // EXPOSE: written where it is to be kept.
    file.write_all(text.expose().as_bytes()).with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    ensure!(path.is_file(), "{} is not a file", path.display());
    Ok(())
}

fn told(done: &str, words: &str, context: &Context) -> anyhow::Result<Outcome> {
    context.output.show(&json!({ "done": done }), |_, _| words.to_owned())?;
    Ok(Outcome::Done)
}
