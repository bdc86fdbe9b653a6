//! The one configuration file of all roles.

use super::Role;
use berth_runtime::platform::Peers;
use berth_runtime::telemetry::TelemetryConfig;
use berth_secrets::VaultConfig;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;

/// The commented defaults, which are also the reference.
pub(crate) const DEFAULTS: &str = include_str!("../../berth.toml");

/// Everything in the file. A role reads its own section only, so that nobody
/// has to fill in the others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) telemetry: TelemetryConfig,
    pub(crate) vault: VaultSection,
    pub(crate) peers: Peers,
    pub(crate) inventory: Value,
    pub(crate) leasing: Value,
    pub(crate) provisioning: Value,
    pub(crate) monitoring: Value,
    pub(crate) gateway: Value,
}

/// Where Vault is, for whichever role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultSection {
    address: String,
    ca_file: PathBuf,
    mount_prefix: String,
    secret_id_dir: PathBuf,
    timeout_seconds: u64,
    connect_wait_seconds: u64,
    names: Vec<String>,
}

impl VaultSection {
    /// How one role reaches Vault.
    pub(crate) fn of(&self, role: Role) -> VaultConfig {
        VaultConfig {
            address: self.address.clone(),
            ca_file: Some(self.ca_file.clone()).filter(|path| !path.as_os_str().is_empty()),
            mount_prefix: self.mount_prefix.clone(),
            role: role.name().to_owned(),
            secret_id_file: self.secret_id_dir.join(role.name()),
            names: self.names.clone(),
            timeout_seconds: self.timeout_seconds,
            connect_wait_seconds: self.connect_wait_seconds,
        }
    }
}
