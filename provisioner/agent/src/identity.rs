//! The agent's key and certificate: files in a folder on the machine's tmpfs.
//!
//! The key is made here, never leaves the folder and lives as long as the
//! placement. Certificates come from outside, at first through
//! `install-certificate` or as a file, later by renewal, and count only when they
//! fit the key. The machine's clock decides nothing here.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use berth_input::file;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use x509_parser::pem::Pem;

use crate::config::IdentityFiles;

/// Longest certificate chain, authority or key that is read, in bytes.
pub const MAX_CHAIN: usize = 64 * 1024;

/// What is wrong with the identity. Never carries key material.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The key file holds no key that this agent made.
    #[error("{0} holds no private key; remove it to have a new one made")]
    Key(PathBuf),
    /// A key or a request could not be made.
    #[error("cannot make a key or a request: {0}")]
    Make(#[from] rcgen::Error),
    /// The text is no certificate chain.
    #[error("not a certificate chain in PEM: {0}")]
    Chain(&'static str),
    /// The certificate is of another key.
    #[error(
        "the certificate does not fit the key of this agent; sign the request that `berth-agent csr` prints"
    )]
    WrongKey,
}

/// A certificate that fits the key, and the key.
#[derive(Clone)]
pub struct Identity {
    /// Certificate and issuers, PEM.
    pub chain: String,
    /// Private key, PEM.
    pub key: SecretString,
    /// Begin of the certificate's life.
    pub not_before: SystemTime,
    /// End of the certificate's life.
    pub not_after: SystemTime,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// When to ask for the next certificate: after `renew_after`, and after a third
    /// of a life that is shorter than usual.
    #[must_use]
    pub fn renew_at(&self, renew_after: Duration) -> SystemTime {
        let life = self
            .not_after
            .duration_since(self.not_before)
            .unwrap_or_default();
        self.not_before + renew_after.min(life / 3)
    }
}

/// The folder of the identity.
#[derive(Debug, Clone)]
pub struct Store {
    files: IdentityFiles,
}

impl Store {
    /// The files that the configuration names.
    #[must_use]
    pub const fn new(files: IdentityFiles) -> Self {
        Self { files }
    }

    /// A PKCS#10 request in PEM for the key, which is made when it is absent.
    /// Also leaves the request in its file. Any number of callers at once get
    /// requests of the same key.
    ///
    /// # Errors
    /// When the folder cannot be written or holds something else.
    pub fn csr(&self) -> Result<String, IdentityError> {
        let key = self.key_or_new()?;
        let request = CertificateParams::default()
            .serialize_request(&key)?
            .pem()?;
        write_atomic(&self.files.csr_file, request.as_bytes(), 0o644)?;
        Ok(request)
    }

    /// Checks that a chain fits the key, and makes it the agent's certificate.
    ///
    /// # Errors
    /// When it does not fit or cannot be written; the earlier one then stays.
    pub fn install(&self, chain: &str) -> Result<Identity, IdentityError> {
        let identity = fit(&self.key()?, chain)?;
        write_atomic(
            &self.files.certificate_file,
            identity.chain.as_bytes(),
            0o644,
        )?;
        Ok(identity)
    }

    /// The certificate file's text; `None` when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read or is too long.
    pub fn chain(&self) -> Result<Option<String>, IdentityError> {
        let path = &self.files.certificate_file;
        match file::text(path, MAX_CHAIN) {
            Ok(chain) => Ok(Some(chain)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file_error("read", path)(source)),
        }
    }

    /// The key with a chain that fits it.
    ///
    /// # Errors
    /// When the chain does not fit.
    pub fn identity(&self, chain: &str) -> Result<Identity, IdentityError> {
        fit(&self.key()?, chain)
    }

    /// The authority of the control plane's certificates, PEM.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn authority(&self) -> Result<String, IdentityError> {
        let path = &self.files.ca_file;
        file::text(path, MAX_CHAIN).map_err(file_error("read", path))
    }

    fn key(&self) -> Result<KeyPair, IdentityError> {
        let path = &self.files.key_file;
        let pem = file::text(path, MAX_CHAIN).map_err(file_error("read", path))?;
        KeyPair::from_pem(&pem).map_err(|_| IdentityError::Key(path.clone()))
    }

    fn key_or_new(&self) -> Result<KeyPair, IdentityError> {
        let path = &self.files.key_file;
        if !path.exists() {
            let key = KeyPair::generate()?;
            let draft = write_draft(path, key.serialize_pem().as_bytes(), 0o600)?;
            // A link never replaces: whoever comes second uses the key of the first.
            let linked = fs::hard_link(&draft, path);
            fs::remove_file(&draft).map_err(file_error("remove", &draft))?;
            if let Err(source) = linked
                && source.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(file_error("write", path)(source));
            }
        }
        self.key()
    }
}

/// Checks a chain against a key.
fn fit(key: &KeyPair, chain: &str) -> Result<Identity, IdentityError> {
    if chain.len() > MAX_CHAIN {
        return Err(IdentityError::Chain("it is longer than 64 KiB"));
    }
    let mut life = None;
    for block in Pem::iter_from_buffer(chain.as_bytes()) {
        let block = block.map_err(|_| IdentityError::Chain("a block is damaged"))?;
        if block.label != "CERTIFICATE" {
            return Err(IdentityError::Chain("a block is not a certificate"));
        }
        let certificate = block
            .parse_x509()
            .map_err(|_| IdentityError::Chain("a certificate is damaged"))?;
        if life.is_none() {
            if certificate.public_key().raw != key.subject_public_key_info().as_slice() {
                return Err(IdentityError::WrongKey);
            }
            let validity = certificate.validity();
            let at = |timestamp: i64| {
                let since = u64::try_from(timestamp).unwrap_or_default();
                SystemTime::UNIX_EPOCH + Duration::from_secs(since)
            };
            life = Some((
                at(validity.not_before.timestamp()),
                at(validity.not_after.timestamp()),
            ));
        }
    }
    let (not_before, not_after) = life.ok_or(IdentityError::Chain("it holds no certificate"))?;
    Ok(Identity {
        chain: chain.to_owned(),
        key: key.serialize_pem().into(),
        not_before,
        not_after,
    })
}

impl Identity {
    /// The pair as tonic takes it.
    #[must_use]
    pub fn tls(&self) -> tonic::transport::Identity {
        tonic::transport::Identity::from_pem(&self.chain, self.key.expose_secret())
    }
}

fn write_atomic(path: &Path, contents: &[u8], mode: u32) -> Result<(), IdentityError> {
    let draft = write_draft(path, contents, mode)?;
    fs::rename(&draft, path).map_err(file_error("replace", path))
}

/// Writes a file beside `path` that no other process writes.
fn write_draft(path: &Path, contents: &[u8], mode: u32) -> Result<PathBuf, IdentityError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = path.with_file_name(name);
    let write = || {
        // One left by a killed process of the same id.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(contents)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    };
    write().map_err(file_error("write", &draft))?;
    Ok(draft)
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    move |source| IdentityError::File {
        what,
        path: path.to_owned(),
        source,
    }
}
