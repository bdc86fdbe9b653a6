//! The one configuration file of all roles.

use crate::serve::Role;
use berth_process::VaultSection;
use berth_runtime::config::Loaded;
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

/// Largest number of any key; a year, where it is of seconds.
const MOST: u64 = 366 * 24 * 3600;
/// Where zero means something.
const MAY_BE_ZERO: [&str; 2] = ["grace_seconds", "connect_wait_seconds"];

/// Refuses numbers of a role's section, and of the common ones, that can be meant
/// by nobody.
///
/// # Errors
///
/// The key, and what it may be.
pub(crate) fn check_numbers(role: Role, loaded: &Loaded) -> anyhow::Result<()> {
    for section in [role.name(), "telemetry", "vault", "peers"] {
        let value: Value = loaded.section(section)?;
        check_number(section, "", &value).map_err(anyhow::Error::msg)?;
    }
    Ok(())
}

fn check_number(path: &str, key: &str, value: &Value) -> Result<(), String> {
    if let Value::Object(table) = value {
        let mut values = table.iter();
        return values
            .try_for_each(|(key, value)| check_number(&format!("{path}.{key}"), key, value));
    }
    // A number that is none is read as nothing.
    if !value.is_number() && !value.is_null() {
        return Ok(());
    }
    let least = u64::from(!MAY_BE_ZERO.contains(&key));
    match value.as_u64() {
        Some(number) if (least..=MOST).contains(&number) => Ok(()),
        _ => Err(format!(
            "configuration: {path}: expected a whole number from {least} to {MOST}, this is {value}"
        )),
    }
}
