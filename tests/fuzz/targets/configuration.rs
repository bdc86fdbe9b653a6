//! The configuration of a role, of the signer or of an agent: taken within its
//! bounds, or refused in one short line.

#![cfg_attr(feature = "libfuzzer", no_main)]

use berth_runtime::config::{ConfigError, Loaded, Text, parse};
use berth_runtime::pg::DatabaseConfig;
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret as _;

/// Those of the roles, which belong to their executable.
const ROLES: &str = include_str!("../../../services/berth/berth.toml");
/// More seconds than any number may be.
const MOST: u32 = 366 * 24 * 3600;

fn read(defaults: &str, text: &str) -> Option<Loaded> {
    let name = "fuzzed.toml".to_owned();
    let text = text.to_owned();
    told(parse(defaults, Some(Text { name, text })))
}

/// What was taken; what was refused has to say so well.
fn told<T>(read: Result<T, ConfigError>) -> Option<T> {
    match read {
        Ok(taken) => Some(taken),
        Err(problem) => {
            is_short(&problem.to_string());
            None
        }
    }
}

fn is_short(problem: &str) {
    assert!(!problem.is_empty() && problem.len() < 8192, "{problem}");
    assert!(!problem.contains(char::is_control), "{problem:?}");
}

fn database(section: &str, config: &DatabaseConfig) {
    if told(config.check(section)).is_some() {
        assert!(config.url.expose_secret().starts_with("postgres"));
        assert!((1..=MOST).contains(&config.max_connections));
    }
}

/// As `berth serve` reads its own section.
macro_rules! role {
    ($loaded:expr, $name:literal, $config:ty) => {
        if told($loaded.check_numbers(&[$name])).is_some()
            && let Some(config) = told($loaded.section::<$config>($name))
        {
            database($name, &config.database);
        }
    };
}

fuzz_target!(|text: &str| {
    if let Some(loaded) = read(ROLES, text) {
        role!(loaded, "inventory", berth_inventory::Config);
        role!(loaded, "leasing", berth_leasing::Config);
        role!(loaded, "provisioning", berth_provisioning::Config);
        role!(loaded, "monitoring", berth_monitoring::Config);
        role!(loaded, "gateway", berth_gateway::Config);
    }
    let signer = read(berth_signer::config::DEFAULTS, text);
    if let Some(file) = signer.and_then(|loaded| told(berth_signer::config::checked(&loaded))) {
        database("signer", &file.signer.database);
    }
    match berth_agent::config::Config::parse(text) {
        Ok(config) => assert!(config.probes.len() <= 64 && config.interval().as_secs() > 0),
        Err(problem) => is_short(&problem.to_string()),
    }
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
