//! Configuration of the gateway.

use berth_core::AccountId;
use berth_runtime::pg::DatabaseConfig;
use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;

/// Configuration of the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the public endpoint listens.
    pub listen: SocketAddr,
    /// The gateway's own database.
    pub database: DatabaseConfig,
    /// The administrator.
    pub admin: Admin,
}

/// The one token that is known so far.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// The account that the administrator acts for.
    #[serde(deserialize_with = "account")]
    pub account_id: AccountId,
    /// SHA-256 of the whole token, as 64 hex digits. The token itself is
    /// nowhere on the server.
    pub token_sha256: String,
}

fn account<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AccountId, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}
