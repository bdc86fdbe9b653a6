//! Configuration of monitoring.

use berth_runtime::pg::DatabaseConfig;
use secrecy::SecretString;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Configuration of monitoring.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the other services reach it.
    pub listen: SocketAddr,
    /// Where agents push OTLP.
    pub otlp_listen: SocketAddr,
    /// Its own database.
    pub database: DatabaseConfig,
    /// Where everything received is passed on to.
    #[serde(default)]
    pub forward: ForwardConfig,
    /// Who looks at chains for us.
    #[serde(default)]
    pub observe: Vec<ObserveConfig>,
}

/// Beacon nodes of one chain, none of them on a leased machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserveConfig {
    /// Name of the chain in the catalogue.
    pub chain: String,
    /// Where their standard API answers; the next is asked where one fails.
    /// Providers put their key into it.
    pub urls: Vec<SecretString>,
    /// Longest wait for one answer, from 1 to 300 seconds.
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u64,
}

const fn timeout_seconds() -> u64 {
    30
}

/// The operator's collector.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ForwardConfig {
    /// URL of its OTLP/gRPC receiver; empty for none.
    pub endpoint: String,
    /// Authority of its certificate, in PEM; empty for those of the system.
    pub ca_file: PathBuf,
}
