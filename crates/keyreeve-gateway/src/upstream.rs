//! Connections to services.

mod breaker;
mod dial;
mod guard;
mod http1;
mod pool;

use std::{
    hash::{Hash, Hasher},
    path::Path,
    sync::Arc,
};

use keyreeve_core::egress::Origin;
use keyreeve_engine::connections::Connection;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

#[cfg(fuzzing)]
pub(crate) use self::http1::fuzzing;
pub(crate) use self::{
    breaker::{Breaker, Breakers},
    dial::{DialError, Dialer, MOST_HEAD_BYTES, MOST_HEADERS, Purpose},
    http1::{Fault, Http1Body, Line, expects_length},
    pool::{Alone, Pool, Sender, Shared},
};

/// Where a connection leads, and by which rules it is dialled.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) origin: Arc<Origin>,
    pub(crate) allow_internal: bool,
}

/// Whose connections and failures these are: one connection of one project, with the settings it has now.
/// What one does, another does not feel.
#[derive(Clone, Debug)]
pub(crate) struct Lane(pub(crate) Arc<Connection>);

impl PartialEq for Lane {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Lane {}

impl Hash for Lane {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Why nobody's certificate can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file that was named holds none.
    #[error("{0} holds no certificate authority")]
    NoAuthorities(String),
    /// A file that was named.
    #[error("cannot read certificate authorities from {path}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What was wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Who is trusted: the authorities of a file, or those of the system.
pub(crate) fn roots(authorities: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let unreadable =
                |source| TrustError::Unreadable { path: path.display().to_string(), source };
            for found in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(found.map_err(unreadable)?)?;
            }
            if roots.is_empty() {
                return Err(TrustError::NoAuthorities(path.display().to_string()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// TLS to services.
pub(crate) fn tls(roots: RootCertStore) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
