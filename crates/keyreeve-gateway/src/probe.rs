//! Services are asked whether a credential is good: by one request or one sign-in, never repeated, for
//! services lock accounts that are tried too often.

mod call;
mod line;
mod postgres;
mod redis;
mod smtp;
mod ssh;

use std::{io, time::Duration};

use keyreeve_catalog::Liveliness;
use keyreeve_engine::connections::{Ask, Encryption, Probe, Probed, Protocol, SignIn};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{
    proxy::{Proxy, full},
    upstream::{DialError, Dialer},
};

/// How long a service may take for all of it.
const PATIENCE: Duration = Duration::from_secs(15);

/// A connection that is read and written, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why a service did not tell.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the connection broke off")]
    Broken(#[from] io::Error),
    #[error("{0}")]
    Said(&'static str),
}

impl Untold {
    /// In words that tell a caller nothing of inner addresses.
    fn words(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Lookup(_)) => "the service's name cannot be looked up",
            Self::Dial(DialError::Forbidden(_)) => {
                "the service's address is one that may not be called: see --allow-internal"
            }
            Self::Dial(DialError::Tls(_)) => {
                "the service's certificate is not one that can be trusted, or it speaks no TLS"
            }
            Self::Dial(_) => "the service cannot be reached",
            Self::Broken(_) => "the service broke off",
            Self::Said(words) => words,
        }
    }
}

fn probed(verdict: Liveliness, detail: &str) -> Probed {
    Probed { verdict, detail: detail.to_owned(), status: None, took: Duration::ZERO }
}

impl Proxy {
    /// Asks a service whether a credential is good.
    pub async fn probe(&self, probe: Probe) -> Probed {
        let asked = async {
            match probe.ask {
                Ask::Call(call) => self.probe_call(*call).await,
                Ask::SignIn(sign_in) => sign_in_to(self.dialer(), &sign_in).await,
            }
        };
        let begun = Instant::now();
        let said = match timeout(PATIENCE, asked).await {
            Ok(Ok(probed)) => probed,
            Ok(Err(untold)) => {
                debug!(service = probe.service, error = full(&untold), "a test got no answer");
                probed(Liveliness::Unknown, untold.words())
            }
            Err(_) => probed(Liveliness::Unknown, "the service did not answer in time"),
        };
        Probed { took: begun.elapsed(), ..said }
    }
}

async fn sign_in_to(dialer: &Dialer, sign_in: &SignIn) -> Result<Probed, Untold> {
    let stream = dialer.tcp(&sign_in.host, sign_in.port, sign_in.allow_internal).await?;
    match &sign_in.protocol {
        Protocol::Ssh { host_key, by_key } => ssh::ask(stream, sign_in, host_key, *by_key).await,
        Protocol::Postgres { database } => {
            let stream = postgres::upgrade(dialer, sign_in, stream).await?;
            postgres::ask(stream, sign_in, database).await
        }
        Protocol::Redis => redis::ask(encrypted(dialer, sign_in, stream).await?, sign_in).await,
        Protocol::Smtp => smtp::ask(dialer, sign_in, stream).await,
    }
}

/// The connection with TLS from the first byte on, where that is spoken.
async fn encrypted(
    dialer: &Dialer,
    sign_in: &SignIn,
    stream: TcpStream,
) -> Result<Box<dyn Stream>, Untold> {
    if sign_in.encryption == Encryption::Tls {
        return Ok(Box::new(dialer.secure(&sign_in.host, stream).await?));
    }
    Ok(Box::new(stream))
}
