//! The files of a development server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{Error, Result, file};

use super::{DevStorage, DevVaultConfig};

/// How much of the server's log an error repeats.
const LAST_WORDS: usize = 600;

/// Names of the files in the data folder.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    /// Writes what a start needs and is not there yet.
    pub(super) fn prepare(config: &DevVaultConfig) -> Result<Self> {
        file::private_folder(&config.data_dir)?;
        let folder = fs::canonicalize(&config.data_dir).map_err(|error| Error::File {
            path: config.data_dir.clone(),
            problem: error.to_string(),
        })?;
        let files = Self { folder };
        files.prepare_tls(config)?;
        if !files.unseal_key().exists() {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key)
                .map_err(|_| Error::invalid("unseal key", "no random numbers"))?;
            let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            file::write_secret(&files.unseal_key(), &key.into())?;
        }
        let storage = files.storage_name()?;
        if matches!(config.storage, DevStorage::Files) {
            file::private_folder(&files.folder.join(&storage))?;
        }
        let server = files.server(config, &storage).to_string();
        file::write_secret(&files.server_config(), &SecretString::from(server))?;
        Ok(files)
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The root token. That it is there says that the storage was
    /// initialised.
    pub(super) fn admin_token(&self) -> PathBuf {
        self.folder.join("admin-token")
    }

    pub(super) fn server_config(&self) -> PathBuf {
        self.folder.join("server.json")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn unseal_key(&self) -> PathBuf {
        self.folder.join("unseal-key")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("server-key.pem")
    }

    /// An error that ends with what the server said last.
    pub(super) fn last_words(&self, problem: &str) -> Error {
        let log = fs::read(self.log()).unwrap_or_default();
        let end = String::from_utf8_lossy(&log[log.len().saturating_sub(LAST_WORDS)..])
            .trim()
            .to_owned();
        Error::Start {
            problem: format!("{problem}; the end of {}:\n{end}", self.log().display()),
        }
    }

    /// The name of the table or folder with the data. A storage whose
    /// initialisation did not end cannot be used again, so that a new one
    /// takes its place.
    fn storage_name(&self) -> Result<String> {
        let path = self.folder.join("storage");
        if self.admin_token().exists() {
            return Ok(file::read(&path)?.trim().to_owned());
        }
        let name = format!("openbao_{}", uuid::Uuid::new_v4().simple());
        file::write(&path, &name, 0o600)?;
        Ok(name)
    }

    /// An authority of its own and a certificate for the address listened on.
    fn prepare_tls(&self, config: &DevVaultConfig) -> Result<()> {
        let address = config.listen.ip().to_string();
        let marker = self.folder.join("server-address");
        if fs::read_to_string(&marker).is_ok_and(|known| known == address) {
            return Ok(());
        }
        let (ca, certificate, key) =
            tls(&address).map_err(|error| Error::invalid("certificate", error.to_string()))?;
        file::write_secret(&self.key(), &key)?;
        file::write(&self.certificate(), &certificate, 0o644)?;
        file::write(&self.ca(), &ca, 0o644)?;
        file::write(&marker, &address, 0o644)
    }

    fn server(&self, config: &DevVaultConfig, storage: &str) -> Value {
        let path = |path: &Path| path.display().to_string();
        let storage = match &config.storage {
            DevStorage::Memory => json!({ "inmem": {} }),
            DevStorage::Files => json!({ "raft": {
                "path": path(&self.folder.join(storage)),
                "node_id": "dev",
                "performance_multiplier": "1",
            } }),
            DevStorage::Postgres(url) => json!({ "postgresql": {
                "connection_url": url.expose_secret(),
                "table": storage,
                "max_connect_retries": 5,
            } }),
        };
        json!({
            "storage": storage,
            "listener": { "tcp": {
                "address": config.listen.to_string(),
                "cluster_address": "127.0.0.1:0",
                "tls_cert_file": path(&self.certificate()),
                "tls_key_file": path(&self.key()),
            } },
            "seal": { "static": {
                "current_key_id": "dev-1",
                "current_key": format!("file://{}", path(&self.unseal_key())),
            } },
            "audit": {
                "type": "file",
                "path": "to-file",
                "options": { "file_path": path(&self.folder.join("audit.log")) },
            },
            "api_addr": format!("https://{}", config.listen),
            "cluster_addr": "https://127.0.0.1:0",
            "ui": false,
        })
    }
}

/// PEM: an authority, a certificate that it signed, and its key.
fn tls(address: &str) -> Result<(String, String, SecretString), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(DnType::CommonName, "Berth development Vault");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        address.to_owned(),
    ];
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &ca)?;
    Ok((ca.pem(), certificate.pem(), key.serialize_pem().into()))
}
