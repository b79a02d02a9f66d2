//! The checks, in the order they are shown.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use keyreeve_core::audit::{Checkpoint, CheckpointVerifier};
use keyreeve_store::sqlite::AuditFile;
use rustix::process::{Resource, getrlimit};

use super::{Check, Status};
use crate::{
    config::Config,
    context::Context,
    environment::Environment,
    installation::{Anchor, DataFolder},
};

/// Keys in clear text over a network are read by whoever is on the way.
pub(super) fn transport(config: &Config, found: &mut Vec<Check>) {
    let listen = config.server.listen;
    let check = if let Some(tls) = &config.server.tls {
        let missing: Vec<String> = [&tls.cert, &tls.key]
            .into_iter()
            .filter(|path| fs::File::open(path).is_err())
            .map(|path| path.display().to_string())
            .collect();
        if missing.is_empty() {
            Check::new("transport", Status::Ok, format!("TLS on {listen}"))
        } else {
            let detail = format!("cannot read {}", missing.join(" and "));
            Check::new("transport", Status::Failed, detail)
        }
    } else if listen.ip().is_loopback() {
        Check::new("transport", Status::Ok, format!("plain HTTP on {listen}, this machine only"))
    } else {
        let detail = format!(
            "plain HTTP on {listen}: keys cross the network in clear text unless a proxy before \
             it speaks TLS (server.tls)"
        );
        Check::new("transport", Status::Warning, detail)
    };
    found.push(check);
}

/// A pepper that cannot be had stops the server at its next start.
pub(super) fn pepper(config: &Config, environment: &Environment, found: &mut Vec<Check>) {
    let check = match &config.keys.pepper {
        None => Check::new("pepper", Status::Ok, "none configured: digests are plain SHA-256"),
        Some(reference) => match reference.resolve(environment) {
            Ok(_) => Check::new("pepper", Status::Ok, format!("{reference} can be read")),
            Err(error) => Check::new("pepper", Status::Failed, error.to_string()),
        },
    };
    found.push(check);
}

/// Each connection is a file handle, and so is the one to a service that a call on it is passed on by.
pub(super) fn open_files(config: &Config, found: &mut Vec<Check>) {
    let wanted = 2 * config.server.max_connections as u64 + 100;
    // The server raises the lower of the two limits by itself.
    let allowed = getrlimit(Resource::Nofile).maximum;
    let check = match allowed {
        Some(allowed) if allowed < wanted => {
            let detail = format!(
                "{allowed} allowed, but server.max_connections needs {wanted}: raise the limit \
                 (LimitNOFILE=) or lower the setting"
            );
            Check::new("open files", Status::Warning, detail)
        }
        Some(allowed) => Check::new("open files", Status::Ok, format!("{allowed} allowed")),
        None => Check::new("open files", Status::Ok, "no limit"),
    };
    found.push(check);
}

/// The folder, if there is one to look into.
pub(super) fn folder(config: &Config, found: &mut Vec<Check>) -> Option<DataFolder> {
    let folder = DataFolder::at(&config.store.data_dir);
    let path = folder.path().display().to_string();
    let check = match fs::metadata(folder.path()) {
        Ok(metadata) if !metadata.is_dir() => {
            Check::new("data folder", Status::Failed, format!("{path} is not a folder"))
        }
        Ok(metadata) => match metadata.permissions().mode() & 0o777 {
            0o700 => Check::new("data folder", Status::Ok, path),
            mode => Check::new(
                "data folder",
                Status::Warning,
                format!("{path} has mode {mode:o}: others can look in (chmod 700)"),
            ),
        },
        Err(error) => {
            let detail = format!("{path}: {error}; `keyreeve serve` makes it");
            found.push(Check::new("data folder", Status::Failed, detail));
            return None;
        }
    };
    let usable = check.status != Status::Failed;
    found.push(check);
    usable.then_some(folder)
}

/// Files that hold secrets, or digests of them, are for their owner alone.
pub(super) fn private_files(folder: &DataFolder, found: &mut Vec<Check>) {
    let open: Vec<String> = [folder.database(), folder.audit_key()]
        .iter()
        .filter(|path| mode_of(path).is_some_and(|mode| mode & 0o077 != 0))
        .map(|path| path.display().to_string())
        .collect();
    let check = if open.is_empty() {
        Check::new("private files", Status::Ok, "database and audit key are their owner's alone")
    } else {
        let detail = format!("others may read {} (chmod 600)", open.join(" and "));
        Check::new("private files", Status::Failed, detail)
    };
    found.push(check);
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode())
}

/// Whether the database opens, and has come at least as far as its anchor.
pub(super) fn database(folder: &DataFolder, found: &mut Vec<Check>) {
    let path = folder.database();
    if !path.exists() {
        let detail = format!("{} is not there yet; `keyreeve serve` makes it", path.display());
        found.push(Check::new("database", Status::Skipped, detail));
        return;
    }
    // Before the database, which a running server takes further meanwhile.
    let anchored = anchored(folder);
    let file = match AuditFile::open(&path) {
        Ok(file) => file,
        Err(error) => {
            found.push(Check::new("database", Status::Failed, error.to_string()));
            return;
        }
    };
    found.push(match file.database_problems() {
        Ok(problems) if problems.is_empty() => {
            Check::new("database", Status::Ok, path.display().to_string())
        }
        Ok(problems) => {
            Check::new("database", Status::Failed, format!("damaged: {}", problems.join("; ")))
        }
        Err(error) => Check::new("database", Status::Failed, error.to_string()),
    });
    let compared = anchored.and_then(|(verifier, anchored)| {
        let latest = file.checkpoints()?.pop();
        let head = latest.map(|note| verifier.verify(&note)).transpose()?;
        Anchor::compare(anchored.as_ref(), head.as_ref())?;
        Ok(head.map_or(0, |head| head.size()))
    });
    found.push(match compared {
        Ok(size) => {
            let detail =
                format!("{size} entries under a signed head; `keyreeve audit verify` checks each");
            Check::new("audit anchor", Status::Ok, detail)
        }
        Err(error) => Check::new("audit anchor", Status::Failed, error.to_string()),
    });
}

pub(super) fn anchored(
    folder: &DataFolder,
) -> anyhow::Result<(CheckpointVerifier, Option<Checkpoint>)> {
    let key = fs::read_to_string(folder.audit_public_key())?;
    let verifier = CheckpointVerifier::parse(key.trim())?;
    let anchored = Anchor::new(folder.clone(), verifier.clone()).read()?;
    Ok((verifier, anchored))
}

/// Whether a server answers, and can do its work.
pub(super) async fn server(context: &Context, found: &mut Vec<Check>) {
    let client = match context.client() {
        Ok(client) => client,
        Err(error) => {
            found.push(Check::new("server", Status::Skipped, format!("none found: {error}")));
            return;
        }
    };
    let check = match client.readiness().await {
        Ok(ready) if ready.ready => {
            let detail = format!(
                "ready, {} live keys, epoch {}, at most {} ms behind",
                ready.live_keys, ready.epoch, ready.age_ms
            );
            if ready.checks.limits == "ok" {
                Check::new("server", Status::Ok, detail)
            } else {
                let detail = format!("{detail}; limits {}", ready.checks.limits);
                Check::new("server", Status::Warning, detail)
            }
        }
        Ok(ready) => {
            let detail = format!(
                "not ready: store {}, knowledge {}, {} ms behind",
                ready.checks.store, ready.checks.knowledge, ready.age_ms
            );
            Check::new("server", Status::Failed, detail)
        }
        Err(error) => Check::new("server", Status::Failed, error.to_string()),
    };
    found.push(check);
}
