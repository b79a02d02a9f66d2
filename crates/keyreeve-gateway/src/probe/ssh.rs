//! SSH: the server's key is the pinned one, or nothing is sent; then one sign-in (RFC 4252), and no
//! session.

use std::sync::Arc;

use keyreeve_catalog::Liveliness;
use keyreeve_engine::connections::{Probed, SignIn};
use russh::{
    Disconnect, MethodKind,
    client::{self, AuthResult, Handler},
    keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpStream;

use super::{PATIENCE, Untold, probed};

/// Why a handshake ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Ssh(#[from] russh::Error),
    #[error("the server's key is another one")]
    OtherKey,
}

/// Takes the pinned key, and no other.
struct Pinned(String);

impl Handler for Pinned {
    type Error = Ended;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Ended> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Err(Ended::OtherKey);
        };
        let shown = key.fingerprint(HashAlg::Sha256).to_string();
        if bool::from(shown.as_bytes().ct_eq(self.0.as_bytes())) {
            return Ok(true);
        }
        Err(Ended::OtherKey)
    }
}

pub(super) async fn ask(
    stream: TcpStream,
    sign_in: &SignIn,
    host_key: &str,
    by_key: bool,
) -> Result<Probed, Untold> {
    // EXPOSE: the sign-in.
    let (user, proof) = (sign_in.user.expose().as_str(), sign_in.proof.expose().as_str());
    let key = by_key.then(|| PrivateKey::from_openssh(proof.trim()));
    let key = match key.transpose() {
        Ok(key) if key.as_ref().is_some_and(PrivateKey::is_encrypted) => {
            return Ok(probed(Liveliness::Unknown, "the private key needs a passphrase"));
        }
        Ok(Some(key)) if key.algorithm().is_rsa() => {
            let words = "RSA keys cannot be tested here: only Ed25519 and ECDSA";
            return Ok(probed(Liveliness::Unknown, words));
        }
        Ok(key) => key,
        Err(_) => {
            let words = "the private key is not one in OpenSSH's form that can be used here";
            return Ok(probed(Liveliness::Unknown, words));
        }
    };
    // The session goes on by itself: a server that falls silent must not keep it.
    let config = client::Config { inactivity_timeout: Some(PATIENCE), ..Default::default() };
    let config = Arc::new(config);
    let handle = client::connect_stream(config, stream, Pinned(host_key.to_owned())).await;
    let mut handle = match handle {
        Ok(handle) => handle,
        Err(Ended::OtherKey) => {
            let words = "the server shows another key than the pinned one: nothing was sent to it";
            return Ok(probed(Liveliness::Unknown, words));
        }
        Err(Ended::Ssh(error)) => return Err(broken(&error)),
    };
    let answer = match key {
        Some(key) => {
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
            handle.authenticate_publickey(user, key).await
        }
        None => handle.authenticate_password(user, proof).await,
    };
    let answer = answer.map_err(|error| broken(&error))?;
    // It has answered; whether it hears the good-bye does not matter.
    let _ = handle.disconnect(Disconnect::ByApplication, "", "").await;
    let wanted = if by_key { MethodKind::PublicKey } else { MethodKind::Password };
    Ok(match answer {
        AuthResult::Success => {
            probed(Liveliness::Live, "the server has the pinned key and let us in")
        }
        AuthResult::Failure { partial_success: true, .. } => {
            probed(Liveliness::Limited, "the credential is good; the server wants another one, too")
        }
        AuthResult::Failure { remaining_methods, .. } if !remaining_methods.contains(&wanted) => {
            probed(Liveliness::Unknown, "the server takes no sign-in of this kind")
        }
        AuthResult::Failure { .. } => {
            probed(Liveliness::Dead, "the server refuses the user or the credential")
        }
    })
}

fn broken(error: &russh::Error) -> Untold {
    tracing::debug!(%error, "a test over SSH broke off");
    Untold::Said("the server speaks no SSH that is known here, or broke off")
}
