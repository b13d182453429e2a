//! TLS with one certificate for all ports: from files, which are read again when they change, or made by ourselves.
//!
//! Several official clients begin with TLS unless told otherwise and believe any certificate; for them one is made at
//! the first handshake if none is configured. It keeps listeners out and proves nothing of who the server is.

use std::fs::Metadata;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use gantry_broker_core::clock::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::Speaks;

/// How often files are looked at.
pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// How long a certificate of our own making holds.
const SELF_SIGNED_YEARS: i32 = 10;

/// Where certificate and key are, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("{} and {}: {source}", files.certificate.display(), files.key.display())]
    Unfit { files: TlsFiles, source: rustls::Error },
    #[error("a certificate could not be made: {0}")]
    Making(#[from] rcgen::Error),
}

pub struct Tls {
    certificate: Arc<Certificate>,
    http: TlsAcceptor,
    grpc: TlsAcceptor,
}

impl Tls {
    /// Without files a certificate for these names is made when somebody wants it.
    pub fn new(files: Option<TlsFiles>, own_names: Vec<String>, now: Timestamp) -> Result<Tls, TlsError> {
        let certificate = Arc::new(match files {
            Some(files) => Certificate::Files(Files::load(files)?),
            None => Certificate::Own { names: own_names, now, made: OnceLock::new() },
        });
        let acceptor = |protocols: &[&[u8]]| {
            let config = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .expect("the provider has what these versions need");
            let mut config = config.with_no_client_auth().with_cert_resolver(certificate.clone());
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        };
        Ok(Tls { http: acceptor(&[b"h2", b"http/1.1"]), grpc: acceptor(&[b"h2"]), certificate })
    }

    pub(super) fn acceptor(&self, speaks: Speaks) -> &TlsAcceptor {
        match speaks {
            Speaks::Http => &self.http,
            Speaks::Grpc => &self.grpc,
        }
    }

    /// Reads the files again if they are not what they were. What cannot be used leaves the old certificate in place.
    pub fn reload(&self) {
        if let Certificate::Files(files) = &*self.certificate {
            files.reload();
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

#[derive(Debug)]
enum Certificate {
    Files(Files),
    Own { names: Vec<String>, now: Timestamp, made: OnceLock<Option<Arc<CertifiedKey>>> },
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match self {
            Certificate::Files(files) => Some(files.current.read().expect("no code panics while holding it").clone()),
            Certificate::Own { names, now, made } => made.get_or_init(|| make(names, *now)).clone(),
        }
    }
}

fn make(names: &[String], now: Timestamp) -> Option<Arc<CertifiedKey>> {
    let made = SelfSigned::new(names, now).and_then(|made| {
        let key = PrivateKeyDer::try_from(made.key.serialize_der()).expect("as it was written");
        let files = TlsFiles { certificate: "self-signed".into(), key: "self-signed".into() };
        certified(&files, vec![made.certificate.der().clone()], key)
    });
    match made {
        Ok(made) => {
            tracing::info!("no certificate is configured: TLS clients get one that proves nothing of this server");
            Some(Arc::new(made))
        }
        Err(error) => {
            tracing::warn!(%error, "TLS clients cannot be served");
            None
        }
    }
}

#[derive(Debug)]
struct Files {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files were when they were looked at last, and whether that could be used.
    seen: Mutex<Seen>,
}

/// Of each file: which it is, how long, and when it was written.
type Seen = [Option<(u64, u64, i64, i64)>; 2];

impl Files {
    fn load(files: TlsFiles) -> Result<Files, TlsError> {
        let seen = Mutex::new(files.seen());
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Files { files, current, seen })
    }

    fn reload(&self) {
        let mut seen = self.seen.lock().expect("no code panics while holding it");
        // Looked at before they are read: what changes in between is found the next time.
        let now = self.files.seen();
        if *seen == now {
            return;
        }
        *seen = now;
        match self.files.read() {
            Ok(read) => {
                *self.current.write().expect("no code panics while holding it") = Arc::new(read);
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read anew");
            }
            Err(error) => tracing::warn!(%error, "a changed certificate cannot be used; the old one stays"),
        }
    }
}

impl TlsFiles {
    fn seen(&self) -> Seen {
        use std::os::unix::fs::MetadataExt as _;
        let of = |file: Metadata| (file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        [&self.certificate, &self.key].map(|path| std::fs::metadata(path).ok().map(of))
    }

    fn read(&self) -> Result<CertifiedKey, TlsError> {
        let wrong = |path: &Path, error: rustls::pki_types::pem::Error| {
            let reason = match error {
                rustls::pki_types::pem::Error::NoItemsFound => "holds nothing of the kind in PEM".to_string(),
                error => error.to_string(),
            };
            TlsError::File { path: path.to_path_buf(), reason }
        };
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&self.certificate, error))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, rustls::pki_types::pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, error))?;
        certified(self, chain, key)
    }
}

/// Also refuses a key that is not the certificate's.
fn certified(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, &provider()).map_err(|source| TlsError::Unfit { files: files.clone(), source })
}

/// A certificate that nobody vouches for.
pub struct SelfSigned {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl SelfSigned {
    /// Names of hosts, and addresses.
    pub fn new(names: &[String], now: Timestamp) -> Result<SelfSigned, TlsError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Gantry, self-signed");
        let today =
            jiff::Timestamp::from_millisecond(now.0).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date();
        // The day before and never the last of a month: right in every time zone, and there in every year.
        let day = |years: i32| {
            let (month, day) = (today.month().unsigned_abs(), today.day().unsigned_abs().min(28));
            rcgen::date_time_ymd(i32::from(today.year()) + years, month, day)
        };
        params.not_before = day(0) - Duration::from_secs(24 * 3_600);
        params.not_after = day(SELF_SIGNED_YEARS);
        Ok(SelfSigned { certificate: params.self_signed(&key)?, key })
    }

    /// Writes `certificate.pem` and `key.pem`, the key for its owner alone. Overwrites nothing.
    pub fn write(&self, dir: &Path) -> io::Result<TlsFiles> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        std::fs::create_dir_all(dir)?;
        let files = TlsFiles { certificate: dir.join("certificate.pem"), key: dir.join("key.pem") };
        for (path, text, mode) in
            [(&files.key, self.key.serialize_pem(), 0o600), (&files.certificate, self.certificate.pem(), 0o644)]
        {
            let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            opened
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
        Ok(files)
    }
}

/// What a certificate of our own making is for, beside the names that are asked for.
pub fn own_names(advertised: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names = vec!["localhost".to_string(), "127.0.0.1".to_string(), "::1".to_string()];
    names.extend(advertised.into_iter().filter(|name| name.parse::<IpAddr>().is_ok() || name.is_ascii()));
    names.dedup();
    names
}
