//! Configuration of monitoring.

use berth_runtime::pg::DatabaseConfig;
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
