//! What an operator sets for inventory.

use berth_runtime::pg::DatabaseConfig;
use serde::Deserialize;
use std::net::SocketAddr;

/// Section `[inventory]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it answers the other services.
    pub listen: SocketAddr,
    /// Its own database.
    pub database: DatabaseConfig,
}
