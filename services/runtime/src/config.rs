//! Configuration: the commented defaults, then the operator's file, then the
//! environment (`BERTH__LEASING__LISTEN=…`), each over the one before.

use ::config::{Config, Environment, File, FileFormat};
use berth_core::report;
use serde::de::DeserializeOwned;
use std::path::Path;

/// The configuration cannot be used; says which file or key and why.
#[derive(Debug, thiserror::Error)]
#[error("configuration: {0}")]
pub struct ConfigError(String);

/// Reads the configuration.
///
/// # Errors
///
/// [`ConfigError`] naming the key that is missing, unknown or wrong.
pub fn load<T: DeserializeOwned>(defaults: &str, file: Option<&Path>) -> Result<T, ConfigError> {
    let mut builder = Config::builder().add_source(File::from_str(defaults, FileFormat::Toml));
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    let environment = Environment::with_prefix("BERTH")
        .prefix_separator("__")
        .separator("__")
        .try_parsing(true);
    builder
        .add_source(environment)
        .build()
        .and_then(Config::try_deserialize)
        .map_err(|error| ConfigError(report(&error)))
}
