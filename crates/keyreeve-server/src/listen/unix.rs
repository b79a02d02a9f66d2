//! The local socket. Who can open it as the server's own user, or as root, is the admin.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};
use tracing::warn;

use super::{BindError, Gate};
use crate::{
    connection::{self, Peer},
    service::Service,
};

/// Binds the socket, readable and writable by its owner alone.
///
/// A socket file left by a killed server is removed. The caller holds the lock of the data
/// folder, so no living server can own it.
pub(crate) fn bind_local(path: &Path) -> Result<std::os::unix::net::UnixListener, BindError> {
    let failed = |source| BindError::Other { address: path.display().to_string(), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            fs::remove_file(path).map_err(failed)?;
        }
        Ok(_) => return Err(BindError::InUse(path.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

/// Accepts and serves until told to stop.
pub(crate) async fn accept_local(
    listener: std::os::unix::net::UnixListener,
    gate: Gate,
    service: Arc<Service>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let own_user = rustix::process::geteuid().as_raw();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let (gate, service, stop) = (gate.clone(), service.clone(), stop.clone());
                tokio::spawn(welcome(stream, own_user, gate, service, stop));
            }
            Err(error) => {
                warn!(%error, "cannot accept on the local socket");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn welcome(
    stream: UnixStream,
    own_user: u32,
    gate: Gate,
    service: Arc<Service>,
    stop: watch::Receiver<bool>,
) {
    let Some(_pass) = gate.enter() else {
        Gate::refuse(stream).await;
        return;
    };
    // The file's mode keeps others out already; this holds even if somebody widens it.
    let uid = match stream.peer_cred() {
        Ok(credentials) if [own_user, 0].contains(&credentials.uid()) => credentials.uid(),
        Ok(credentials) => {
            warn!(uid = credentials.uid(), "another user tried the local socket");
            return;
        }
        Err(error) => {
            warn!(%error, "cannot tell who is at the local socket");
            return;
        }
    };
    let peer = Peer { ip: None, local_user: Some(uid) };
    connection::serve(stream, peer, service, stop).await;
}
