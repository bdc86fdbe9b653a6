//! What an operator sets for leasing.

use berth_runtime::pg::DatabaseConfig;
use chrono::TimeDelta;
use serde::Deserialize;
use std::net::SocketAddr;

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
