//! Checks of the vault of a server that runs: whether it is open, and how other stores do.

use keyreeve_api::{BackendView, Client, ClientError, SealStatusView};

use super::{Check, Status};
use crate::{context::Context, output::printable::printable};

/// Whether secrets can be read, here and where other stores keep them.
pub(super) async fn look(context: &Context, found: &mut Vec<Check>) {
    // That there is no server is told elsewhere.
    let Ok(client) = context.client() else { return };
    let Ok(seal) = client.seal_status().await else { return };
    let is_open = seal.initialized && !seal.sealed;
    found.push(vault(&seal));
    if is_open {
        found.extend(backends(&client).await);
    }
}

fn vault(seal: &SealStatusView) -> Check {
    let (status, detail) = match (seal.initialized, seal.sealed) {
        (false, _) => (Status::Ok, "not made yet".to_owned()),
        (true, false) => (Status::Ok, format!("open, sealed by its {}", seal.seal)),
        (true, true) if seal.seal == "shares" => {
            let detail =
                format!("sealed: {} of {} shares are given", seal.progress, seal.threshold);
            (Status::Warning, detail)
        }
        (true, true) => {
            (Status::Warning, format!("sealed: `keyreeve vault unseal` takes its {}", seal.seal))
        }
    };
    Check::new("vault", status, detail)
}

async fn backends(client: &Client) -> Vec<Check> {
    match client.backends().await {
        Ok(backends) => backends.iter().map(backend).collect(),
        // Whoever may not see them has no say in them.
        Err(ClientError::VaultRefused { status: 403, .. }) => {
            vec![Check::new("backends", Status::Skipped, "this key may not see them")]
        }
        Err(error) => vec![Check::new("backends", Status::Failed, error.to_string())],
    }
}

fn backend(backend: &BackendView) -> Check {
    let name = printable(&backend.name);
    let what = format!("{name}, {} of {}", backend.mode, backend.kind);
    let (status, detail) = match &backend.failure {
        Some(failure) => (Status::Failed, format!("{what}: {}", printable(failure))),
        None if backend.fault_count > 0 => {
            let count = backend.fault_count;
            (
                Status::Warning,
                format!("{what}: {count} secrets not taken (`keyreeve backend list`)"),
            )
        }
        None if backend.reached_at.is_none() => (Status::Ok, format!("{what}: not asked yet")),
        None => (Status::Ok, format!("{what}: {} secrets", backend.secrets)),
    };
    Check::new("backend", status, detail)
}
