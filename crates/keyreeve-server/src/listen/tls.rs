//! TLS by rustls, with certificates that can be replaced while serving.

use std::{io, path::Path, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::options::TlsOptions;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {what} from {path}")]
    Unreadable {
        /// The certificate or the key.
        what: &'static str,
        /// Which file.
        path: String,
        /// What was wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(String),
    /// Key and certificate do not go together, or are of no known kind.
    #[error("the TLS key does not fit the certificate")]
    Mismatch(#[source] rustls::Error),
    /// The file's state cannot be asked.
    #[error("cannot look at {path}")]
    Unseen {
        /// Which file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The current certificate and where it came from.
#[derive(Debug)]
pub(crate) struct Certificates {
    options: TlsOptions,
    current: Arc<Current>,
    stamp: parking_lot::Mutex<Stamp>,
}

#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

type Stamp = [Option<SystemTime>; 2];

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    pub(crate) fn load(options: TlsOptions) -> Result<Self, TlsError> {
        let stamp = stamp(&options)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(read(&options)?)));
        Ok(Self { options, current, stamp: parking_lot::Mutex::new(stamp) })
    }

    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Mismatch)?
            .with_no_client_auth()
            .with_cert_resolver(self.current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    pub(crate) fn reload_interval(&self) -> std::time::Duration {
        self.options.reload_interval
    }

    /// Rereads the files if they changed. On failure the old certificate stays in use.
    pub(crate) fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let now = stamp(&self.options)?;
        if *self.stamp.lock() == now {
            return Ok(false);
        }
        self.current.0.store(Arc::new(read(&self.options)?));
        *self.stamp.lock() = now;
        Ok(true)
    }
}

fn stamp(options: &TlsOptions) -> Result<Stamp, TlsError> {
    let modified = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|metadata| metadata.modified())
            .map(Some)
            .map_err(|source| TlsError::Unseen { path: path.display().to_string(), source })
    };
    Ok([modified(&options.certificate)?, modified(&options.key)?])
}

fn read(options: &TlsOptions) -> Result<CertifiedKey, TlsError> {
    let unreadable = |what, path: &Path| {
        let path = path.display().to_string();
        move |source| TlsError::Unreadable { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(&options.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable("the certificate", &options.certificate))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(options.certificate.display().to_string()));
    }
    let key =
        PrivateKeyDer::from_pem_file(&options.key).map_err(unreadable("the key", &options.key))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(TlsError::Mismatch)
}
