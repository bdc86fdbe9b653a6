//! The signer's configuration.

use berth_process::VaultSection;
use berth_runtime::pg::DatabaseConfig;
use berth_runtime::platform::Peers;
use berth_runtime::telemetry::TelemetryConfig;
use serde::Deserialize;
use std::net::SocketAddr;

/// The commented defaults, which are also the reference.
pub const DEFAULTS: &str = include_str!("../signer.toml");

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_complete() {
        let file: File = berth_runtime::config::load(DEFAULTS, None).unwrap();
        assert_eq!(file.signer.listen.to_string(), "127.0.0.1:7205");
    }
}
