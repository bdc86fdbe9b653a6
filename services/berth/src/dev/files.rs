//! What `berth dev` keeps in its data folder: the administrator's token, the
//! configuration of the services, the context of the client.

use super::ports::{self, Listener};
use super::services::Service;
use crate::client::Context;
use crate::serve::Role;
use anyhow::Context as _;
use berth_core::AccountId;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A machine is compared with what should stand there sooner than elsewhere, so
/// that whoever changes something by hand sees what becomes of it.
const DRIFT_SECONDS: i64 = 15;

/// The administrator: made once, kept in a file that only its owner reads.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Admin {
    pub(super) account_id: String,
    pub(super) token: String,
}

impl Admin {
    /// Reads the administrator, or makes one.
    pub(super) fn load(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("admin.toml");
        if path.exists() {
            let text = fs::read_to_string(&path)?;
            return toml::from_str(&text).with_context(|| path.display().to_string());
        }
        let mut secret = [0_u8; 32];
        for half in secret.chunks_mut(16) {
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        let admin = Self {
            account_id: AccountId::generate().to_string(),
            token: format!("berth_admin_{}", hex::encode(Sha256::digest(secret))),
        };
        write_private(&path, &toml::to_string(&admin)?)?;
        Ok(admin)
    }
}

/// What the configuration is made from.
pub(super) struct Layout<'a> {
    /// The data folder.
    pub(super) dir: &'a Path,
    /// Where machines reach the control plane.
    pub(super) controller: IpAddr,
    /// How many of each service.
    pub(super) replicas: u8,
    /// Folder of OCI layouts.
    pub(super) images: &'a Path,
    /// URL of the database of this name, whose role is called the same.
    pub(super) database: &'a dyn Fn(&str) -> String,
}

impl Layout<'_> {
    /// Writes the configuration of the services, and that of the signer.
    pub(super) fn write_config(&self, admin: &Admin, ca: &Path) -> anyhow::Result<()> {
        self.write_signer_config(ca)?;
        let section = |role: Role| self.section(Service::Role(role));
        let outside = |listener| format!("{}:{}", self.controller, ports::port(listener, 0));
        let mut provisioning = section(Role::Provisioning);
        provisioning.extend([
            ("placement_listen".into(), any(Listener::Placements).into()),
            (
                "renew_endpoint".into(),
                outside(Listener::Placements).into(),
            ),
            ("otlp_endpoint".into(), outside(Listener::Otlp).into()),
            (
                "signer_endpoint".into(),
                ports::every(self.controller, Listener::Duty, self.replicas).into(),
            ),
            ("images".into(), self.images.display().to_string().into()),
            ("drift_seconds".into(), DRIFT_SECONDS.into()),
        ]);
        // Receivers of webhooks beside the services.
        let here = vec!["127.0.0.0/8", "::1/128"];
        let here = toml::Table::from_iter([("private_networks".into(), here.into())]);
        let mut leasing = section(Role::Leasing);
        leasing.insert("webhooks".into(), here.into());
        let mut monitoring = section(Role::Monitoring);
        monitoring.insert("otlp_listen".into(), any(Listener::Otlp).into());
        let mut gateway = section(Role::Gateway);
        gateway.insert("admin".into(), admin_section(admin).into());
        let sections = toml::Table::from_iter([
            ("vault".into(), self.vault(ca).into()),
            ("peers".into(), self.peers().into()),
            ("inventory".into(), section(Role::Inventory).into()),
            ("leasing".into(), leasing.into()),
            ("provisioning".into(), provisioning.into()),
            ("monitoring".into(), monitoring.into()),
            ("gateway".into(), gateway.into()),
        ]);
        write_private(&config(self.dir), &toml::to_string(&sections)?)
    }

    fn write_signer_config(&self, ca: &Path) -> anyhow::Result<()> {
        let mut signer = self.section(Service::Signer);
        signer.insert("duty_listen".into(), any(Listener::Duty).into());
        let config = toml::Table::from_iter([
            ("vault".into(), self.vault(ca).into()),
            ("peers".into(), self.peers().into()),
            ("signer".into(), signer.into()),
        ]);
        write_private(&signer_config(self.dir), &toml::to_string(&config)?)
    }

    /// What the sections of all services have.
    fn section(&self, service: Service) -> toml::Table {
        let url = (self.database)(&format!("berth_{service}"));
        let database = toml::Table::from_iter([
            ("url".into(), url.into()),
            ("max_connections".into(), 10.into()),
        ]);
        toml::Table::from_iter([
            ("listen".into(), ports::peers(service, 1).into()),
            ("database".into(), database.into()),
        ])
    }

    fn vault(&self, ca: &Path) -> toml::Table {
        toml::Table::from_iter([
            ("address".into(), format!("https://{}", ports::VAULT).into()),
            ("ca_file".into(), ca.display().to_string().into()),
            (
                "secret_id_dir".into(),
                secret_ids(self.dir).display().to_string().into(),
            ),
            (
                "names".into(),
                toml::Value::Array(vec![self.controller.to_string().into()]),
            ),
        ])
    }

    /// Everybody but the gateway, which nobody of ours asks.
    fn peers(&self) -> toml::Table {
        Service::all()
            .filter(|service| *service != Service::Role(Role::Gateway))
            .map(|service| {
                let addresses = ports::peers(service, self.replicas);
                (service.to_string(), addresses.into())
            })
            .collect()
    }
}

fn any(listener: Listener) -> String {
    format!("0.0.0.0:{}", ports::port(listener, 0))
}

fn admin_section(admin: &Admin) -> toml::Table {
    let hash = hex::encode(Sha256::digest(&admin.token));
    toml::Table::from_iter([
        ("account_id".into(), admin.account_id.clone().into()),
        ("token_sha256".into(), hash.into()),
    ])
}

/// The configuration of the services.
pub(super) fn config(dir: &Path) -> PathBuf {
    dir.join("berth.toml")
}

/// The configuration of the signer.
pub(super) fn signer_config(dir: &Path) -> PathBuf {
    dir.join("signer.toml")
}

/// Folder of the services' secret ids.
pub(super) fn secret_ids(dir: &Path) -> PathBuf {
    dir.join("secret-id")
}

/// Writes the context that the client reads.
pub(super) fn write_context(
    dir: &Path,
    admin: &Admin,
    endpoint: &str,
    ca: &str,
) -> anyhow::Result<PathBuf> {
    let ca_file = dir.join("ca.pem");
    fs::write(&ca_file, ca)?;
    let context = Context {
        endpoint: endpoint.to_owned(),
        ca_file: Some(ca_file),
        token: admin.token.clone(),
    };
    let path = dir.join("context.toml");
    write_private(&path, &toml::to_string(&context)?)?;
    Ok(path)
}

/// Writes a file that only its owner can read, all at once.
pub(super) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    // What an earlier attempt left may have other permissions.
    fs::remove_file(&part).ok();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("cannot write {}", part.display()))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}
