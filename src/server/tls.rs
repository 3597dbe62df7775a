//! The TLS side of a listener: a certificate and its key from files, looked at again while the server runs.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::config::load::is_readable_by_all;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A certificate chain and its private key, both PEM files, for a [`Server`](super::Server).
///
/// TLS 1.2 and 1.3 are spoken, and HTTP/2 is offered beside HTTP/1.1. While a server runs, the files are looked at once
/// a second; new ones are used for new connections, and until they can be used the old ones are.
#[derive(Clone)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current {
    key: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.load_full())
    }
}

/// Why a certificate and a key cannot be used.
#[derive(Debug)]
pub struct TlsError {
    message: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TlsError {}

impl Tls {
    /// Reads a certificate chain, the server's own first, and its private key. Blocks while it reads the files.
    ///
    /// # Errors
    ///
    /// Which file cannot be read, or has nothing in it that can be used; or that the two do not belong together.
    pub fn from_files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let files = Files { cert: cert.into(), key: key.into() };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let key = ArcSwap::from_pointee(files.read(&provider)?);
        if is_readable_by_all(&files.key) {
            tracing::warn!(key = %files.key.display(), "every user of this machine can read this private key");
        }
        let current = Arc::new(Current { key, provider: Arc::clone(&provider) });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default protocol versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files: Arc::new(files), current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Follows the files, until what this returns is dropped.
    pub(super) fn watch(&self) -> Watching {
        let Self { files, current, .. } = self.clone();
        // What was read before this may be older than the files are now.
        Watching(tokio::spawn(async move {
            let mut seen = None;
            loop {
                let (look, reader) = (Arc::clone(&files), Arc::clone(&current));
                let looked = tokio::task::spawn_blocking(move || {
                    let stamp = look.stamp();
                    (stamp != seen).then(|| (stamp, look.read(&reader.provider)))
                });
                if let Ok(Some((stamp, read))) = looked.await {
                    seen = stamp;
                    match read {
                        Ok(key) if key.cert != current.key.load().cert => {
                            current.key.store(Arc::new(key));
                            tracing::info!(cert = %files.cert.display(), "a new certificate is used");
                        }
                        Ok(_) => {}
                        Err(error) => tracing::error!(%error, "the certificate is not changed"),
                    }
                }
                tokio::time::sleep(EVERY).await;
            }
        }))
    }
}

impl Files {
    /// What changes when a file does. `None` while one is missing.
    fn stamp(&self) -> Option<[(SystemTime, u64); 2]> {
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        Some([stamp(&self.cert)?, stamp(&self.key)?])
    }

    fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let wrong = |path: &Path, what: String| TlsError { message: format!("{}: {what}", path.display()) };
        let bytes = |path: &Path| std::fs::read(path).map_err(|error| wrong(path, format!("cannot be read: {error}")));
        let (cert, key) = (bytes(&self.cert)?, bytes(&self.key)?);
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&self.cert, format!("not a certificate in PEM: {error}")))?;
        if chain.is_empty() {
            return Err(wrong(&self.cert, "no certificate in PEM is in it".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|error| wrong(&self.key, format!("no private key in PEM is in it: {error}")))?;
        let key = CertifiedKey::from_der(chain, key, provider)
            .map_err(|error| wrong(&self.key, format!("does not go with {}: {error}", self.cert.display())))?;
        Ok(key)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Follows the files of a [`Tls`] while it is kept.
#[derive(Debug)]
pub(super) struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}
