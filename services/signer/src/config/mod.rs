//! The signer's configuration.

#[cfg(test)]
mod hostile;

use berth_process::VaultSection;
use berth_runtime::config::{self, ConfigError, Loaded};
use berth_runtime::pg::DatabaseConfig;
use berth_runtime::platform::Peers;
use berth_runtime::telemetry::TelemetryConfig;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::Path;

/// The commented defaults, which are also the reference.
pub const DEFAULTS: &str = include_str!("../../signer.toml");

/// Everything in the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// What the process says about itself.
    pub telemetry: TelemetryConfig,
    /// Where Vault is.
    pub vault: VaultSection,
    /// Where the other services are.
    pub peers: Peers,
    /// The signer itself.
    pub signer: Config,
}

/// The section `signer`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the other services reach it.
    pub listen: SocketAddr,
    /// Where placements reach it.
    pub duty_listen: SocketAddr,
    /// Its database, as a role that owns nothing there.
    pub database: DatabaseConfig,
}

impl Config {
    /// Refuses what is of the right type and yet can be meant by nobody.
    fn check(&self) -> Result<(), ConfigError> {
        // A port of zero is whichever is free.
        if self.listen == self.duty_listen && self.listen.port() != 0 {
            let problem = "is `listen` too: services and placements have one each";
            return Err(ConfigError::key("signer.duty_listen", problem));
        }
        self.database.check("signer")
    }
}

/// Reads the configuration, whole, before anything is connected to.
///
/// # Errors
///
/// [`ConfigError`] naming the file, or the key that is missing, unknown or wrong.
pub fn load(file: Option<&Path>) -> Result<File, ConfigError> {
    checked(&config::read(DEFAULTS, file)?)
}

/// What was read, when it can be meant.
///
/// # Errors
///
/// [`ConfigError`] naming the key that is missing, unknown or wrong.
pub fn checked(loaded: &Loaded) -> Result<File, ConfigError> {
    let file: File = loaded.whole()?;
    loaded.check_numbers(&["telemetry", "vault", "peers", "signer"])?;
    file.signer.check()?;
    Ok(file)
}
