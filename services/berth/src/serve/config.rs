//! The one configuration file of all roles.

use berth_process::VaultSection;
use berth_runtime::platform::Peers;
use berth_runtime::telemetry::TelemetryConfig;
use serde::Deserialize;
use serde_json::Value;

/// The commented defaults, which are also the reference.
pub(crate) const DEFAULTS: &str = include_str!("../../berth.toml");

/// Everything in the file. A role reads its own section only, so that nobody
/// has to fill in the others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "sections are read by role; here they are named")]
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
