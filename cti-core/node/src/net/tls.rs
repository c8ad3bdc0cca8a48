//! Certificates of SIP over TLS: read at the start, and again when their files change or someone asks for it.
//!
//! A pair of files that can not be used is told once and the old pair stays: a renewal that goes wrong breaks no call.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, then those between it and its root.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whom peers that we connect to must be certified by.
    pub ca: Option<PathBuf>,
}

/// Both sides of TLS. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: Option<TlsConnector>,
    current: Arc<Current>,
}

/// The certificate that the next handshake shows.
#[derive(Debug)]
struct Current {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    key: RwLock<Arc<CertifiedKey>>,
    /// What the files looked like when they were last read, rightly or not.
    stamp: Mutex<Stamp>,
}

type Stamp = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads the files; an error says which of them can not be used.
    pub fn new(files: TlsFiles) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let stamp = Mutex::new(stamp(&files));
        let key = RwLock::new(Arc::new(read(&files, &provider)?));
        let connector = files.ca.as_deref().map(|ca| connector(ca, &provider)).transpose()?;
        let current = Arc::new(Current { files, provider: provider.clone(), key, stamp });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), connector, current })
    }

    pub fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// `None` without a `tls_ca`: who is at the other end could not be known.
    pub fn connector(&self) -> Option<&TlsConnector> {
        self.connector.as_ref()
    }

    /// Reads the certificate again. What can not be used is told, and the old one stays.
    pub fn reload(&self) {
        let current = &self.current;
        *current.stamp.lock().unwrap_or_else(PoisonError::into_inner) = stamp(&current.files);
        match read(&current.files, &current.provider) {
            Ok(key) => {
                *current.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(file = %current.files.cert.display(), "the certificate of SIP over TLS was read again");
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the certificate can not be used: the old one stays");
            }
        }
    }

    /// Reads the certificate again whenever one of its files has changed.
    pub async fn watch(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let seen = stamp(&self.current.files);
            if *self.current.stamp.lock().unwrap_or_else(PoisonError::into_inner) != seen {
                self.reload();
            }
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn stamp(files: &TlsFiles) -> Stamp {
    let of = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [of(&files.cert), of(&files.key)]
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&files.key)?)
        .map_err(|error| anyhow!("{}: no private key in PEM: {error}", files.key.display()))?;
    CertifiedKey::from_der(chain, key, provider)
        .with_context(|| format!("{} and {} do not fit", files.cert.display(), files.key.display()))
}

fn connector(ca: &Path, provider: &Arc<CryptoProvider>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).with_context(|| format!("{}: no root of certificates", ca.display()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(file)?).collect();
    let certificates = read.map_err(|error| anyhow!("{}: {error}", file.display()))?;
    if certificates.is_empty() {
        return Err(anyhow!("{}: no certificate in PEM", file.display()));
    }
    Ok(certificates)
}

fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    /// A certificate file beyond this is none, bytes.
    const BYTES_MAX: u64 = 1 << 20;
    let told = || file.display().to_string();
    let length = fs::metadata(file).with_context(told)?.len();
    if length > BYTES_MAX {
        return Err(io::Error::other("too long for a certificate")).with_context(told);
    }
    fs::read(file).with_context(told)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const CERT: &str = include_str!("tests/cert.pem");
    const KEY: &str = include_str!("tests/key.pem");
    const OTHER_CERT: &str = include_str!("tests/other_cert.pem");
    const OTHER_KEY: &str = include_str!("tests/other_key.pem");

    /// Files of a self-signed certificate for 127.0.0.1 that is its own root.
    pub fn files(dir: &Path) -> TlsFiles {
        let place = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let cert = place("cert.pem", CERT);
        TlsFiles { ca: Some(cert.clone()), cert, key: place("key.pem", KEY) }
    }

    fn shown(tls: &Tls) -> CertificateDer<'static> {
        tls.current.key.read().expect("read").cert[0].clone()
    }

    fn first(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    }

    #[test]
    fn a_new_pair_is_taken_and_a_broken_one_leaves_the_old() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = files(dir.path());
        let tls = Tls::new(files.clone()).expect("usable");
        assert_eq!(shown(&tls), first(CERT));
        fs::write(&files.cert, OTHER_CERT).expect("written");
        tls.reload();
        assert_eq!(shown(&tls), first(CERT), "the key is not this certificate's");
        fs::write(&files.key, OTHER_KEY).expect("written");
        tls.reload();
        assert_eq!(shown(&tls), first(OTHER_CERT));
        fs::write(&files.cert, "").expect("written");
        tls.reload();
        assert_eq!(shown(&tls), first(OTHER_CERT));
    }

    #[tokio::test]
    async fn changed_files_are_read_by_themselves() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = files(dir.path());
        let tls = Tls::new(files.clone()).expect("usable");
        let stop = CancellationToken::new();
        let watching = tokio::spawn(tls.clone().watch(stop.clone()));
        fs::write(&files.key, OTHER_KEY).expect("written");
        fs::write(&files.cert, OTHER_CERT).expect("written");
        let until = tokio::time::Instant::now() + LOOK_EVERY * 5;
        while shown(&tls) != first(OTHER_CERT) {
            assert!(tokio::time::Instant::now() < until, "never read again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.cancel();
        watching.await.expect("ended");
    }

    #[test]
    fn files_that_can_not_be_used_are_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let good = files(dir.path());
        let check = |files: TlsFiles, expect: &str| {
            let error = Tls::new(files).err().expect("refused");
            assert!(format!("{error:#}").contains(expect), "{error:#}");
        };
        check(TlsFiles { cert: dir.path().join("no.pem"), ..good.clone() }, "no.pem: No such file");
        check(TlsFiles { cert: good.key.clone(), ..good.clone() }, "key.pem: no certificate in PEM");
        check(TlsFiles { key: good.cert.clone(), ..good.clone() }, "cert.pem: no private key in PEM");
    }
}
