//! What an operator sets for leasing.

use crate::domain::Network;
use berth_core::{Error, Result};
use berth_runtime::pg::DatabaseConfig;
use chrono::TimeDelta;
use serde::Deserialize;
use std::net::SocketAddr;

/// Longest file with authorities, in bytes.
const MAX_AUTHORITY: usize = 1 << 20;

/// Section `[leasing]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it answers the other services.
    pub listen: SocketAddr,
    /// Its own database.
    pub database: DatabaseConfig,
    /// How often running leases are charged. The amount does not depend on
    /// it: whatever was not charged is charged the next time.
    #[serde(default = "default_charge_seconds")]
    pub charge_seconds: u32,
    /// How long a lease runs on once its account owes money.
    #[serde(default = "default_grace_seconds")]
    pub grace_seconds: u32,
    /// Where webhooks may lead.
    #[serde(default)]
    pub webhooks: WebhookConfig,
}

/// Key `webhooks` of the section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Networks that webhooks may lead to though they are not public, also
    /// without TLS, such as `10.1.0.0/16`.
    pub private_networks: Vec<String>,
    /// An authority of receivers beside those of the system, in PEM.
    pub ca_file: String,
}

impl WebhookConfig {
    /// The networks.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is none.
    pub fn private_networks(&self) -> Result<Vec<Network>> {
        let networks = self.private_networks.iter().map(|text| text.parse());
        networks
            .collect::<std::result::Result<_, String>>()
            .map_err(|problem| Error::invalid("leasing.webhooks.private_networks", problem))
    }

    /// The authority, in PEM.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it cannot be read.
    pub fn authority(&self) -> Result<Option<Vec<u8>>> {
        if self.ca_file.is_empty() {
            return Ok(None);
        }
        let read = berth_input::file::bytes(self.ca_file.as_ref(), MAX_AUTHORITY);
        read.map(Some).map_err(|problem| {
            let problem = format!("cannot read {}: {problem}", self.ca_file);
            Error::invalid("leasing.webhooks.ca_file", problem)
        })
    }
}

fn default_charge_seconds() -> u32 {
    10
}

fn default_grace_seconds() -> u32 {
    300
}

impl Config {
    /// How leases are charged.
    #[must_use]
    pub fn policy(&self) -> crate::domain::Policy {
        crate::domain::Policy {
            charge_every: TimeDelta::seconds(self.charge_seconds.max(1).into()),
            grace: TimeDelta::seconds(self.grace_seconds.into()),
        }
    }
}
